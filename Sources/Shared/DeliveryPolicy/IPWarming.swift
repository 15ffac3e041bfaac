package import MailModel

/// What the end of a day brought, worth telling.
package enum WarmingEvent: Sendable, Equatable {
  /// Growth stopped: upstream's critical `ip.blocklisted` without lists.
  case halted(message: String)
  /// `ip.warming_complete`.
  case complete(message: String)
  case probationOver
}

/// Warming of one IP: where it stands on the schedule and what its open day brought. Grows by completed UTC days only; a day
/// on which nothing was answered does not count (contract section 6, against upstream's W12).
///
/// ```
/// ramp ──halt──► plateau ──good day──► ramp ──day 30──► graduated         exempt: configured as warmed
/// ```
///
/// A halted IP goes on at its cap; one judged day that is better than halting sets it free. Probation lies over any phase and
/// freezes it: three days at 10, 30 and 60 % of the cap, a bad day repeated (DESIGN section 6).
package struct IPWarming: Sendable, Equatable {
  package enum Phase: String, Sendable, CaseIterable {
    case ramp, plateau, graduated, exempt
  }

  package enum Outcome: Sendable, CaseIterable {
    case delivered, bounced, deferred
    /// A deferral that speaks of our volume.
    case volumePressure
    /// Says nothing about the IP's mail: not counted.
    case connectionFailed
  }

  /// What one provider is allowed of the cap.
  struct Share: Equatable {
    /// Thousandths, 50 to 1000.
    var multiplier = 1000
    /// Clean days in a row.
    var streak = 0
  }

  package struct Probation: Sendable, Equatable {
    /// 1 to 3.
    package internal(set) var day: Int
    /// Messages a day of which it gets a share.
    package let base: Int

    package static let percent = [10, 30, 60]
    package var cap: Int { max(1, base * Self.percent[min(max(day, 1), 3) - 1] / 100) }
  }

  package internal(set) var phase: Phase
  /// Day of the schedule, not of the calendar.
  package internal(set) var day: Int
  /// Messages a day while ramping or halted; kept, and without effect, in the other phases.
  package internal(set) var cap: Int
  package internal(set) var startedAt: Milliseconds
  package internal(set) var probation: Probation?
  /// Deliveries of the last seven days that had any, oldest first; days of probation left out.
  package internal(set) var lastDays: [Int] = []
  var shares: [String: Share] = [:]
  /// Days since a halt that were too small to judge by themselves: they count together, so that a small sender gets free too.
  var sinceHalt = WarmingDay.Counts()
  /// Days not judged yet, oldest first; the last one is today. Never empty.
  var open: [WarmingDay]

  package init(now: Milliseconds, policy: WarmingPolicy, isExempt: Bool = false) {
    phase = isExempt ? .exempt : .ramp
    day = 1
    cap = policy.scheduled(1)
    startedAt = now
    open = [WarmingDay(date: UTCDay.number(now))]
  }

  /// What the day has brought so far.
  package var today: WarmingDay { open.last ?? WarmingDay(date: 0) }
  package var isLimited: Bool { probation != nil || phase == .ramp || phase == .plateau }
  /// 0.05 to 1.
  package func multiplier(_ provider: String) -> Double { Double(shares[provider]?.multiplier ?? 1000) / 1000 }

  // MARK: counting

  package mutating func note(_ outcome: Outcome, provider: String, now: Milliseconds) {
    guard outcome != .connectionFailed else { return }
    let date = UTCDay.number(now)
    // A clock that stepped back stays in the day that is open.
    if date > today.date { open.append(WarmingDay(date: date)) }
    count(outcome, Self.isToken(provider) ? provider : MailboxProvider.other.rawValue, open.count - 1)
  }

  private mutating func count(_ outcome: Outcome, _ name: String, _ index: Int) {
    var counts = open[index].providers[name] ?? .init()
    switch outcome {
    case .delivered: counts.delivered += 1
    case .bounced: counts.bounced += 1
    case .deferred: counts.deferred += 1
    case .volumePressure:
      counts.deferred += 1
      counts.pressure += 1
    case .connectionFailed: return
    }
    open[index].providers[name] = counts
  }

  /// What became of a message after its delivery: it counts once, on the day of its delivery, in place of that. A day that is judged
  /// stands: then it counts today.
  package mutating func noteLate(_ outcome: Outcome, deliveredAt: Milliseconds?, provider: String, now: Milliseconds) {
    let name = Self.isToken(provider) ? provider : MailboxProvider.other.rawValue
    guard let deliveredAt, outcome != .connectionFailed, outcome != .delivered,
      let index = open.lastIndex(where: { $0.date == UTCDay.number(deliveredAt) }), let counted = open[index].providers[name],
      counted.delivered > 0
    else { return note(outcome, provider: provider, now: now) }
    open[index].providers[name]?.delivered -= 1
    count(outcome, name, index)
  }

  /// Names that the text form can hold.
  static func isToken(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count) && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
  }

  // MARK: the end of a day

  /// Judges the days that are over, each once. Call it at UTC midnight and at start; any other time costs nothing.
  package mutating func roll(now: Milliseconds, policy: WarmingPolicy) -> [WarmingEvent] {
    let date = UTCDay.number(now)
    // A clock that ran days ahead and was set right: what it dated cannot be judged.
    if today.date > date + 1 { open = [WarmingDay(date: date)] }
    guard date > (open.first?.date ?? date) else { return [] }
    var events: [WarmingEvent] = []
    let over = open.prefix { $0.date < date }
    open.removeFirst(over.count)
    if open.isEmpty { open = [WarmingDay(date: date)] }
    for (index, finished) in over.enumerated() {
      let following = index + 1 < over.count ? over[index + 1].date : date
      end(finished, passed: following - finished.date, policy, &events)
    }
    return events
  }

  /// - Parameter passed: days from this one to the next that is known, at least 1; those between had no mail.
  private mutating func end(_ finished: WarmingDay, passed: Int, _ policy: WarmingPolicy, _ events: inout [WarmingEvent]) {
    var total = finished.total
    if phase == .plateau, probation == nil { total.add(sinceHalt) }
    let judgement = policy.judge(total, cap: limit ?? 0)
    if isLimited { adaptShares(finished) }
    if probation != nil {
      endProbationDay(judgement, total, passed, &events)
      return
    }
    let delivered = finished.total.delivered
    if delivered > 0 { lastDays = (lastDays + [delivered]).suffix(7) }
    guard phase == .ramp || phase == .plateau, total.answers > 0 else { return }
    sinceHalt = phase == .plateau && judgement == .unjudged ? total : WarmingDay.Counts()
    switch judgement {
    case .halt:
      phase = .plateau
      events.append(.halted(message: Self.haltText(total)))
    case .decelerate:
      phase = .ramp
      day = max(1, day / 2)
      cap = max(policy.leastCap, cap * 7 / 10)
    case .unjudged, .normal, .accelerate:
      if phase == .plateau {
        // Enough good answers lift a halt; the next day grows.
        if judgement != .unjudged { phase = .ramp }
        return
      }
      day = policy.next(after: day, judgement)
      if let scheduled = policy.cap(day: day) {
        cap = scheduled
      } else if total.bounces(below: 2) || total.bounced == 0 {
        graduate()
        events.append(.complete(message: "warming complete after day \(day)"))
      }
    }
  }

  private mutating func endProbationDay(
    _ judgement: WarmingPolicy.Judgement, _ total: WarmingDay.Counts, _ passed: Int, _ events: inout [WarmingEvent]
  ) {
    guard var current = probation else { return }
    if judgement == .halt { events.append(.halted(message: Self.haltText(total))) }
    let isRepeated = judgement == .halt || judgement == .decelerate
    current.day += isRepeated ? passed - 1 : passed
    probation = current.day <= Probation.percent.count ? current : nil
    if probation == nil { events.append(.probationOver) }
  }

  /// Half on trouble; a tenth more after three clean days in a row; a day between the two holds and starts the count anew.
  private mutating func adaptShares(_ finished: WarmingDay) {
    for (provider, counts) in finished.providers where counts.answers >= WarmingPolicy.providerSample {
      var share = shares[provider] ?? Share()
      if counts.bounces(above: 3) || counts.deferrals(above: 10) || counts.pressure >= 3 {
        share = Share(multiplier: max(50, share.multiplier / 2), streak: 0)
      } else if counts.pressure == 0, counts.bounces(below: 1), counts.deferrals(below: 5) {
        if share.multiplier < 1000 { share.streak += 1 }
        if share.streak == 3 { share = Share(multiplier: min(1000, share.multiplier + 100), streak: 0) }
      } else {
        share.streak = 0
      }
      shares[provider] = share == Share() ? nil : share
    }
  }

  private static func haltText(_ total: WarmingDay.Counts) -> String {
    "warming halted: \(total.bounced) bounces and \(total.deferred) deferrals for \(total.delivered) deliveries in a day"
  }

  // MARK: limits

  private var limit: Int? { probation?.cap ?? (isLimited ? cap : nil) }

  package func caps(now: Milliseconds, policy: WarmingPolicy) -> WarmingLimits {
    WarmingLimits(
      cap: limit, multipliers: shares.mapValues(\.multiplier), reserve: policy.reserveTransactional, now: now)
  }

  // MARK: orders

  /// Starts the mini warm-up after a pull that concerned the IP's good name; begun again while it runs, it keeps its base.
  package mutating func beginProbation(now: Milliseconds, policy: WarmingPolicy) {
    let mean = lastDays.isEmpty ? policy.scheduled(1) : lastDays.reduce(0, +) / lastDays.count
    let base = probation?.base ?? (phase == .ramp || phase == .plateau ? cap : mean)
    probation = Probation(day: 1, base: base)
    startDay(now)
  }

  /// Puts the IP on a day of the schedule; from the day of graduation on it is graduated. Probation ends.
  package mutating func set(day: Int, now: Milliseconds, policy: WarmingPolicy) {
    probation = nil
    sinceHalt = WarmingDay.Counts()
    self.day = max(1, day)
    if let scheduled = policy.cap(day: self.day) {
      phase = .ramp
      cap = scheduled
    } else {
      graduate()
    }
    startDay(now)
  }

  /// Begins anew on day 1; what today brought so far is forgotten here, not by the counters that hold the cap.
  package mutating func reset(now: Milliseconds, policy: WarmingPolicy) { self = IPWarming(now: now, policy: policy) }

  package mutating func graduate() {
    phase = .graduated
    shares = [:]
  }

  /// Follows `warmed:` in the configuration. An IP that is no longer exempt goes on where it stood.
  package mutating func setExempt(_ isExempt: Bool, policy: WarmingPolicy) {
    if isExempt {
      phase = .exempt
    } else if phase == .exempt {
      phase = policy.cap(day: day) == nil ? .graduated : .ramp
    }
  }

  /// What came before an order is not judged under it.
  private mutating func startDay(_ now: Milliseconds) { open = [WarmingDay(date: max(UTCDay.number(now), today.date))] }
}
