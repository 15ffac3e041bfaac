import MailModel
import Testing

@testable import DeliveryPolicy

/// Throttle, domain health and breaker at the contract's numbers and their edges.
@Suite struct PolicyStateTests {
  let start: Milliseconds = 1_790_000_000_000
  let profile = ProviderProfile(
    defaultRate: 100, ceiling: 300, floor: 5, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: .opportunistic, maxConnections: 3,
    maxDeliveriesPerConnection: 100, mx: [])

  // MARK: throttle

  @Test func everyTwentiethDeliveryRaisesTheRateToTheCeiling() {
    var rate = AdaptiveRate(profile)
    for _ in 0..<19 { rate.delivered(profile, now: start) }
    #expect(rate.ratePerMinute == 100)
    rate.delivered(profile, now: start)
    #expect(abs(rate.ratePerMinute - 110) < 1e-9)
    for _ in 0..<1000 { rate.delivered(profile, now: start) }
    #expect(rate.ratePerMinute == 300)
  }

  @Test func aThrottlingReplyHalvesItDownToTheFloor() {
    var rate = AdaptiveRate(profile)
    for index in 0..<10 { rate.throttled(profile, pause: nil, now: start + Int64(index) * 400_000) }
    #expect(rate.ratePerMinute == 5)
    #expect(rate.blockedUntil == 0, "more than five minutes lay between them")
    rate.delivered(profile, now: start + 4_000_000)
    #expect(rate.ratePerMinute == 5, "twenty clean deliveries count from the last reply on")
  }

  @Test(arguments: [(300_000, true), (300_001, false)]) func threeInARowBlock(gap: Int64, blocks: Bool) {
    var rate = AdaptiveRate(profile)
    rate.throttled(profile, pause: nil, now: start)
    rate.throttled(profile, pause: nil, now: start + gap)
    #expect(rate.status(now: start + gap) == .degraded)
    rate.throttled(profile, pause: nil, now: start + 2 * gap)
    let now = start + 2 * gap
    #expect(rate.status(now: now) == (blocks ? .blocking : .degraded))
    #expect(rate.blockedUntil == (blocks ? now + 300_000 : 0))
    #expect(rate.status(now: now + 300_000) == .degraded)
    #expect(rate.status(now: now + 3_600_000) == .healthy)
  }

  @Test func aProvidersOwnPauseBlocksAtOnceAndTheLongestCounts() {
    var rate = AdaptiveRate(profile)
    rate.throttled(profile, pause: 7_200_000, now: start)
    rate.throttled(profile, pause: 60_000, now: start + 1000)
    #expect(rate.blockedUntil == start + 7_200_000 && rate.blockedSince == start)
  }

  @Test func anHourForgetsTheRowAndADayTheRate() {
    var rate = AdaptiveRate(profile)
    rate.throttled(profile, pause: nil, now: start)
    rate.throttled(profile, pause: nil, now: start + 1)
    rate.throttled(profile, pause: nil, now: start + 3_600_001)
    #expect(rate.blockedUntil == 0 && rate.ratePerMinute == 12.5)
    rate.delivered(profile, now: start + 3_600_001 + 86_400_001)
    #expect(rate.ratePerMinute == 100)
  }

  // MARK: domain

  @Test func moreThanSeventyPercentOfRefusalsBlock() {
    var health = DomainHealth()
    for _ in 0..<4 { health.replied(2, speaksOfDomain: true, now: start) }
    for _ in 0..<9 { health.replied(5, speaksOfDomain: true, now: start) }
    #expect(health.shut(now: start) == nil, "nine are too few")
    health.replied(5, speaksOfDomain: true, now: start)
    // 10 of 14 = 71 %.
    #expect(health.shut(now: start).map { $0.what == .response && $0.until == start + 300_000 } == true)
    #expect(health.shut(now: start + 300_000) == nil)
    var even = DomainHealth()
    for _ in 0..<6 { even.replied(2, speaksOfDomain: true, now: start) }
    for _ in 0..<14 { even.replied(5, speaksOfDomain: true, now: start) }
    // 14 of 20 = 70 % exactly.
    #expect(even.shut(now: start) == nil)
  }

  @Test func deferralsInARowDegrade() {
    var health = DomainHealth()
    for _ in 0..<5 { health.replied(2, speaksOfDomain: true, now: start) }
    for _ in 0..<5 { health.replied(4, speaksOfDomain: true, now: start) }
    #expect(health.shut(now: start) == nil, "half is not more than half")
    health.replied(4, speaksOfDomain: true, now: start)
    #expect(health.shut(now: start).map { $0.until == start + 120_000 } == true)
  }

  @Test func fullMailboxesAndUnknownUsersSlowNobody() {
    var health = DomainHealth()
    for index in 0..<500 { health.replied(index % 2 == 0 ? 4 : 5, speaksOfDomain: false, now: start) }
    #expect(health.shut(now: start) == nil)
  }

  @Test func connectionsBackOffFromThirtySecondsToTenMinutes() {
    var health = DomainHealth()
    var now = start
    for wait in [30, 60, 120, 240, 480, 600, 600] as [Int64] {
      health.connectionFailed(now: now)
      health.connectionFailed(now: now + 1)  // of the same moment
      #expect(health.shut(now: now).map { $0.what == .connection && $0.until == now + wait * 1000 } == true)
      now += wait * 1000
      #expect(health.shut(now: now) == nil)
    }
    health.replied(4, speaksOfDomain: false, now: now)
    health.connectionFailed(now: now)
    #expect(health.connectionUntil == now + 30_000, "an answer ends the row")
  }

