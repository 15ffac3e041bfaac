package import MailModel

/// The 14 categories of upstream's `smtp.classified` (contract section 11.8).
package enum ReplyCategory: String, Sendable, CaseIterable {
  case gmailRateLimited = "gmail_rate_limited"
  case gmailIPIdentity = "gmail_ip_identity"
  case gmailTLSRequired = "gmail_tls_required"
  case yahooTS03 = "yahoo_ts03"
  case yahooTSS04 = "yahoo_tss04"
  case microsoftResourceThrottle = "microsoft_resource_throttle"
  case mailboxFull = "mailbox_full"
  case greylisted
  case rateLimited = "rate_limited"
  case authRequired = "auth_required"
  case contentRejected = "content_rejected"
  case policyRejected = "policy_rejected"
  case unknown
  case networkError = "network_error"
}

/// Upstream's names for what ``ReplyClassification`` finds: for the event only, decisions are the verdict's.
package enum ReplyClassifier {
  /// On the whole reply text, not on its first line (upstream's weakness W1). nil = no reply at all.
  package static func category(_ reply: SMTPReply?, provider: MailboxProvider) -> ReplyCategory {
    guard let reply else { return .networkError }
    let text = ReplyText(code: reply.code, lines: reply.lines)
    if let named = named(text, provider) { return named }
    let verdict = ReplyClassification.verdict(text, providerName: provider.rawValue)
    switch verdict.replyClass {
    case .mailboxFull: return .mailboxFull
    case .greylisted: return .greylisted
    case .rateLimited: return .rateLimited
    case .tls: return .authRequired
    case .authFailure: return ReplyRules.loginRules.contains(verdict.rule) ? .authRequired : .policyRejected
    case .spamContent: return .contentRejected
    case .ipReputation: return ReplyRules.identityRules.contains(verdict.rule) ? .policyRejected : .contentRejected
    case .policy, .protocol: return .policyRejected
    case .network, .unknown: return text.asksToComeBack ? .greylisted : .unknown
    case .invalidRecipient, .inactiveMailbox, .suspended, .domainNotFound, .noMX, .messageTooLarge, .routingLoop: return .unknown
    }
  }

  /// What upstream knows by provider and code or token.
  private static func named(_ text: ReplyText, _ provider: MailboxProvider) -> ReplyCategory? {
    let code = text.enhanced.first
    switch (provider, code?.subject, code?.detail) {
    case (.gmail, 7, 28): return .gmailRateLimited
    case (.gmail, 7, 23): return .gmailIPIdentity
    case (.gmail, 7, 29): return .gmailTLSRequired
    case (.microsoft, 3, 2) where code?.subjectClass == 4: return .microsoftResourceThrottle
    case (.yahoo, _, _) where text.has(word: "tss04"): return .yahooTSS04
    case (.yahoo, _, _) where text.has(word: "ts03"): return .yahooTS03
    default: return nil
    }
  }

  /// The wait that a reply asks for, 30 s to 1 h; nil when it states none.
  package static func statedWait(_ reply: SMTPReply) -> Milliseconds? {
    StatedWait.read(ReplyText(code: reply.code, lines: reply.lines).words)
  }
}

extension ReplyText {
  /// Upstream takes such wording for greylisting (contract section 11.8).
  fileprivate var asksToComeBack: Bool {
    code / 100 == 4 && (has(word: "again") || has(word: "later") || has(word: "deferred") || has(word: "retry"))
  }

  fileprivate func has(word: String) -> Bool {
    let wanted = Array(word.utf8)
    return words.split(separator: 0x20).contains { $0.elementsEqual(wanted) }
  }
}
