package import MailModel

/// What one reply means and what to do about it.
package struct ReplyVerdict: Sendable, Equatable {
  package var replyClass: ReplyClass
  /// The first digit of the reply says 5; the reaction may still be a deferral (full mailbox, rate, IP reputation).
  package var isPermanent: Bool
  package var scope: ReplyScope
  package var reaction: ReplyReaction
  /// How long a `slow` or a pause lasts; nil when the reaction is neither.
  package var pause: Milliseconds?
  /// The wait that the reply asks for, 30 s to 1 h; nil when it states none.
  package var statedWait: Milliseconds?
  /// Name of the rule that decided.
  package var rule: String

  /// The message is tried again, whatever the first digit of the reply.
  package var isDeferral: Bool {
    guard isPermanent else { return true }
    switch reaction {
    case .suppress, .drop: return false
    case .pauseOrganisation: return replyClass == .rateLimited
    case .retry, .retryLong, .retryWithTLS, .slow, .pauseLane, .pauseIP, .otherIP: return true
    }
  }

  /// Speaks of the rate or the reputation of IP × provider. Full mailboxes, greylisting, unknown users and limits of one
  /// recipient or one organisation do not.
  package var countsAgainstThrottle: Bool {
    guard scope == .lane || scope == .ip else { return false }
    return replyClass == .rateLimited || replyClass == .ipReputation || reaction == .slow || reaction == .pauseLane
  }

  /// Speaks of the sender's list: for its bounce rate and circuit breaker.
  package var countsAsListBounce: Bool {
    switch replyClass {
    case .invalidRecipient, .inactiveMailbox, .suspended, .domainNotFound, .noMX: isPermanent && !isDeferral
    default: false
    }
  }

  /// The address (or its domain) is condemned for good. Never on 4xx, never for what is the sender's or the IP's fault.
  package var suppresses: Bool { isPermanent && reaction == .suppress }
}
