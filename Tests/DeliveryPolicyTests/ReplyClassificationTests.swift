import DeliveryPolicy
import MailModel
import Testing

/// (provider, reply, class, scope, reaction)
private typealias Case = (String?, String, ReplyClass, ReplyScope, ReplyReaction)

@Suite struct ReplyClassificationTests {
  private static let cases: [Case] = [
    // Addresses
    (nil, "550 5.1.1 <jo@b.example>... User unknown", .invalidRecipient, .recipient, .suppress),
    (nil, "550-5.1.1 The address jo@b.example\r\n550 5.1.1 does not exist.", .invalidRecipient, .recipient, .suppress),
    (nil, "host mx.b.example[192.0.2.3] said: 550 no such mailbox (#5.1.1)", .invalidRecipient, .recipient, .suppress),
    (nil, "450 4.1.1 user unknown", .invalidRecipient, .recipient, .retry),
    (nil, "550 Empfänger jo ist unbekannt", .invalidRecipient, .recipient, .suppress),
    (nil, "550 L'utilisateur demandé n'existe pas", .invalidRecipient, .recipient, .suppress),
    (nil, "554 5.7.1 <jo@b.example>: Recipient address rejected: Access denied", .invalidRecipient, .recipient, .drop),
    ("google", "550 5.2.1 The account is inactive", .inactiveMailbox, .recipient, .suppress),
    (nil, "550 5.2.1 mailbox disabled", .suspended, .recipient, .suppress),
    (nil, "550 5.7.1 account temporarily locked, come back tomorrow", .suspended, .recipient, .retryLong),
    // A full mailbox is nobody's fault, with 5xx too.
    (nil, "552 5.2.2 over quota", .mailboxFull, .recipient, .retryLong),
    (nil, "550 jo's mailbox is full", .mailboxFull, .recipient, .retryLong),
    (nil, "452 La boîte de réception est pleine", .mailboxFull, .recipient, .retryLong),
    ("microsoft", "550 5.2.2 submission quota exceeded", .rateLimited, .organisation, .retry),
    // Domains
    (nil, "550 5.1.2 jo@b.example: Host unknown", .domainNotFound, .domain, .suppress),
    (nil, "556 5.1.10 the domain has a null MX", .noMX, .domain, .suppress),
    (nil, "554 5.4.6 too many hops", .routingLoop, .domain, .drop),
    // Greylisting counts against nothing.
    (nil, "451 4.7.1 Greylisted, please try again in 300 seconds", .greylisted, .none, .retry),
    // Rate: of the lane, of one recipient, of the organisation
    (nil, "421 4.7.0 too many connections from your address", .rateLimited, .lane, .slow),
    (nil, "550 5.7.1 rate limit exceeded", .rateLimited, .lane, .slow),
    ("qq", "550 Ip frequency limited", .rateLimited, .lane, .pauseLane),
    ("qq", "550 Domain frequency limited", .rateLimited, .organisation, .pauseOrganisation),
    ("google", "450 4.2.1 jo is receiving mail too quickly", .rateLimited, .recipient, .retry),
    ("google", "421 4.7.28 unusual rate of mail from your IP address", .rateLimited, .lane, .slow),
    ("google", "421 4.7.28 unusual rate of mail from your SPF domain", .rateLimited, .organisation, .pauseOrganisation),
    ("gmail", "550 5.7.28 unusual rate of mail from your IP address", .rateLimited, .lane, .pauseLane),
    ("yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.7 deferred", .rateLimited, .lane, .pauseLane),
    ("microsoft", "451 4.7.500 Server busy", .network, .lane, .slow),
    ("microsoft", "451 4.3.2 busy", .network, .lane, .slow),
    // Reputation: a 5xx goes on from another IP.
    (nil, "554 5.7.1 blocked using zen.spamhaus.org", .ipReputation, .ip, .otherIP),
    (nil, "421 blocked using zen.spamhaus.org", .ipReputation, .ip, .pauseLane),
    (nil, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]", .ipReputation, .lane, .otherIP),
    ("google", "550 5.7.25 the IP has no PTR record", .ipReputation, .ip, .otherIP),
    ("google", "421 4.7.23 the IP has no PTR record", .ipReputation, .ip, .pauseIP),
    ("google", "550 5.7.1 low reputation of the sending domain", .ipReputation, .organisation, .pauseOrganisation),
    ("cox", "554 cox rejected AUP#CXBL", .ipReputation, .lane, .otherIP),
    // A help page's address says little, what follows a recipient's address much.
    (
      nil, "550-mailbox unavailable 550 For explanation visit https://postmaster.b.example/error-messages?ip=192.0.2.7&c=hi",
      .invalidRecipient,
      .recipient, .drop
    ),
    (nil, "550 IP refused, see https://antispam.b.example/help_spam.htm", .ipReputation, .lane, .otherIP),
    (nil, "550 permanent failure for one or more recipients (jo@b.example:blocked)", .spamContent, .message, .drop),
    (nil, "550 permanent failure for one or more recipients (jo@b.example:550 user unknown)", .invalidRecipient, .recipient, .suppress),
    (nil, "550 blocked by the recipient's personal blacklist", .policy, .message, .drop),
    // The sender's fault
    ("google", "550 5.7.26 unauthenticated", .authFailure, .organisation, .pauseOrganisation),
    (nil, "550 5.7.1 SPF check failed", .authFailure, .organisation, .drop),
    (nil, "535 5.7.8 bad credentials", .authFailure, .organisation, .drop),
    // This message
    (nil, "552 5.3.4 message too large", .messageTooLarge, .message, .drop),
    (nil, "554 5.7.1 rejected as spam", .spamContent, .message, .drop),
    (nil, "550 5.7.1 the link is listed by URIBL", .spamContent, .message, .drop),
    (nil, "550 5.7.1 access denied", .policy, .message, .drop),
    (nil, "554 5.7.1 relaying denied", .policy, .message, .drop),
    (nil, "501 5.5.4 syntax error in parameters", .protocol, .message, .drop),
    // TLS, the way there, nothing known
    (nil, "530 5.7.0 must issue a STARTTLS command first", .tls, .lane, .retryWithTLS),
    (nil, "421 4.4.2 connection timed out", .network, .none, .retry),
    (nil, "451 hm", .unknown, .none, .retry),
    (nil, "554 hm", .unknown, .none, .drop),
    (nil, "", .unknown, .none, .retry),
  ]

