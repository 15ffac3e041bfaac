package import MailModel

/// Deliveries and complaints of one campaign. Told above 0.3 % of at least 100 deliveries, once in 30 days (contract section 7).
package struct CampaignComplaints: Sendable, Equatable {
  package static let leastDeliveries = 100
  /// Complaints of a thousand deliveries: told above, not at.
  package static let permille = 3
  /// Between two alarms, and how long a campaign without news is remembered.
  package static let memory: Milliseconds = 30 * UTCDay.length

  package private(set) var delivered = 0
  package private(set) var complained = 0
  package private(set) var toldAt: Milliseconds = 0
  private var lastAt: Milliseconds = 0

  package init() {}

  /// 0 to 1.
  package var rate: Double { delivered == 0 ? 0 : min(1, Double(complained) / Double(delivered)) }

  /// - Returns: whether it is to be told now.
  package mutating func deliver(now: Milliseconds) -> Bool {
    begin(now)
    delivered += 1
    return isToBeTold(now)
  }

  /// - Returns: whether it is to be told now.
  package mutating func complain(now: Milliseconds) -> Bool {
    begin(now)
    complained += 1
    return isToBeTold(now)
  }

  package mutating func takeBackDelivery() { delivered = max(0, delivered - 1) }

  private mutating func begin(_ now: Milliseconds) {
    if isIdle(now: now) { self = CampaignComplaints() }
    lastAt = max(lastAt, now)
  }

  private mutating func isToBeTold(_ now: Milliseconds) -> Bool {
    guard delivered >= Self.leastDeliveries, complained * 1000 > Self.permille * delivered, toldAt == 0 || now - toldAt >= Self.memory
    else { return false }
    toldAt = now
    return true
  }

  package func isIdle(now: Milliseconds) -> Bool { now - lastAt > Self.memory }

  package var text: String { "c1 \(delivered) \(complained) \(toldAt) \(lastAt)" }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "c1"), let delivered = reader.integer(Int.self),
      let complained = reader.integer(Int.self),
      let toldAt: Milliseconds = reader.integer(), let lastAt: Milliseconds = reader.integer(), (0...1 << 46).contains(delivered),
      (0...1 << 46).contains(complained), reader.word() == nil
    else { return nil }
    self.delivered = delivered
    self.complained = complained
    self.toldAt = toldAt
    self.lastAt = lastAt
  }
}
