package import MailModel

/// The 14 categories of upstream's `smtp.classified` (contract section 11.8). First match wins.
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

package enum ReplyClassifier {
  /// Works on the whole reply text, not on its first line (upstream's weakness W1).
  package static func category(_ reply: SMTPReply?, provider: MailboxProvider) -> ReplyCategory {
    guard let reply else { return .networkError }
    let text = reply.lines.joined(separator: " ").lowercased()
    if let enhanced = reply.enhanced {
      switch (provider, enhanced.subject, enhanced.detail) {
      case (.gmail, 7, 28): return .gmailRateLimited
      case (.gmail, 7, 23): return .gmailIPIdentity
      case (.gmail, 7, 29): return .gmailTLSRequired
      case (.microsoft, 3, 2) where enhanced.subjectClass == 4: return .microsoftResourceThrottle
      default: break
      }
    }
    if provider == .yahoo {
      if text.contains("tss04") { return .yahooTSS04 }
      if text.contains("ts03") { return .yahooTS03 }
    }
    if isMailboxFull(reply) { return .mailboxFull }
    for (category, phrases) in phrases where phrases.contains(where: text.contains) { return category }
    return .unknown
  }

  private static let phrases: [(ReplyCategory, [String])] = [
    (.greylisted, ["greylist", "graylist", "grey list", "try again", "try later", "temporarily deferred", "retry in"]),
    (.rateLimited, ["too many", "rate limit", "ratelimit", "rate-limit", "throttl", "slow down", "too quickly", "limit exceeded"]),
    (.authRequired, ["authentication required", "must issue a starttls", "starttls required", "requires authentication"]),
    (.contentRejected, ["spam", "phish", "virus", "malware", "block list", "blocklist", "blacklist", "blocked using"]),
    (.policyRejected, ["spf", "dkim", "dmarc", "rdns", "reverse dns", "ptr record", "helo", "ehlo"]),
  ]

  /// x.2.2, or wording of a full store without a code that says otherwise.
  package static func isMailboxFull(_ reply: SMTPReply) -> Bool {
    if let enhanced = reply.enhanced, enhanced.subject == 2, enhanced.detail == 2 { return true }
    let text = reply.lines.joined(separator: " ").lowercased()
    return ["mailbox full", "mailbox is full", "over quota", "quota exceeded", "overquota", "insufficient storage", "out of storage"]
      .contains(where: text.contains)
  }

  /// `… 300 seconds`, `… in 5 minutes`, `… 1 hour`: milliseconds; nil when the reply states no wait.
  package static func statedWait(_ reply: SMTPReply) -> Milliseconds? {
    let words = reply.lines.joined(separator: " ").lowercased().split { !($0.isLetter || $0.isNumber || $0 == ".") }
    for (index, word) in words.enumerated() where index + 1 < words.count {
      guard let count = Int64(word), count > 0, count < 1_000_000 else { continue }
      let unit = words[index + 1]
      if unit.hasPrefix("sec") || unit == "s" { return count * 1000 }
      if unit.hasPrefix("min") { return count * 60_000 }
      if unit.hasPrefix("hour") || unit.hasPrefix("hr") { return count * 3_600_000 }
    }
    return nil
  }

  /// Codes that speak of the address itself: the only ones that suppress it (against upstream's W9).
  package static func condemnsAddress(_ reply: SMTPReply) -> Bool {
    guard reply.isPermanent, let code = reply.enhanced, code.subjectClass == 5 else { return false }
    switch (code.subject, code.detail) {
    case (1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1): return true
    default: return false
    }
  }
}
