import DeliveryPolicy
import MailModel
import Redis

/// What the host has learnt from outcomes: rates of lanes, health of domains, breakers of organisations. Fed by the reducer's
/// lessons and written with their effects in one Function, so that a row is never ahead of or behind its outcomes. The
/// dispatcher is told what changed and shuts gates by it.
actor PolicyBook {
  /// An organisation, or an organisation at one provider.
  struct BreakerKey: Hashable, Sendable {
    var organisation: String
    var provider: MailboxProvider?
  }

  /// What the dispatcher needs to know of a batch.
  struct Changes: Sendable {
    var rates: [LaneID: AdaptiveRate] = [:]
    var domains: [String: DomainHealth] = [:]
    var providers: [MailboxProvider: ProviderHealth] = [:]
    var breakers: [BreakerKey: CircuitBreaker] = [:]
    /// An organisation at one provider that is to stay away until then.
    var pauses: [BreakerKey: TimedGate] = [:]
    /// By IP.
    var warming: [String: IPWarming] = [:]

    var isEmpty: Bool {
      rates.isEmpty && domains.isEmpty && providers.isEmpty && breakers.isEmpty && pauses.isEmpty && warming.isEmpty
    }
  }

  struct TimedGate: Sendable, Equatable {
    var since: Milliseconds
    var until: Milliseconds
  }

  /// A batch of lessons, learnt.
  struct Learnt: Sendable {
    var rows: [PolicyRow]
    var changes: Changes
    /// Breakers of whole organisations that opened, with the place of the outcome that did it.
    var opened: [(index: Int, organisation: String, breaker: CircuitBreaker, bounceRate: Double, complaintRate: Double)]
    /// Campaigns that are complained of too much, by the place of the outcome that showed it.
    var alarms: [(index: Int, alarm: ListBook.Alarm)] = []
    /// Organisations that became bulk senders today.
    var excesses: [ListBook.Excess] = []
  }

  /// Held from learning until what was learnt is written.
  nonisolated let turn = PolicyTurn()

  var providers: ProviderTable
  var breakerPolicy: BreakerPolicy
  var warmingPolicy: WarmingPolicy
  /// This host's IPs, and whether the configuration says that they are warm.
  var ips: [String: Bool]
  var warming: [String: IPWarming] = [:]
  var rates: [LaneID: AdaptiveRate] = [:]
  var domains: [String: DomainHealth] = [:]
  /// Of named providers.
  var health: [MailboxProvider: ProviderHealth] = [:]
  var breakers: [BreakerKey: CircuitBreaker] = [:]
  var pauses: [BreakerKey: TimedGate] = [:]
  var lists = ListBook()
  /// Rates as they were last written: a row that only counts on is not written again within the hour.
  var written: [LaneID: (rate: AdaptiveRate, at: Milliseconds)] = [:]
  /// Rows of one kind that are kept without a look at what they say.
  static let most = 100_000
  var pruneAt = (rates: most, domains: most, breakers: most)

  init(providers: ProviderTable, breaker: BreakerPolicy, warming: WarmingPolicy, ips: [String: Bool]) {
    self.providers = providers
    breakerPolicy = breaker
    warmingPolicy = warming
    self.ips = ips
  }

  func setProviders(_ providers: ProviderTable) -> Changes {
    let before = self.providers
    self.providers = providers
    for (lane, rate) in rates {
      var rate = rate
      rate.adopt(profile(of: lane), before: before[MailboxProvider(rawValue: lane.key) ?? .other])
      rates[lane] = rate
    }
    var changes = Changes()
    changes.rates = rates
    return changes
  }

  /// For what is judged from now on.
  func setPolicies(breaker: BreakerPolicy, warming: WarmingPolicy) {
    breakerPolicy = breaker
    warmingPolicy = warming
  }

  /// Other IPs: those that come are led on from their stored rows, those that left are led no more.
  /// - Parameter rows: as Redis holds them.
  func setIPs(_ ips: [String: Bool], rows: [String: String], now: Milliseconds) -> Changes {
    self.ips = ips
    warming = warming.filter { ips[$0.key] != nil }
    var changes = Changes()
    for (ip, isWarmed) in ips {
      let stored = warming[ip] ?? rows["warm:\(ip)"].flatMap { IPWarming(text: $0) }
      var state = stored ?? IPWarming(now: now, policy: warmingPolicy, isExempt: isWarmed)
      state.setExempt(isWarmed, policy: warmingPolicy)
      guard state != warming[ip] else { continue }
      warming[ip] = state
      changes.warming[ip] = state
    }
    return changes
  }

  func profile(of lane: LaneID) -> ProviderProfile { providers[MailboxProvider(rawValue: lane.key) ?? .other] }

  func isBulkSender(_ organisation: String, at provider: MailboxProvider) -> Bool { lists.isBulkSender(organisation, at: provider) }
  func bulkSenders() -> [(key: BreakerKey, volume: BulkVolume)] { lists.bulkSenders }

  func warmingStates() -> [String: IPWarming] { warming }

  func rate(of lane: LaneID) -> AdaptiveRate? { rates[lane] }
}
