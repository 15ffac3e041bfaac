import DeliveryPolicy
import MailModel

/// What a simulated server may answer. The words are in the manner of each provider, so that the classifier that serves real
/// mail decides here too.
enum ProviderReply: Int, CaseIterable {
  case unknownUser, mailboxFull, greylisted, rateLimited, blocked

  func text(_ provider: MailboxProvider) -> SMTPReply {
    switch self {
    case .unknownUser: SMTPReply(code: 550, lines: ["5.1.1 The email account that you tried to reach does not exist"])
    case .mailboxFull: SMTPReply(code: 452, lines: ["4.2.2 The recipient's mailbox is full"])
    case .greylisted: SMTPReply(code: 451, lines: ["4.7.1 Greylisted, please try again in 300 seconds"])
    case .rateLimited:
      switch provider {
      case .gmail: SMTPReply(code: 421, lines: ["4.7.28 Unusual rate of unsolicited mail originating from your IP address"])
      case .microsoft: SMTPReply(code: 451, lines: ["4.7.500 Server busy. Please try again later"])
      case .yahoo: SMTPReply(code: 421, lines: ["4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume"])
      case .apple: SMTPReply(code: 421, lines: ["4.7.1 Messages deferred due to excessive volume"])
      default: SMTPReply(code: 450, lines: ["4.7.1 Too many messages from your IP address, slow down"])
      }
    case .blocked:
      switch provider {
      case .gmail: SMTPReply(code: 550, lines: ["5.7.1 Blocked due to the very low reputation of the sending IP address"])
      case .microsoft: SMTPReply(code: 550, lines: ["5.7.1 Messages weren't sent: part of their network is on our block list (S3140)"])
      default: SMTPReply(code: 554, lines: ["5.7.1 Service unavailable; client host blocked using zen.spamhaus.org"])
      }
    }
  }

  /// Verdicts by provider and reply, made once: a simulated day asks a hundred thousand times.
  struct Book {
    private let verdicts: [ReplyVerdict]

    init(_ providers: [MailboxProvider]) {
      verdicts = providers.flatMap { provider in
        ProviderReply.allCases.map { ReplyClassification.verdict($0.text(provider), providerName: provider.rawValue) }
      }
    }

    subscript(_ reply: ProviderReply, _ provider: Int) -> ReplyVerdict {
      verdicts[provider * ProviderReply.allCases.count + reply.rawValue]
    }
  }
}
