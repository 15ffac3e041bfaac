import DeliveryPolicy
import MailModel

/// What is learnt from mail about a message that its server had taken.
struct LateLesson: Sendable {
  enum What: Sendable {
    case complained
    case bounced(ReplyVerdict)
  }

  var what: What
  /// The IP that the message left by.
  var ip: String
  var provider: MailboxProvider
  var organisation: String
  var campaign: String?
  /// Whether the IP's day learns of it; never twice of one message.
  var speaksOfIP = true
  /// When it was counted as delivered; nil when it was not.
  var deliveredAt: Milliseconds?

  /// What it says of the IP's day; a complaint counts as a bounce there, which is what halts a warm-up.
  var warming: IPWarming.Outcome? {
    guard speaksOfIP else { return nil }
    return switch what {
    case .complained: .bounced
    case .bounced(let verdict): IPWarming.Outcome(.refused(verdict))
    }
  }

  /// Only what speaks of the list moves a breaker, as with replies.
  var breaker: CircuitBreaker.Outcome? {
    switch what {
    case .complained: .complained
    case .bounced(let verdict): verdict.countsAsListBounce ? .bounced : nil
    }
  }
}
