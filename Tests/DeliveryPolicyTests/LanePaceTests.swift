import DeliveryPolicy
import MailModel
import Testing

/// Whatever a busy machine does to the times, no minute sees more than one attempt over the rate, and little is lost.
struct LanePaceTests {
  /// When attempts begin whose permits come in steps, each late by up to `lateness`.
  static func times(step: Double, lateness: ClosedRange<Double>, stalls: Bool, seed: Int) -> [Double] {
    var random = Dice(state: UInt64(seed))
    var throttle = LaneThrottle(ratePerMinute: 60_000 / step)
    var pace = LanePace()
    var now: Milliseconds = 1_000_000
    var times: [Double] = []
    while now < 1_000_000 + 300_000 {
      let permits = max(1, throttle.available(wanted: 4, now: now))
      let planned = throttle.take(permits, now: now)
      for index in 0..<permits {
        let earliest = planned.first + Milliseconds(Double(index) * planned.step)
        now = max(now, earliest, pace.opensAt(step: planned.step, now: now))
        now += Milliseconds(Double.random(in: lateness, using: &random))
        if stalls, Int.random(in: 0..<200, using: &random) == 0 { now += 1500 }
        while case let opens = pace.opensAt(step: planned.step, now: now), opens > now { now = opens }
        pace.begin(step: planned.step, now: now)
        times.append(Double(now))
      }
      now = max(now, throttle.opensAt)
    }
    return times
  }

  @Test(arguments: [10, 6.67, 100, 400, 2000], [false, true])
  func noMinuteHasTwoMore(step: Double, stalls: Bool) throws {
    for seed in 0..<20 {
      let times = Self.times(step: step, lateness: 0...(step / 3), stalls: stalls, seed: seed)
      var end = 0
      for (index, start) in times.enumerated() {
        while end < times.count, times[end] < start + 60_000 { end += 1 }
        #expect(Double(end - index) <= 60_000 / step + 1.01, "\(step), seed \(seed)")
      }
      if !stalls {
        let rate = Double(times.count - 1) * step / (times[times.count - 1] - times[0])
        #expect(rate >= 0.97, "\(step), seed \(seed): \(rate)")
      }
    }
  }

  /// Steps of less than a millisecond cost nobody one.
  @Test func aFastLaneIsNotSlowed() {
    var pace = LanePace()
    for index in 0..<10_000 {
      let now = Milliseconds(1_000_000 + index / 10)
      #expect(pace.opensAt(step: 0.1, now: now) <= now)
      pace.begin(step: 0.1, now: now)
    }
  }

  /// A clock that is set back, or a rate that grows, keeps nobody waiting for more than a step.
  @Test func nothingWaitsForAClock() {
    var pace = LanePace()
    pace.begin(step: 20_000, now: 10_000_000)
    #expect(pace.opensAt(step: 20_000, now: 10_000_000) == 10_010_000)
    #expect(pace.opensAt(step: 400, now: 10_000_000) == 10_000_401)
    #expect(pace.opensAt(step: 20_000, now: 6_400_000) == 6_420_001)
    #expect(pace.opensAt(step: 0, now: 6_400_000) == 0)
    pace.begin(step: 400, now: 6_400_000)
    #expect(pace.opensAt(step: 400, now: 6_400_000) <= 6_400_601)
  }

  private struct Dice: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }
}