  // MARK: breaker

  func breaker(_ outcomes: String) -> (breaker: CircuitBreaker, opened: Bool) {
    var breaker = CircuitBreaker()
    var opened = false
    for letter in outcomes {
      let outcome: CircuitBreaker.Outcome = letter == "b" ? .bounced : letter == "c" ? .complained : .delivered
      if case .opened? = breaker.note(outcome, policy: BreakerPolicy(), now: start) { opened = true }
    }
    return (breaker, opened)
  }

  func mix(_ count: Int, _ bad: Int, _ letter: String) -> String {
    String(repeating: letter, count: bad) + String(repeating: ".", count: count - bad)
  }

  @Test func edgesOfTheRates() {
    #expect(!breaker(String(repeating: "b", count: 49)).opened, "49 are too few")
    #expect(breaker(String(repeating: "b", count: 50)).opened)
    // 15 % of 50 is 7.5: seven do not trip, eight do.
    #expect(!breaker(mix(50, 7, "b")).opened)
    #expect(breaker(mix(50, 8, "b")).opened)
    // Exactly 8 % of 100 does not trip, nine do.
    #expect(!breaker(mix(50, 4, "b") + mix(50, 4, "b")).opened)
    #expect(breaker(mix(50, 5, "b") + mix(50, 4, "b")).opened)
    // Exactly 4 % of 50 does not trip, three do.
    #expect(!breaker(mix(50, 2, "c")).opened)
    #expect(breaker(mix(50, 3, "c")).opened)
    // Any complaint in a hundred is more than 0.2 %.
    #expect(breaker(mix(100, 1, "c")).opened)
    #expect(!breaker(mix(100, 0, "c")).opened)
  }

  @Test func anExactShareDoesNotTrip() {
    var policy = BreakerPolicy()
    policy.bounceFast = 0.2
    var breaker = CircuitBreaker()
    for letter in mix(50, 10, "b") {
      #expect(breaker.note(letter == "b" ? .bounced : .delivered, policy: policy, now: start) == nil)
    }
    #expect(breaker.note(.bounced, policy: policy, now: start) == nil, "the oldest bounce left the window of 50 when this one came")
    #expect(breaker.note(.bounced, policy: policy, now: start) == nil)
  }

  @Test func openHalfOpenClosed() {
    var (breaker, _) = breaker(String(repeating: "b", count: 50))
    #expect(breaker.state == .open && breaker.until == start + 1_800_000)
    #expect(breaker.note(.delivered, policy: BreakerPolicy(), now: start + 1) == nil && breaker.state == .open)
    var now = start + 1_800_000
    #expect(breaker.tick(now: now) && breaker.state == .halfOpen)
    for _ in 0..<4 { #expect(breaker.note(.delivered, policy: BreakerPolicy(), now: now) == nil) }
    #expect(breaker.note(.delivered, policy: BreakerPolicy(), now: now) == .closed && breaker.bounceRate == 0)
    // One bad probe opens it for an hour.
    for _ in 0..<50 { _ = breaker.note(.bounced, policy: BreakerPolicy(), now: now) }
    now = breaker.until
    _ = breaker.tick(now: now)
    for _ in 0..<4 { _ = breaker.note(.delivered, policy: BreakerPolicy(), now: now) }
    #expect(breaker.note(.bounced, policy: BreakerPolicy(), now: now) == .reopened && breaker.until == now + 3_600_000)
  }

  @Test func sixHoursForget() {
    var (breaker, _) = breaker(String(repeating: "b", count: 49))
    #expect(breaker.note(.bounced, policy: BreakerPolicy(), now: start + 6 * 3_600_000 + 1) == nil)
    #expect(breaker.bounceRate == 1)
  }

  // MARK: stored form

  @Test func statesComeBackAsTheyWere() throws {
    var rate = AdaptiveRate(profile)
    for index in 0..<3 { rate.throttled(profile, pause: nil, now: start + Int64(index)) }
    for _ in 0..<27 { rate.delivered(profile, now: start + 100) }
    #expect(AdaptiveRate(text: rate.text) == rate)
    var health = DomainHealth()
    #expect(DomainHealth(text: health.text) == health)
    for code in [2, 4, 5, 4] { health.replied(code, speaksOfDomain: true, now: start) }
    health.connectionFailed(now: start + 5)
    #expect(DomainHealth(text: health.text) == health)
    var breaker = CircuitBreaker()
    #expect(CircuitBreaker(text: breaker.text) == breaker)
    for index in 0..<120 { _ = breaker.note(index % 5 == 0 ? .bounced : .delivered, policy: BreakerPolicy(), now: start) }
    #expect(CircuitBreaker(text: breaker.text) == breaker)
    for junk in ["", "a1", "a1 x", "b1 open", "d1 22", "a2 1 1 1 1 1 1 1"] {
      #expect(AdaptiveRate(text: junk) == nil && DomainHealth(text: junk) == nil && CircuitBreaker(text: junk) == nil)
    }
  }
}
