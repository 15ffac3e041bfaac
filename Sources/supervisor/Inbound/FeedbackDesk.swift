import MailFormat
import MailModel
import SMTPServer

/// Mail that came in on `bounce.listen`, with what its recipients are.
struct InboundMail: Sendable {
  enum Target: Sendable, Equatable {
    /// A return-path of ours whose token verifies: the message that it was made for.
    case message(MessageNumber)
    /// Upstream's form of it: the caller's message id.
    case messageID(String)
    /// An address that ``FeedbackDesk/accepts(_:session:)`` took.
    case other(String)
  }

  var mail: ReceivedMail
  /// One for each of ``ReceivedMail/recipients``, in their order.
  var targets: [Target]
  /// Nil when nobody could be asked (the sandbox has no resolver).
  var authentication: MailAuthentication?
}

/// Who acts on what comes back: bounces, complaints, unsubscribes, mail for people and routes.
protocol FeedbackDesk: Sendable {
  /// Whether mail for an address is taken that is no return-path of ours. Forged return-paths never come here.
  func accepts(_ recipient: String, session: InboundSession) async -> RecipientAnswer

  /// Acts on it.
  /// - Returns: 250 only when what follows from it is durable; 451 when that is not possible now.
  func take(_ mail: InboundMail) async -> SMTPReply
}

/// Until there is one: nothing is taken, so that nothing is lost. Senders keep their reports and try again.
struct ClosedDesk: FeedbackDesk {
  func accepts(_ recipient: String, session: InboundSession) async -> RecipientAnswer { .refused(BounceReceiver.unknown) }

  func take(_ mail: InboundMail) async -> SMTPReply { SMTPReply(code: 451, lines: ["4.3.0 not now, try again later"]) }
}
