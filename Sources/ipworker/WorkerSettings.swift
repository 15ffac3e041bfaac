import Glibc
import NIOCore
import Redis
import SMTPClient

/// What the supervisor told this worker on its command line; whom to be at Redis comes over the control socket.
struct WorkerSettings: Sendable {
  var sourceIP: String
  var ehloName: String
  var host: String
  var redis: RedisEndpoint
  var prefix: String
  var journal: String
  var timeouts = SMTPTimeouts()

  /// Nil when the arguments are not the supervisor's.
  init?(arguments: [String]) {
    var values: [String: String] = [:]
    var index = 1
    while index + 1 < arguments.count {
      guard arguments[index].hasPrefix("--") else { return nil }
      values[String(arguments[index].dropFirst(2))] = arguments[index + 1]
      index += 2
    }
    guard let ip = values["ip"], let ehlo = values["ehlo"], let host = values["host"], let url = values["redis"],
      let endpoint = RedisEndpoint(url: url, username: "", password: ""), let prefix = values["prefix"], let journal = values["journal"]
    else { return nil }
    sourceIP = ip
    ehloName = ehlo
    self.host = host
    redis = endpoint
    self.prefix = prefix
    self.journal = journal
    func limit(_ name: String) -> TimeAmount? { values[name].flatMap { Int64($0) }.map { .milliseconds($0) } }
    if let connect = limit("connect-timeout") { timeouts.connect = connect }
    if let command = limit("command-timeout") { timeouts.command = command }
    if let data = limit("data-timeout") { timeouts.data = data }
  }
}
