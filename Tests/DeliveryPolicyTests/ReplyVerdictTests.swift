import DeliveryPolicy
import MailModel
import Testing

/// What follows from a reply, for every class: once as 4xx and once as 5xx.
@Suite struct ReplyVerdictTests {
  /// Text that means the class with any code; scope; the reaction to 4xx and to 5xx; whether a 5xx is tried again, and suppresses.
  private static let table:
    [ReplyClass: (text: String, scope: ReplyScope, soft: ReplyReaction, hard: ReplyReaction, again: Bool, never: Bool)] = [
      .invalidRecipient: ("no such user", .recipient, .retry, .suppress, false, true),
      .inactiveMailbox: ("the mailbox is inactive", .recipient, .retry, .suppress, false, true),
      .suspended: ("account suspended", .recipient, .retry, .suppress, false, true),
      .mailboxFull: ("mailbox full", .recipient, .retryLong, .retryLong, true, false),
      .domainNotFound: ("no such domain", .domain, .retry, .drop, false, false),
      .noMX: ("domain accepts no mail", .domain, .retry, .drop, false, false),
      .policy: ("refused by local policy", .message, .retry, .drop, false, false),
      .spamContent: ("rejected as spam", .message, .retry, .drop, false, false),
      .ipReputation: ("poor reputation of your IP", .lane, .pauseLane, .otherIP, true, false),
      .rateLimited: ("too many connections", .lane, .slow, .slow, true, false),
      .greylisted: ("greylisted", .none, .retry, .retry, true, false),
      .authFailure: ("DMARC check failed", .organisation, .retry, .drop, false, false),
      .tls: ("must use TLS", .lane, .retryWithTLS, .retryWithTLS, true, false),
      .messageTooLarge: ("message too large", .message, .retry, .drop, false, false),
      .routingLoop: ("too many hops", .domain, .retry, .drop, false, false),
      .protocol: ("syntax error", .message, .retry, .drop, false, false),
      .network: ("lost connection", .none, .retry, .drop, false, false),
      .unknown: ("hm", .none, .retry, .drop, false, false),
    ]

  @Test(arguments: ReplyClass.allCases)
  func consequences(replyClass: ReplyClass) throws {
    let row = try #require(Self.table[replyClass])
    let soft = ReplyClassification.verdict(text: "450 \(row.text)", providerName: nil)
    let hard = ReplyClassification.verdict(text: "550 \(row.text)", providerName: nil)
    for (verdict, reaction) in [(soft, row.soft), (hard, row.hard)] {
      #expect(verdict.replyClass == replyClass && verdict.scope == row.scope && verdict.reaction == reaction, "\(verdict)")
    }
    #expect(!soft.isPermanent && soft.isDeferral && !soft.suppresses && !soft.countsAsListBounce)
    #expect(hard.isPermanent && hard.isDeferral == row.again && hard.suppresses == row.never)
    // Only what is said of the lane or the IP slows it: no recipient's, sender's or message's fault does.
    #expect(hard.countsAgainstThrottle == [.ipReputation, .rateLimited].contains(replyClass))
  }

  private typealias Diagnostic = (text: String, status: String?, replyClass: ReplyClass, permanent: Bool)
  private static let diagnostics: [Diagnostic] = [
    ("smtp; 550 5.1.1 <jo@b.example>: Recipient address rejected: User unknown", "5.1.1", .invalidRecipient, true),
    ("X-Postfix; host mx.b.example[192.0.2.1] said: 552 5.2.2 Over quota (in reply to RCPT TO command)", "5.2.2", .mailboxFull, true),
    ("smtp;550 blocked using zen.spamhaus.org", "5.0.0", .ipReputation, true),
    ("Remote host said: 554 rejected as spam", nil, .spamContent, true),
    ("192.0.2.1 does not like recipient. Remote host said: 550 no mailbox here", nil, .invalidRecipient, true),
    // The status speaks where the text says nothing …
    ("", "5.2.2", .mailboxFull, true), ("smtp; 550 refused", "5.1.1", .invalidRecipient, true), ("failed", "5.4.6", .routingLoop, true),
    ("X-Unix; 73", "5.1.1", .invalidRecipient, true), ("smtp; 550 5.0.0 sorry", "5.1.1", .invalidRecipient, true),
    ("delivery failed 5.1.1", nil, .invalidRecipient, true), ("", "4.4.1", .network, false), ("", nil, .unknown, false),
    // … not where the remote host gave its own, or the reporter's contradicts the reply.
    ("smtp; 550 5.7.26 unauthenticated", "5.1.1", .authFailure, true), ("smtp; 450 4.7.1 greylisted", "5.4.7", .greylisted, false),
    ("smtp; 550 5.7.1 blocked using zen.spamhaus.org", "5.1.1", .ipReputation, true),
    // Numbers in brackets that are a provider's own are no reply codes.
    ("Invalid recipient. OFR_416 [416]", nil, .invalidRecipient, false),
  ]

  @Test(arguments: diagnostics.indices)
  func diagnosticsAreRepliesToo(index: Int) {
    let row = Self.diagnostics[index]
    let verdict = ReplyClassification.verdict(diagnostic: row.text, status: row.status)
    #expect(verdict.replyClass == row.replyClass && verdict.isPermanent == row.permanent, "\(row.text): \(verdict)")
  }
}
