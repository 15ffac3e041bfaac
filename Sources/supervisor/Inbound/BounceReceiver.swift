import Logging
import MailFormat
import MailModel
import SMTPServer
import Synchronization

/// Receives on `bounce.listen`: return-paths whose token verifies, at whatever domain, and what the desk takes besides. Forged
/// ones are refused at RCPT, so that they cost nothing and the forger's server hears of it.
struct BounceReceiver: MailReceiver {
  static let unknown = SMTPReply(code: 550, lines: ["5.1.1 no such address"])

  let verp: VERPSigner
  let desk: any FeedbackDesk
  /// Nil in the sandbox.
  let authenticator: InboundAuthenticator?
  let log: Logger
  let clock: WallClock
  let counts = Counts()

  /// What was asked for at RCPT.
  struct Figures: Sendable, Equatable {
    var genuine = 0
    var forged = 0
    var other = 0
  }

  final class Counts: Sendable {
    private let values = Mutex(Figures())

    var figures: Figures { values.withLock { $0 } }
    func count(_ one: (inout Figures) -> Void) { values.withLock { one(&$0) } }
  }

  func accepts(recipient: String, session: InboundSession) async -> RecipientAnswer {
    switch target(recipient) {
    case .message, .messageID:
      counts.count { $0.genuine += 1 }
      return .ok
    case .other:
      counts.count { $0.other += 1 }
      return await desk.accepts(recipient, session: session)
    case nil:
      counts.count { $0.forged += 1 }
      log.debug("forged return-path", metadata: ["peer": "\(session.peer)"])
      return .refused(Self.unknown)
    }
  }

  func received(_ mail: ReceivedMail) async -> SMTPReply {
    // A token of upstream's form may have run out since RCPT; then the sender tries again and is told at RCPT.
    let targets = mail.recipients.compactMap(target)
    guard targets.count == mail.recipients.count else { return SMTPReply(code: 451, lines: ["4.1.1 try again"]) }
    let authentication = await authenticator?.judge(mail)
    let reply = await desk.take(InboundMail(mail: mail, targets: targets, authentication: authentication))
    log.debug(
      "mail came back",
      metadata: [
        "peer": "\(mail.session.peer)", "size": "\(mail.content.size)", "reply": "\(reply.code)",
        "authentication": "\(authentication?.description ?? "not looked at")",
      ])
    return reply
  }

  /// Nil = it looks like a return-path and was not made by us.
  private func target(_ recipient: String) -> InboundMail.Target? {
    let local = recipient.lastIndex(of: "@").map { recipient[..<$0] } ?? recipient[...]
    switch verp.verify(localPart: local, now: clock()) {
    case .message(let number): return .message(number)
    case .messageID(let id): return .messageID(id)
    case .forged: return nil
    case .notVERP: return .other(recipient)
    }
  }
}
