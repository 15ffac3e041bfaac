package import MailModel

/// When a breaker opens, and for how long (contract section 7; configuration `breaker`). Rates are shares of 1.
package struct BreakerPolicy: Sendable, Equatable {
  /// Of the last 50, and of the last 100: opens above, not at.
  package var bounceFast = 0.15
  package var bounceSlow = 0.08
  package var complaintFast = 0.04
  package var complaintSlow = 0.002
  package var open: Milliseconds = 1_800_000
  package var reopen: Milliseconds = 3_600_000
  package var probes = 5

  package init() {}
}

/// Stops an organisation (or an organisation at one provider) whose list is bad, before the provider does (contract section
/// 7). Only outcomes that speak of the list enter: an IP's block, a dead host or a full mailbox are nobody's bounce (against
/// upstream's weaknesses W4 and W9).
package struct CircuitBreaker: Sendable, Equatable {
  package enum State: String, Sendable {
    case closed, open
    case halfOpen = "half-open"
  }

  package enum Outcome: UInt8, Sendable {
    case delivered = 0x2E  // .
    case bounced = 0x62  // b
    case complained = 0x63  // c
  }

  /// What the outcome changed.
  package enum Transition: Sendable, Equatable {
    case opened(bounceRate: Double, complaintRate: Double)
    case reopened
    case closed
  }

  package static let fastWindow = 50
  package static let slowWindow = 100
  package static let memory: Milliseconds = 6 * 3_600_000

  package private(set) var state = State.closed
  /// End of `open`; 0 otherwise.
  package private(set) var until: Milliseconds = 0
  package private(set) var since: Milliseconds = 0
  /// Raised with every transition: names the probes of one half-open time.
  package private(set) var generation = 0
  private var ring: [UInt8] = []
  private var completed = 0
  private var bad = 0
  private var lastAt: Milliseconds = 0

  package init() {}

  package var bounceRate: Double { rate(.bounced, Self.slowWindow) }
  package var complaintRate: Double { rate(.complained, Self.slowWindow) }

  private func rate(_ outcome: Outcome, _ window: Int) -> Double {
    let last = ring.suffix(window)
    return last.isEmpty ? 0 : Double(last.count { $0 == outcome.rawValue }) / Double(last.count)
  }

  /// Lets the time of `open` run out. Answers true when that made it half-open.
  package mutating func tick(now: Milliseconds) -> Bool {
    guard state == .open, until <= now else { return false }
    enter(.halfOpen, until: 0, now)
    completed = 0
    bad = 0
    return true
  }

  package mutating func note(_ outcome: Outcome, policy: BreakerPolicy, now: Milliseconds) -> Transition? {
    _ = tick(now: now)
    if lastAt > 0, now - lastAt > Self.memory, state == .closed { ring = [] }
    lastAt = now
    switch state {
    case .open:
      push(outcome)
      return nil
    case .halfOpen: return probed(outcome, policy, now)
    case .closed:
      push(outcome)
      guard isOver(policy) else { return nil }
      let rates = (bounceRate, complaintRate)
      enter(.open, until: now + policy.open, now)
      return .opened(bounceRate: rates.0, complaintRate: rates.1)
    }
  }

  /// A delivery came back: one message counts once, so the last delivery makes room for the bounce that is noted next. (Which of them
  /// it was is not known; deliveries differ in their place only.)
  package mutating func takeBackDelivery() {
    if let last = ring.lastIndex(of: Outcome.delivered.rawValue) { ring.remove(at: last) }
  }

  /// An operator's word: closed, and nothing is remembered.
  package mutating func reset(now: Milliseconds) {
    ring = []
    enter(.closed, until: 0, now)
  }

  private mutating func push(_ outcome: Outcome) {
    ring.append(outcome.rawValue)
    if ring.count > Self.slowWindow { ring.removeFirst(ring.count - Self.slowWindow) }
  }

  private func isOver(_ policy: BreakerPolicy) -> Bool {
    if ring.count >= Self.fastWindow,
      rate(.bounced, Self.fastWindow) > policy.bounceFast || rate(.complained, Self.fastWindow) > policy.complaintFast
    {
      return true
    }
    return ring.count >= Self.slowWindow && (bounceRate > policy.bounceSlow || complaintRate > policy.complaintSlow)
  }

  /// All probes good: closed. One bad: open again, once all have ended.
  private mutating func probed(_ outcome: Outcome, _ policy: BreakerPolicy, _ now: Milliseconds) -> Transition? {
    if outcome != .complained { completed += 1 }
    if outcome != .delivered { bad += 1 }
    guard completed >= policy.probes else { return nil }
    if bad > 0 {
      enter(.open, until: now + policy.reopen, now)
      return .reopened
    }
    ring = []
    enter(.closed, until: 0, now)
    return .closed
  }

  private mutating func enter(_ state: State, until: Milliseconds, _ now: Milliseconds) {
    self.state = state
    self.until = until
    since = now
    // Probes are counted by it for a day: a breaker that was forgotten meanwhile must not begin with the same number.
    generation = state == .open ? max(generation + 1, Int(now / 1000)) : generation + 1
  }

  package func isIdle(now: Milliseconds) -> Bool { state == .closed && now - lastAt > Self.memory }

  package var text: String {
    let outcomes = ring.isEmpty ? "-" : String(decoding: ring, as: UTF8.self)
    return "b1 \(state.rawValue) \(until) \(since) \(generation) \(completed) \(bad) \(lastAt) \(outcomes)"
  }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "b1"), let state = reader.word().flatMap(State.init(rawValue:)),
      let until: Milliseconds = reader.integer(), let since: Milliseconds = reader.integer(), let generation = reader.integer(Int.self),
      let completed = reader.integer(Int.self), let bad = reader.integer(Int.self), let lastAt: Milliseconds = reader.integer(),
      let outcomes = reader.word()
    else { return nil }
    self.state = state
    self.until = until
    self.since = since
    self.generation = generation
    self.completed = completed
    self.bad = bad
    self.lastAt = lastAt
    ring = outcomes == "-" ? [] : Array(outcomes.utf8).suffix(Self.slowWindow)
  }
}
