package import MailModel

/// How fast one IP may send to one mailbox provider (for provider `other`: to one recipient domain), learnt from what the
/// provider answers (contract section 5): × `recoveryFactor` after every 20 deliveries up to the ceiling, × `backoffFactor`
/// on a reply that speaks of rate or reputation down to the floor, and after three of those in a row, each within five
/// minutes of the one before, nothing at all until five minutes after the last. An hour without one forgets the row; a day
/// of silence forgets the rate.
package struct AdaptiveRate: Sendable, Equatable {
  package enum Status: String, Sendable {
    case healthy, degraded, blocking
  }

  package static let deliveriesForGrowth = 20
  package static let throttlesForBlock = 3
  package static let rowGap: Milliseconds = 300_000
  package static let blockTime: Milliseconds = 300_000
  package static let recovery: Milliseconds = 3_600_000
  package static let memory: Milliseconds = 86_400_000

  /// Messages a minute.
  package private(set) var ratePerMinute: Double
  private var deliveries = 0
  private var throttlesInRow = 0
  private var lastThrottleAt: Milliseconds = 0
  /// Nothing goes before this time; 0 = not blocked.
  package private(set) var blockedUntil: Milliseconds = 0
  package private(set) var blockedSince: Milliseconds = 0
  private var lastUsedAt: Milliseconds = 0

  package init(_ profile: ProviderProfile) { ratePerMinute = profile.defaultRate }

  package func status(now: Milliseconds) -> Status {
    if blockedUntil > now { return .blocking }
    return lastThrottleAt > 0 && now - lastThrottleAt < Self.recovery ? .degraded : .healthy
  }

  /// A delivery.
  package mutating func delivered(_ profile: ProviderProfile, now: Milliseconds) {
    forget(profile, now)
    deliveries += 1
    guard deliveries >= Self.deliveriesForGrowth else { return }
    deliveries = 0
    ratePerMinute = min(ratePerMinute * profile.recoveryFactor, max(profile.ceiling, profile.floor))
  }

  /// A reply that asks for less.
  /// - Parameter pause: the provider's own time to stay away, where it is known; nil = the usual rules.
  package mutating func throttled(_ profile: ProviderProfile, pause: Milliseconds?, now: Milliseconds) {
    forget(profile, now)
    deliveries = 0
    throttlesInRow = lastThrottleAt > 0 && now - lastThrottleAt <= Self.rowGap ? throttlesInRow + 1 : 1
    lastThrottleAt = now
    ratePerMinute = max(ratePerMinute * profile.backoffFactor, profile.floor)
    if throttlesInRow >= Self.throttlesForBlock { block(until: now + Self.blockTime, now) }
    if let pause { block(until: now + pause, now) }
  }

  /// Another profile: another first rate begins anew, a rate outside of the bounds comes inside; a block stays.
  package mutating func adopt(_ profile: ProviderProfile, before: ProviderProfile) {
    if profile.defaultRate != before.defaultRate { ratePerMinute = profile.defaultRate }
    ratePerMinute = min(max(ratePerMinute, profile.floor), max(profile.ceiling, profile.floor))
  }

  private mutating func block(until: Milliseconds, _ now: Milliseconds) {
    if blockedUntil <= now { blockedSince = now }
    blockedUntil = max(blockedUntil, until)
  }

  private mutating func forget(_ profile: ProviderProfile, _ now: Milliseconds) {
    if lastUsedAt > 0, now - lastUsedAt > Self.memory { self = AdaptiveRate(profile) }
    if lastThrottleAt > 0, now - lastThrottleAt >= Self.recovery {
      throttlesInRow = 0
      lastThrottleAt = 0
    }
    lastUsedAt = now
  }

  /// True when the row says no more than a fresh one would.
  package func isIdle(now: Milliseconds) -> Bool { now - lastUsedAt > Self.memory }

  package var text: String {
    "a1 \(ratePerMinute) \(deliveries) \(throttlesInRow) \(lastThrottleAt) \(blockedUntil) \(blockedSince) \(lastUsedAt)"
  }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "a1"), let rate = reader.number(), rate > 0, let deliveries = reader.integer(Int.self),
      let inRow = reader.integer(Int.self), let last: Milliseconds = reader.integer(), let until: Milliseconds = reader.integer(),
      let since: Milliseconds = reader.integer(), let used: Milliseconds = reader.integer()
    else { return nil }
    ratePerMinute = rate
    self.deliveries = deliveries
    throttlesInRow = inRow
    lastThrottleAt = last
    blockedUntil = until
    blockedSince = since
    lastUsedAt = used
  }
}
