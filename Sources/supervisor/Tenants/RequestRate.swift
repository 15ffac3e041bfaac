import MailModel
import Observability
import Synchronization

/// Requests a second by key or by address: a bucket of one second's worth, so that a burst of that size passes at once.
final class RequestRate: Sendable {
  private let limit: @Sendable () -> Int
  private let buckets = Mutex<[String: (level: Double, at: Milliseconds)]>([:])

  /// - Parameter perSecond: 0 = no limit.
  init(perSecond: @autoclosure @escaping @Sendable () -> Int) { limit = perSecond }

  /// Nil when the request may pass, else whole seconds after which it may.
  func refusal(_ name: String, now: Milliseconds = SystemClock.monotonic()) -> Int? {
    let perSecond = limit()
    guard perSecond > 0 else { return nil }
    let rate = Double(perSecond)
    return buckets.withLock { buckets in
      // Buckets that are full again say nothing.
      if buckets.count > 10_000 { buckets = buckets.filter { now - $0.value.at < 1000 } }
      let before = buckets[name] ?? (rate, now)
      let level = min(rate, before.level + Double(now - before.at) / 1000 * rate)
      guard level >= 1 else {
        buckets[name] = (level, now)
        return max(1, Int(((1 - level) / rate).rounded(.up)))
      }
      buckets[name] = (level - 1, now)
      return nil
    }
  }
}
