package import MailModel

/// What an IP may send today and by now. The counters live elsewhere; these are their limits.
package struct WarmingLimits: Sendable, Equatable {
  /// Messages of the whole UTC day; nil = no cap (then nothing else is limited either).
  package let ip: Int?
  /// The same by provider; providers that are absent have the IP's cap alone.
  package let providers: [String: Int]
  /// Campaign messages by `now`, the reserve for transactional mail left out; nil = not paced.
  package let campaign: Int?
  /// Campaign messages of the whole day.
  package let campaignCeiling: Int?

  private let now: Milliseconds

  /// Below so many a day nothing is spread: a first-day campaign of 50 leaves at once.
  static let unpaced = 100

  init(cap: Int?, multipliers: [String: Int], reserve: Double, now: Milliseconds) {
    self.now = now
    ip = cap
    guard let cap else {
      providers = [:]
      campaign = nil
      campaignCeiling = nil
      return
    }
    providers = multipliers.mapValues { max(1, cap * $0 / 1000) }
    let ceiling = min(cap, max(Self.unpaced, cap - Int((reserve * Double(cap)).rounded(.down))))
    campaignCeiling = ceiling
    campaign = Self.allowance(ceiling, elapsed: UTCDay.elapsed(now))
  }

  /// A tenth at midnight, then evenly up to the ceiling: `ceil(ceiling × (0.1 + 0.9 × share of the day))`, never below
  /// ``unpaced``. Whole numbers: thousandths of a message times milliseconds fit easily.
  private static func allowance(_ ceiling: Int, elapsed: Milliseconds) -> Int {
    let length = Int(UTCDay.length)
    let parts = ceiling * (length + 9 * Int(elapsed))
    return min(ceiling, max(unpaced, (parts + 10 * length - 1) / (10 * length)))
  }

  /// When one more campaign message than `used` may go; the next midnight when that is not today; `now` when it may already.
  package func campaignReaches(used: Int) -> Milliseconds {
    guard let campaign, let ceiling = campaignCeiling, used >= campaign else { return now }
    let midnight = UTCDay.nextMidnight(after: now)
    guard used < ceiling else { return midnight }
    // ceil(x) ≥ used + 1 as soon as x > used.
    let length = Int(UTCDay.length)
    let elapsed = (10 * length * used - ceiling * length) / (9 * ceiling) + 1
    return min(midnight, UTCDay.start(of: UTCDay.number(now)) + Milliseconds(elapsed))
  }

  /// The same as a time to look again: 60 s to 900 s from now (contract section 6, gate 3).
  package func campaignOpensAt(used: Int) -> Milliseconds {
    let at = campaignReaches(used: used)
    return at <= now ? now : now + min(max(at - now, 60_000), 900_000)
  }
}
