package import DeliveryPolicy
package import MailModel

/// What is to be tried: mail, IPs, and the policies in force.
package struct SimulationPlan: Sendable, Equatable {
  package enum Start: Sendable, Equatable {
    /// Day of the warming schedule, 1 or more.
    case day(Int)
    /// Exempt from cap and pacing, and well known to every provider.
    case warmed
  }

  package struct IP: Sendable, Equatable {
    package var name: String
    package var start: Start

    package init(name: String, start: Start) {
      self.name = name
      self.start = start
    }
  }

  /// When campaign mail is queued. Transactional mail always comes evenly, minute by minute, over all days.
  package enum Arrival: String, Sendable, CaseIterable {
    case atOnce = "at-once"
    /// An equal part each day at 08:00 UTC.
    case daily
  }

  package struct Share: Sendable, Equatable {
    package var provider: MailboxProvider
    /// Of all mail; any unit, the sum counts as the whole.
    package var share: Double

    package init(_ provider: MailboxProvider, _ share: Double) {
      self.provider = provider
      self.share = share
    }
  }

  package static let mostIPs = 64
  package static let mostOrganisations = 1000

  package var messages = 1_000_000
  package var days = 30
  package var ips: [IP] = []
  package var mix = [Share(.gmail, 40), Share(.microsoft, 25), Share(.yahoo, 15), Share(.apple, 5), Share(.other, 15)]
  /// Domains over which provider `other` is spread, evenly: each is a lane of its own.
  package var otherDomains = 20
  /// Senders of campaign mail, each with its breaker; transactional mail is one more's.
  package var organisations = 1
  package var transactionalShare = 0.1
  /// Of all recipients: addresses that do not exist.
  package var bounceRate = 0.005
  /// Of all deliveries.
  package var complaintRate = 0.0001
  package var seed: UInt64 = 1
  package var arrival = Arrival.atOnce
  package var warming = WarmingPolicy()
  package var providers = ProviderTable()
  package var breaker = BreakerPolicy()
  package var retry = RetryPolicy()
  /// Counted from a message's first attempt: how long mail waits for room is the question here, not a reason to drop it.
  package var maxAge: Milliseconds = 4 * 86_400_000

  package init() {}

  /// What is wrong with the plan, in words; empty when nothing is.
  package var faults: [String] {
    var faults: [String] = []
    if !(1...100_000_000).contains(messages) { faults.append("messages must be 1 to 100000000") }
    if !(1...365).contains(days) { faults.append("days must be 1 to 365") }
    if !(1...Self.mostIPs).contains(ips.count) { faults.append("there must be 1 to \(Self.mostIPs) IPs") }
    if !(1...Self.mostOrganisations).contains(organisations) { faults.append("organizations must be 1 to \(Self.mostOrganisations)") }
    if !(1...1000).contains(otherDomains) { faults.append("domains must be 1 to 1000") }
    let shares = mix.map(\.share)
    if shares.isEmpty || shares.contains(where: { !($0 >= 0 && $0.isFinite) }) || shares.reduce(0, +) <= 0 {
      faults.append("the mix needs shares of 0 or more, not all 0")
    }
    if Set(mix.map(\.provider)).count < mix.count { faults.append("a provider stands in the mix twice") }
    for (name, rate) in [("bounce rate", bounceRate), ("complaint rate", complaintRate), ("transactional share", transactionalShare)]
    where !(0...1).contains(rate) {
      faults.append("the \(name) must be 0 to 1")
    }
    return faults
  }
}
