package import MailModel

/// Where another installation left an IP that warms up.
package struct WarmingHandover: Codable, Sendable, Equatable {
  /// Day of the schedule, from 1.
  package var day: Int
  /// Messages a day; nil = the schedule's.
  package var cap: Int?
  /// Growth had stopped.
  package var isHalted: Bool
  package var isGraduated: Bool
  /// Thousandths of the cap by provider, 50 to 1000.
  package var multipliers: [String: Int]
  /// Messages of the open UTC day.
  package var sentToday: Int

  package init(
    day: Int, cap: Int? = nil, isHalted: Bool = false, isGraduated: Bool = false, multipliers: [String: Int] = [:], sentToday: Int = 0
  ) {
    self.day = day
    self.cap = cap
    self.isHalted = isHalted
    self.isGraduated = isGraduated
    self.multipliers = multipliers
    self.sentToday = sentToday
  }
}

extension WarmingHandover {
  /// Whether it says more than that the IP is new: a later day, or a first day that went otherwise than the schedule's.
  package func hasBegun(_ policy: WarmingPolicy) -> Bool {
    day > 1 || isGraduated || isHalted || multipliers.contains { $0.value < 1000 } || (cap.map { $0 != policy.scheduled(1) } ?? false)
  }
}

extension IPWarming {
  /// Goes on where another installation left this IP; what it had sent today is the counters' affair. A day beyond graduation of an IP that
  /// is not graduated is the last before it.
  package mutating func takeOver(_ handover: WarmingHandover, now: Milliseconds, policy: WarmingPolicy) {
    set(day: handover.isGraduated ? policy.graduationDay : min(handover.day, policy.graduationDay - 1), now: now, policy: policy)
    guard phase == .ramp else { return }
    if let cap = handover.cap { self.cap = min(max(1, cap), 1 << 30) }
    if handover.isHalted { phase = .plateau }
    shares = [:]
    for (provider, multiplier) in handover.multipliers where Self.isToken(provider) && multiplier < 1000 {
      shares[provider] = Share(multiplier: max(50, multiplier))
    }
  }
}
