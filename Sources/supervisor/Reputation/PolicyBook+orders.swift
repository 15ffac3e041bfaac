import DeliveryPolicy
import MailModel
import Redis

/// What people and the calendar do to breakers and warming.
extension PolicyBook {
  struct BreakerRow: Sendable {
    var key: BreakerKey
    var breaker: CircuitBreaker
  }

  /// As they are now: an open time that is over counts as half-open.
  func breakerRows(now: Milliseconds) -> [BreakerRow] {
    breakers.map { key, breaker in
      var breaker = breaker
      _ = breaker.tick(now: now)
      return BreakerRow(key: key, breaker: breaker)
    }.sorted { ($0.key.organisation, $0.key.provider?.rawValue ?? "") < ($1.key.organisation, $1.key.provider?.rawValue ?? "") }
  }

  /// Closes all breakers of an organisation. Nil when it has none.
  func reset(_ organisation: String, now: Milliseconds) -> (rows: [PolicyRow], changes: Changes)? {
    var changes = Changes()
    for (key, breaker) in breakers where key.organisation == organisation {
      var breaker = breaker
      breaker.reset(now: now)
      breakers[key] = breaker
      changes.breakers[key] = breaker
    }
    return changes.breakers.isEmpty ? nil : (rows(changes, now), changes)
  }

  func state(of organisation: String, at provider: MailboxProvider?, now: Milliseconds) -> CircuitBreaker {
    var breaker = breakers[BreakerKey(organisation: organisation, provider: provider)] ?? CircuitBreaker()
    _ = breaker.tick(now: now)
    return breaker
  }

  /// Judges the days that are over.
  func rollWarming(now: Milliseconds) -> (rows: [PolicyRow], changes: Changes, events: [(ip: String, event: WarmingEvent)]) {
    var changes = Changes()
    var events: [(ip: String, event: WarmingEvent)] = []
    for (ip, state) in warming {
      var state = state
      let told = state.roll(now: now, policy: warmingPolicy)
      guard state != warming[ip] else { continue }
      warming[ip] = state
      changes.warming[ip] = state
      events += told.map { (ip, $0) }
    }
    return (rows(changes, now), changes, events)
  }

  /// An order about one IP's warming. Nil when it is not ours.
  func changeWarming(_ ip: String, now: Milliseconds, _ order: @Sendable (inout IPWarming, WarmingPolicy) -> Void) -> (
    rows: [PolicyRow], changes: Changes
  )? {
    guard var state = warming[ip] else { return nil }
    order(&state, warmingPolicy)
    warming[ip] = state
    var changes = Changes()
    changes.warming[ip] = state
    return (rows(changes, now), changes)
  }

  /// Today's values of what a batch changed, and the rows of those that an order changed since.
  func current(_ changes: Changes) -> (changes: Changes, overtaken: [PolicyRow]) {
    var current = changes
    var differing = Changes()
    for (key, breaker) in changes.breakers where breakers[key] != breaker {
      current.breakers[key] = breakers[key]
      differing.breakers[key] = breakers[key]
    }
    for (ip, state) in changes.warming where warming[ip] != state {
      current.warming[ip] = warming[ip]
      differing.warming[ip] = warming[ip]
    }
    return (current, rows(differing, 0))
  }
}
