/// What a refusing reply says. Raw values are the words of `supervisor classify` and of the metrics.
package enum ReplyClass: String, Sendable, Hashable, CaseIterable {
  /// There is no such address.
  case invalidRecipient = "invalid_recipient"
  /// The address was given up: long unused or expired.
  case inactiveMailbox = "inactive_mailbox"
  /// The address is switched off or locked by its provider.
  case suspended
  case mailboxFull = "mailbox_full"
  case domainNotFound = "domain_not_found"
  /// The domain exists and takes no mail (null MX, no mail host).
  case noMX = "no_mx"
  /// Refused by a rule of the receiver that names neither spam nor reputation.
  case policy
  case spamContent = "spam_content"
  case ipReputation = "ip_reputation"
  case rateLimited = "rate_limited"
  case greylisted
  /// SPF, DKIM, DMARC or a demanded login.
  case authFailure = "auth_failure"
  case tls
  case messageTooLarge = "message_too_large"
  case routingLoop = "routing_loop"
  case `protocol`
  /// Time-outs, refused connections, faults of the receiving system, mail that expired on the way.
  case network
  case unknown
}

/// Whose fault a refusal is: the narrowest thing that a reaction may touch.
package enum ReplyScope: String, Sendable, CaseIterable {
  case recipient, message, domain
  /// One IP towards one mailbox provider.
  case lane = "ip_provider"
  case ip
  case organisation = "organization"
  /// Nobody's: greylisting, load of the receiver, unclear text.
  case none
}

/// What to do about a refusal, beside the message's own retry schedule.
package enum ReplyReaction: String, Sendable, CaseIterable {
  /// Bounce, and never write to the address again.
  case suppress
  /// Bounce the message; the address stays good.
  case drop
  case retry
  /// Retry after the longest delay: a full mailbox stays full for hours.
  case retryLong = "retry_long"
  case retryWithTLS = "retry_with_tls"
  /// Lower the rate of IP × provider for a while.
  case slow
  case pauseLane = "pause_ip_provider"
  case pauseIP = "pause_ip"
  /// A 5xx about this IP's reputation: pause it towards this provider, try the message from another eligible IP.
  case otherIP = "other_ip"
  case pauseOrganisation = "pause_organization"
}
