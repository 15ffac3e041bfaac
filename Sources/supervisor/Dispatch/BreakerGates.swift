import DeliveryPolicy
import MailModel
import Redis

/// A counter that a pick is charged to, and what is shut when it has no room.
struct DispatchCounter: Sendable, Equatable {
  enum Stop: Sendable, Equatable {
    case organisationLimit(until: Milliseconds)
    /// All probes of a half-open breaker are out.
    case probes(PolicyBook.BreakerKey)
    /// The IP's day.
    case warmingCap(until: Milliseconds)
    /// The IP's day with one provider.
    case providerCap(until: Milliseconds)
    /// Campaign mail of this part of the day.
    case pacing(opensAt: Milliseconds)
  }

  var counter: SharedCounter
  var stop: Stop
}

/// The dispatcher's copies of breakers that are not closed, so that an open time that runs out needs no word from anybody.
struct BreakerGates {
  private var breakers: [PolicyBook.BreakerKey: CircuitBreaker] = [:]
  /// Ends of open times.
  private var ends = BinaryHeap<End>()

  private struct End: Comparable {
    let at: Milliseconds
    let key: PolicyBook.BreakerKey

    static func < (a: Self, b: Self) -> Bool { a.at < b.at }
    static func == (a: Self, b: Self) -> Bool { a.at == b.at }
  }

  /// - Returns: whether its state is another than before.
  mutating func note(_ key: PolicyBook.BreakerKey, _ breaker: CircuitBreaker) -> Bool {
    let before = breakers[key]
    breakers[key] = breaker.state == .closed ? nil : breaker
    if breaker.state == .open, before?.until != breaker.until { ends.push(End(at: breaker.until, key: key)) }
    return before?.generation != breakers[key]?.generation
  }

  /// Breakers whose open time is over; each is answered once.
  mutating func due(now: Milliseconds) -> [PolicyBook.BreakerKey] {
    var keys: [PolicyBook.BreakerKey] = []
    while let end = ends.first, end.at <= now {
      _ = ends.pop()
      if breakers[end.key]?.tick(now: now) == true { keys.append(end.key) }
    }
    return keys
  }

  func openUntil(_ key: PolicyBook.BreakerKey, now: Milliseconds) -> Milliseconds? {
    guard let breaker = breakers[key], breaker.state == .open, breaker.until > now else { return nil }
    return breaker.until
  }

  func since(_ key: PolicyBook.BreakerKey) -> Milliseconds { breakers[key]?.since ?? 0 }

  /// Generation of a half-open breaker: its probes are counted under it.
  func probing(_ key: PolicyBook.BreakerKey, now: Milliseconds) -> Int? {
    guard let breaker = breakers[key], breaker.state == .halfOpen else { return nil }
    return breaker.generation
  }
}

extension PolicyBook.BreakerKey {
  /// As gates name it: the organisation, with the provider behind a slash when it is about one.
  var gateKey: String { organisation + (provider.map { "/" + $0.rawValue } ?? "") }
}
