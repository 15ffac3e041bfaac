import DeliveryPolicy
import MailModel

/// Shutting and opening, and what lanes have learnt: whoever is turned away by a gate is remembered beside it, and enters
/// again when it opens.
extension LaneIndex {
  /// What was learnt of a lane: in force from its next permit on.
  mutating func setRate(_ id: LaneID, _ rate: AdaptiveRate, now: Milliseconds) {
    rates[id] = rate
    guard let lane = lanes[id] else { return }
    let before = lane.opensAt
    lane.adopt(rate, now: now)
    // It may open earlier than its timer says.
    if lane.timerAt != nil, lane.opensAt < before {
      lane.timerAt = nil
      wake(id)
    }
  }

  /// Other profiles: windows and first rates of lanes to come; what was learnt stays.
  mutating func setProviders(_ providers: ProviderTable, now: Milliseconds) {
    self.providers = providers
    for (id, lane) in lanes {
      lane.window = providers[lane.provider].window
      setSessionLimit(providers[lane.provider].maxConnectionsTotal, of: id, now: now)
      if rates[id] == nil { lane.throttle.setRate(providers[lane.provider].defaultRate, now: now) }
      if lane.hasTurns { wake(id) }
    }
  }

  /// A provider's health; nil opens it.
  mutating func setProviderGate(_ provider: MailboxProvider, _ gate: Gate?) {
    providerGates[provider] = gate
    guard gate == nil else { return }
    for id in parkedAtProvider.removeValue(forKey: provider) ?? [] { wake(id) }
  }

  func dueProviders(now: Milliseconds) -> [MailboxProvider] {
    providerGates.filter { $0.value.until.map { $0 <= now } ?? false }.map(\.key)
  }

  mutating func setLaneGate(_ id: LaneID, _ gate: Gate?) {
    laneGates[id] = gate
    if gate == nil { wake(id) }
  }

  /// Lanes whose own gate is over.
  func dueLanes(now: Milliseconds) -> [LaneID] { laneGates.filter { $0.value.until.map { $0 <= now } ?? false }.map(\.key) }

  mutating func setIP(_ ip: String, isOpen: Bool) {
    if isOpen {
      openIPs.insert(ip)
      unpark(ip)
    } else {
      openIPs.remove(ip)
    }
  }

  mutating func setIPGate(_ ip: String, _ gate: Gate?) { ipGates[ip] = gate }

  /// One IP sends nothing for a set, or does again.
  mutating func setClosedSet(_ set: String, of ip: String, _ gate: Gate?) {
    mirror.setClosedSet(set, of: ip, gate)
    guard gate == nil else { return }
    for turn in pacedTurns.removeValue(forKey: ip) ?? [] { enter(turn.organisation, turn.lane) }
  }

  /// Another cap: what was shut for the old one is asked again.
  mutating func openWarmingGates(of ip: String) {
    for (id, gate) in laneGates where id.ip == ip && gate.reason == .providerWarmingCap { setLaneGate(id, nil) }
    for set in mirror.closedSets[ip, default: [:]].keys { setClosedSet(set, of: ip, nil) }
  }

  /// (IP, set) whose closed time is over.
  func dueSets(now: Milliseconds) -> [(ip: String, set: String)] {
    mirror.closedSets.flatMap { ip, sets in sets.filter { $0.value.until.map { $0 <= now } ?? false }.map { (ip, $0.key) } }
  }

  /// A message that was sent and did not go: its IP may send another.
  mutating func refund(_ count: Int, _ ip: String) {
    guard allowances[ip] != nil else { return }
    allowances[ip]?.giveBack(count)
    noteAllowance(of: ip)
    unpark(ip)
    if let standing = allowances[ip]?.anyLane { wake(standing) }
  }

  func isOpen(_ ip: String) -> Bool { openIPs.contains(ip) }

  /// What this IP may still send in all, and what is shut once that is spent; nil lifts the limit.
  mutating func limit(_ ip: String, to permits: Int?, gate: Gate) {
    if let permits {
      let before = allowances[ip]
      allowances[ip] = before?.renewed(permits: permits, gate: gate) ?? IPAllowance(permits: permits, gate: gate)
      noteAllowance(of: ip)
      dismiss(before)
    } else {
      let before = allowances.removeValue(forKey: ip)
      noteAllowance(of: ip)
      dismiss(before)
    }
    unpark(ip)
  }

  /// Lanes that stood for an allowance that is over stand again.
  mutating func dismiss(_ allowance: IPAllowance?) {
    for id in allowance?.lanes ?? [] {
      if let organisation = allowance?.nominee(of: id) { lanes[id]?.enter(organisation, isSpread: false) }
      wake(id)
    }
  }

  mutating func unpark(_ ip: String) { for id in parked.removeValue(forKey: ip) ?? [] { wake(id) } }

  /// - Parameter provider: nil = everywhere. Takes the place of a gate of the same reason there.
  mutating func shut(organisation: String, at provider: MailboxProvider? = nil, _ gate: Gate) {
    organisationGates[organisation, default: []].removeAll { $0.provider == provider && $0.gate.reason == gate.reason }
    organisationGates[organisation, default: []].append(OrganisationGate(provider: provider, gate: gate))
  }

  mutating func open(organisation: String, at provider: MailboxProvider? = nil, _ reason: Gate.Reason) {
    open(organisation) { $0.provider == provider && $0.gate.reason == reason }
  }

  /// Opens what is over by its time.
  mutating func openDue(organisation: String, now: Milliseconds) {
    open(organisation) { $0.gate.until.map { $0 <= now } ?? false }
  }

  private mutating func open(_ organisation: String, where isOver: (OrganisationGate) -> Bool) {
    guard var gates = organisationGates[organisation] else { return }
    gates.removeAll(where: isOver)
    organisationGates[organisation] = gates.isEmpty ? nil : gates
    reenter(organisation)
  }

  /// A recipient domain's health; nil opens it.
  mutating func setDomainGate(_ domain: String, _ gate: Gate?) {
    for part in mirror.setDomainGate(domain, gate) { shelve(part) }
  }

  func dueDomains(now: Milliseconds) -> [String] {
    mirror.domainGates.filter { $0.value.until.map { $0 <= now } ?? false }.map(\.key)
  }

  /// What an operator paused, all of it.
  mutating func setPaused(organisations: [String: Gate], domains: [String: Gate], pools: [String: Gate]) {
    let opened = pausedOrganisations.keys.filter { organisations[$0] == nil }
    pausedOrganisations = organisations
    for organisation in opened { reenter(organisation) }
    for part in mirror.setPaused(domains: domains, pools: pools) { shelve(part) }
  }

  private mutating func reenter(_ organisation: String) {
    for id in gatedTurns.removeValue(forKey: organisation) ?? [] { enter(organisation, id) }
  }

  /// Organisation gates whose time is over.
  func dueOrganisations(now: Milliseconds) -> [String] {
    organisationGates.filter { $0.value.contains { $0.gate.until.map { $0 <= now } ?? false } }.map(\.key)
  }
}