  @Test(arguments: cases.indices)
  func verdicts(index: Int) {
    let (provider, text, replyClass, scope, reaction) = Self.cases[index]
    let verdict = ReplyClassification.verdict(text: text, providerName: provider)
    #expect(
      verdict.replyClass == replyClass && verdict.scope == scope && verdict.reaction == reaction,
      "\(text): \(verdict.replyClass) \(verdict.scope) \(verdict.reaction) by \(verdict.rule)")
  }

  /// An address is condemned where the reply names it as closed or unused, not where such words stand beside it.
  @Test(arguments: [
    ("550 5.2.1 the account is disabled", true), ("550 <jo@b.example>: account has been suspended", true),
    ("550 mailbox jo@b.example locked", true), ("554 delivery error: this mailbox is disabled (554.30)", true),
    ("550 the user's account was closed", true), ("550 5.2.1 suspended", true), ("550 recipient deactivated", true),
    ("550 account expired", true), ("550 this address has expired", true), ("550 the mailbox is inactive", true),
    ("550 5.7.1 account restricted", false), ("550 5.7.1 this group account is restricted to members", false),
    ("550 message expired, bad address", false), ("550 message for that address expired", false),
    ("550 the address you mail has expired message", false), ("554 address list of 5 users expired", false),
    ("550 delivery suspended", false), ("550 service suspended for maintenance", false), ("550 this feature is disabled", false),
    ("550 user jo has blocked you", false), ("550 account on hold", false), ("550 user authentication is disabled", false),
    ("550 5.7.1 your account is disabled", false), ("550 sender's address suspended", false), ("550 the port is locked", false),
    ("554 session expired, user jo", false), ("550 message archived", false), ("450 the account is disabled", false),
  ])
  func closedIsSaidOfTheAddress(text: String, suppresses: Bool) {
    let verdict = ReplyClassification.verdict(text: text, providerName: nil)
    #expect(verdict.suppresses == suppresses, "\(text): \(verdict.replyClass) \(verdict.reaction) by \(verdict.rule)")
  }

  /// The class of the code, suppression, and what counts where.
  @Test(arguments: [
    ("550 5.1.1 no such user", true, true, true, false), ("450 4.1.1 no such user", false, false, false, false),
    ("552 5.2.2 full", true, false, false, false), ("550 5.7.1 access denied", true, false, false, false),
    ("554 5.7.1 blocked using zen.spamhaus.org", true, false, false, true), ("421 too many connections", false, false, false, true),
    ("450 4.7.1 greylisted", false, false, false, false), ("550 5.7.26 DMARC", true, false, false, false),
    ("550 recipient rejected", true, false, true, false), ("450 mailbox receiving mail too quickly", false, false, false, false),
  ])
  func consequences(text: String, permanent: Bool, suppresses: Bool, listBounce: Bool, throttle: Bool) {
    let verdict = ReplyClassification.verdict(text: text, providerName: nil)
    #expect(verdict.isPermanent == permanent)
    #expect(verdict.suppresses == suppresses)
    #expect(verdict.countsAsListBounce == listBounce)
    #expect(verdict.countsAgainstThrottle == throttle)
  }

  @Test(
    arguments: [
      ("451 4.7.1 try again in 300 seconds", 300_000), ("451 retry after 2 s", 30_000), ("421 wait 3 hours", 3_600_000),
      ("450 greylisted for 5min", 300_000), ("450 450 messages", nil), ("550 no user for 5 minutes unknown", nil),
      ("421 4.7.0 retry timeout exceeded", nil), ("421 timed out after 300 seconds, try again", nil), ("451 retry in 1 hour", 3_600_000),
      ("421 100 messages per 5 minutes exceeded, try later", nil), ("451 could not be delivered for 8 hours", nil),
      ("450 Bitte in 10 Minuten erneut versuchen", 600_000), ("451-4.7.1 come back\r\n451 4.7.1 in 90 seconds", 90_000),
      ("451 try again in 999999 seconds", 3_600_000), ("451 try again in 0 seconds", nil),
    ] as [(String, Int64?)])
  func statedWaits(text: String, wait: Int64?) {
    #expect(ReplyClassification.verdict(text: text, providerName: nil).statedWait == wait)
  }

  /// A reply as the SMTP client gives it and the same as text are one.
  @Test func linesAndTextAgree() {
    let reply = SMTPReply(code: 550, lines: ["5.7.1 Our system has seen that this", "5.7.1 message is likely spam"])
    let byLines = ReplyClassification.verdict(reply, providerName: "gmail")
    #expect(
      byLines
        == ReplyClassification.verdict(
          text: "550-5.7.1 Our system has seen that this\r\n550 5.7.1 message is likely spam", providerName: "gmail"))
    #expect(byLines.replyClass == .spamContent)
  }

  /// Punctuation, case, addresses and line ends do not hide a phrase.
  @Test(arguments: [
    "550 USER-UNKNOWN", "550 user <jo@b.example> unknown", "550 user_unknown", "550-user\r\n550 unknown", "550 #5.9.9 User: unknown!",
    "smtp; 550 5.0.0 user unknown", "SMTP error from remote mail server after RCPT TO:<a@b>: host mx [192.0.2.1]: 550 user unknown",
  ])
  func forms(text: String) {
    #expect(ReplyClassification.verdict(text: text, providerName: nil).rule == "user-unknown")
  }

  @Test func hostileRepliesAreBounded() {
    let clock = ContinuousClock()
    for text in [
      String(repeating: "mailbox ", count: 8192), String(repeating: "5.1.1 ", count: 11_000), String(repeating: "\u{1}ÿ@", count: 20_000),
    ] {
      let spent = clock.measure { _ = ReplyClassification.verdict(text: "550 " + text, providerName: nil) }
      #expect(spent < .seconds(1))
    }
  }

  @Test(arguments: [
    (550, "5.7.1 rejected as spam", MailboxProvider.other, "content_rejected"), (450, "4.7.1 no SPF", .other, "policy_rejected"),
    (530, "5.7.0 authentication required", .other, "auth_required"), (450, "4.4.1 later", .other, "greylisted"),
    (450, "4.2.2 x", .gmail, "mailbox_full"), (421, "4.7.0 [TSS04] x", .other, "rate_limited"), (450, "4.4.1 x", .other, "unknown"),
    (421, "4.7.28 x", .gmail, "gmail_rate_limited"), (421, "4.7.0 [TSS04] x", .yahoo, "yahoo_tss04"),
  ])
  func upstreamCategories(code: Int, text: String, provider: MailboxProvider, category: String) {
    #expect(ReplyClassifier.category(SMTPReply(code: code, lines: [text]), provider: provider).rawValue == category)
  }

  @Test func noReplyIsANetworkError() { #expect(ReplyClassifier.category(nil, provider: .other) == .networkError) }
}
