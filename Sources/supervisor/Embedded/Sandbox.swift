import DNS
import Foundation
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Observability
import SMTPServer
import Synchronization

/// What stands in for the internet when `smtp.sandbox` is on: our own sink plays every MX, so no mail can leave the host.
/// Its temper depends on the recipient's local part.
final class Sandbox: Sendable {
  let sink: SMTPSink

  private init(sink: SMTPSink) { self.sink = sink }

  static func start(group: any EventLoopGroup) async throws -> Sandbox {
    let personalities = SandboxPersonalities()
    let sink = try await SMTPSink.start(
      host: "127.0.0.1", port: 0, group: group, script: { personalities.answer($0) },
      take: { message in
        print(
          "sandbox  took a message for \(message.recipients.joined(separator: ", ")) from \(message.peer) (\(message.octets.count) octets)")
        fflush(nil)
      })
    return Sandbox(sink: sink)
  }

  /// Every domain has one MX: the sink.
  func hosts(of domain: String) -> MailHosts {
    let host = MailHosts.Host(name: "mx.\(domain)", preference: 10, addresses: ["127.0.0.1"])
    return MailHosts(status: .hosts([host]), mxNames: ["mx.\(domain)"], ttl: 3600)
  }
}

/// The sink's tempers, by the start of the recipient's local part.
final class SandboxPersonalities: Sendable {
  static let list: [(prefix: String, what: String)] = [
    ("unknown", "refused for good: 550 5.1.1 no such user"),
    ("full", "deferred: 452 4.2.2 mailbox full"),
    ("greylist", "deferred once: 451 4.7.1, taken 20 s later"),
    ("ratelimit", "three a minute, the rest deferred: 421 4.7.0"),
    ("hang", "never answered after RCPT"),
  ]

  private let greylisted = Mutex<[String: Int64]>([:])
  private let recent = Mutex<[Int64]>([])

  func answer(_ moment: SinkMoment) -> SinkAction? {
    guard case .rcpt(let recipient) = moment else { return nil }
    let local = recipient.lowercased()
    let now = SystemClock.now()
    if local.hasPrefix("unknown") { return .reply("550 5.1.1 <\(recipient)>: no such user here") }
    if local.hasPrefix("full") { return .reply("452 4.2.2 <\(recipient)>: mailbox is full") }
    if local.hasPrefix("hang") { return SinkAction(.hang) }
    if local.hasPrefix("greylist") {
      let first = greylisted.withLock { known in
        known[local] = known[local] ?? now
        return known[local] ?? now
      }
      return now - first < 20_000 ? .reply("451 4.7.1 Greylisted, please try again in 30 seconds") : nil
    }
    if local.hasPrefix("ratelimit") {
      let isOver = recent.withLock { times in
        times = times.filter { now - $0 < 60_000 } + [now]
        return times.count > 3
      }
      return isOver ? SinkAction(.replyAndClose(["421 4.7.0 Too many messages from your address, slow down"])) : nil
    }
    return nil
  }
}

/// Prints every webhook that comes to the address of the first configured endpoint.
struct SandboxReceiver {
  /// Nil when the endpoint is not on loopback: then somebody else listens there.
  static func application(url: String) -> (some ApplicationProtocol)? {
    guard let parsed = URL(string: url), let host = parsed.host, ["127.0.0.1", "localhost"].contains(host),
      let port = parsed.port
    else { return nil as Application<CallbackResponder<BasicRequestContext>>? }
    let responder = CallbackResponder { (request: Request, _: BasicRequestContext) in
      let body = try await request.body.collect(upTo: 1 << 20)
      print("webhook  \(String(buffer: body))")
      fflush(nil)
      return Response(
        status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(string: "{\"success\":true}")))
    }
    var quiet = Logger(label: "sandbox")
    quiet.logLevel = .critical
    return Application(
      responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
      logger: quiet)
  }
}
