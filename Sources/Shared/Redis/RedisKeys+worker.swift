internal import RedisFunctions

/// What one IP's worker may do at Redis, spelt beside the names that it is about. A Function runs with the rights of who calls
/// it, so each command inside a worker's Functions stands here with the keys that it touches there, and with no others.
extension RedisKeys {
  /// Functions that workers call, under the names that this build loads them by.
  package static let workerFunctions = ["mta1_settle"].map(RedisLibrary.own.function)

  /// Rules of `ACL SETUSER` (Redis 7): the root permissions, then one selector a kind of key.
  /// - Parameters:
  ///   - ip: its two streams are the only ones: one is read, acknowledged and deleted from, on the other it says what came of that.
  ///   - host: whose reducer judges what it says.
  package func workerRules(ip: String, host: String) -> [String] {
    let functions = Self.workerFunctions.map { "+fcall|\($0)" }
    return ["resetkeys", "resetchannels", "-@all", "+ping", "+time", "+info", "+wait"] + functions + ["~\(prefix)"] + [
      "(+xreadgroup +xack +xdel ~\(self.ip(ip)))",
      // Contents are known by the hash of what is in them: who does not have the mail does not know the name.
      "(+hget %R~\(content("*")))",
      "(+xadd %W~\(outcomes(host, ip: ip)))",
    ]
  }
}
