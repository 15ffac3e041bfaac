/// Keeps a lane's attempts apart by what really was, where its permits only say what was planned: an attempt that begins late, because
/// the machine was busy, is not followed by the next one at once. Half a step is tolerated, which makes up for ordinary lateness;
/// so no minute sees more than one attempt over the rate (ITU-T I.371, the virtual scheduling algorithm).
package struct LanePace: Sendable {
  /// When the next attempt would begin if each were exactly a step behind the last, ms.
  private var next = 0.0

  package init() {}

  /// - Parameter step: milliseconds; 0 = as fast as can be.
  package func opensAt(step: Double, now: Milliseconds) -> Milliseconds {
    guard step > 0 else { return 0 }
    return Milliseconds((bounded(step, now) - step / 2).rounded(.down))
  }

  package mutating func begin(step: Double, now: Milliseconds) { next = max(Double(now), bounded(step, now)) + step }

  /// It never is further ahead than that (clocks have whole milliseconds), unless the clock was set back or the rate has grown.
  private func bounded(_ step: Double, _ now: Milliseconds) -> Double { min(next, Double(now) + 1.5 * step + 1) }
}
