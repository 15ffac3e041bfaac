/// The rules of warming: schedule, judgement of a completed day, reserve (contract section 6). State is ``IPWarming``'s.
package struct WarmingPolicy: Sendable, Equatable {
  /// Day of warming → messages a day; days between two entries have the earlier one's cap.
  package private(set) var schedule: [Int: Int]
  /// Answers (deliveries, bounces, deferrals) below which a day moves nothing but the day itself.
  package var minSample: Int
  /// Share of the cap that campaign mail leaves to transactional mail, 0 to 1.
  package var reserveTransactional: Double

  /// First day without a cap: 30, or the day after the schedule's last when that lies later.
  package let graduationDay: Int
  private let days: [Int]

  package static let builtInSchedule = [
    1: 50, 2: 100, 3: 200, 5: 700, 7: 1500, 10: 3000, 14: 7500, 18: 15_000, 21: 20_000, 25: 30_000,
  ]
  /// Answers from one provider that its multiplier needs.
  static let providerSample = 50

  /// - Parameter schedule: replaces the built-in one as a whole; entries below day 1 or one message a day are left out, an
  ///   empty one is the built-in.
  package init(
    schedule: [Int: Int] = Self.builtInSchedule, minSample: Int = 100, reserveTransactional: Double = 0.2
  ) {
    let usable = schedule.filter { $0.key >= 1 && $0.value >= 1 }
    self.schedule = usable.isEmpty ? Self.builtInSchedule : usable
    self.minSample = max(1, minSample)
    self.reserveTransactional = min(max(reserveTransactional, 0), 1)
    days = self.schedule.keys.sorted()
    let last = days.last ?? 1
    graduationDay = last < 30 ? 30 : last + 1
  }

  /// Messages a day on this day of warming; nil = graduated. Before the first entry: the first one's.
  package func cap(day: Int) -> Int? {
    day >= graduationDay ? nil : scheduled(day)
  }

  /// The schedule's cap even where graduation would lift it.
  func scheduled(_ day: Int) -> Int {
    let entry = days.last { $0 <= day } ?? days.first
    return entry.flatMap { schedule[$0] } ?? 50
  }

  /// What decelerating never goes below: 50, or the schedule's least when that is lower.
  var leastCap: Int { min(50, schedule.values.min() ?? 50) }

  /// What a completed day says.
  package enum Judgement: String, Sendable, CaseIterable {
    /// Too few answers: the day counts, the quality is not judged.
    case unjudged
    case halt, decelerate, normal, accelerate
  }

  /// First match wins, every limit strict: exactly 8 % does not halt. Rates are per delivery, as upstream counts.
  package func judge(_ total: WarmingDay.Counts, cap: Int) -> Judgement {
    guard total.answers >= minSample else { return .unjudged }
    if total.bounces(above: 8) || total.deferrals(above: 25) { return .halt }
    if total.bounces(above: 3) || total.deferrals(above: 10) { return .decelerate }
    let isUsed = total.delivered * 100 >= cap * 80
    return total.bounces(below: 1) && total.deferrals(below: 5) && isUsed ? .accelerate : .normal
  }

  /// Day of warming after a good day: half again as far when it was a very good one.
  func next(after day: Int, _ judgement: Judgement) -> Int {
    let step = judgement == .accelerate ? max(day + 1, day * 3 / 2) : day + 1
    return min(step, graduationDay + 1)
  }
}
