package import MailModel

/// Token bucket of one lane, as spacing: permit i may begin `60 s / rate` after permit i − 1, never before now. Kept as
/// the one time of the next permit, which dispatch stores, so that a restart makes no burst.
///
/// | rate a minute | spacing |
/// |---|---|
/// | 30 | 2 s |
/// | 100 | 600 ms |
/// | 6000 | 10 ms |
package struct LaneThrottle: Sendable, Equatable {
  /// Permits are given out this far ahead, so that a worker need not wait for the next call between two of them.
  package static let lookAhead: Milliseconds = 500

  package private(set) var ratePerMinute: Double
  /// Milliseconds, with the fraction that spacing of less than 1 ms needs.
  private var next: Double

  package init(ratePerMinute: Double, nextPermitAt: Milliseconds = 0) {
    self.ratePerMinute = max(ratePerMinute, 0.001)
    next = Double(nextPermitAt)
  }

  private var spacing: Double { 60_000 / ratePerMinute }

  /// Another rate, from the next permit on: a higher one brings that nearer.
  package mutating func setRate(_ ratePerMinute: Double, now: Milliseconds) {
    let last = next - spacing
    self.ratePerMinute = max(ratePerMinute, 0.001)
    next = min(next, max(Double(now), last) + spacing)
  }

  /// When the next permit may be asked for.
  package var opensAt: Milliseconds { Milliseconds(next.rounded(.up)) - Self.lookAhead }
  package var nextPermitAt: Milliseconds { Milliseconds(next.rounded(.up)) }

  /// How many of `wanted` may be given now.
  package func available(wanted: Int, now: Milliseconds) -> Int {
    let first = max(next, Double(now))
    let room = Double(now + Self.lookAhead) - first
    guard room >= 0 else { return 0 }
    return min(wanted, Int(min(room / spacing, 10_000)) + 1)
  }

  /// Spends `count` permits; answers the time of the first and the step between them.
  package mutating func take(_ count: Int, now: Milliseconds) -> (first: Milliseconds, step: Double) {
    let first = max(next, Double(now))
    next = first + Double(count) * spacing
    return (Milliseconds(first.rounded(.up)), spacing)
  }

  /// Permits that were not used: the message did not go.
  package mutating func giveBack(_ count: Int) { next -= Double(count) * spacing }
}
