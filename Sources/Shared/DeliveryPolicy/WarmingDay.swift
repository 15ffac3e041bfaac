/// What one UTC day of one IP brought, by provider.
package struct WarmingDay: Sendable, Equatable {
  /// Numbers of one provider, or of all.
  package struct Counts: Sendable, Equatable {
    package var delivered = 0
    package var bounced = 0
    /// Deferrals that a server answered with, volume pressure included; connections that failed are none.
    package var deferred = 0
    /// Deferrals that speak of our volume (rate limits, resource throttles).
    package var pressure = 0

    package init(delivered: Int = 0, bounced: Int = 0, deferred: Int = 0, pressure: Int = 0) {
      self.delivered = delivered
      self.bounced = bounced
      self.deferred = deferred
      self.pressure = pressure
    }

    package var answers: Int { delivered + bounced + deferred }
    /// Share of deliveries, 0 without any answer; upstream's `bounceRate`.
    package var bounceRate: Double { rate(bounced) }
    package var deferralRate: Double { rate(deferred) }

    private func rate(_ count: Int) -> Double { count == 0 ? 0 : Double(count) / Double(max(1, delivered)) }

    // Compared in whole numbers, so that "exactly 8 %" is exact. Without deliveries anything is above every limit.
    func bounces(above percent: Int) -> Bool { bounced * 100 > percent * delivered }
    func bounces(below percent: Int) -> Bool { bounced * 100 < percent * delivered }
    func deferrals(above percent: Int) -> Bool { deferred * 100 > percent * delivered }
    func deferrals(below percent: Int) -> Bool { deferred * 100 < percent * delivered }

    package mutating func add(_ other: Self) {
      delivered += other.delivered
      bounced += other.bounced
      deferred += other.deferred
      pressure += other.pressure
    }
  }

  /// UTC day number (``UTCDay``).
  package let date: Int
  package internal(set) var providers: [String: Counts] = [:]

  package init(date: Int, providers: [String: Counts] = [:]) {
    self.date = date
    self.providers = providers
  }

  package var total: Counts {
    var sum = Counts()
    for counts in providers.values { sum.add(counts) }
    return sum
  }
}
