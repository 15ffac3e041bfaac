package import MailModel

/// UTC days by number since the Unix epoch: the unit of warming and of every daily counter.
package enum UTCDay {
  package static let length: Milliseconds = 86_400_000

  /// Days before the epoch count as day 0.
  package static func number(_ now: Milliseconds) -> Int { Int(max(0, now) / length) }

  package static func start(of day: Int) -> Milliseconds { Milliseconds(day) * length }

  package static func nextMidnight(after now: Milliseconds) -> Milliseconds { start(of: number(now) + 1) }

  /// Milliseconds since midnight.
  package static func elapsed(_ now: Milliseconds) -> Milliseconds { max(0, now) % length }
}
