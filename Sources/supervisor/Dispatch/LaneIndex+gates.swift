import DeliveryPolicy
import MailModel

/// What is shut: the same functions decide picks and explain them.
extension LaneIndex {
  /// What shuts this lane now; nil when it would give a permit.
  /// - Parameter asideFromProvider: its provider's health left out: what else there is may last longer.
  func gate(of id: LaneID, now: Milliseconds, asideFromProvider: Bool = false) -> Gate? {
    gate(of: id, lanes[id], now: now, asideFromProvider: asideFromProvider)
  }

  func gate(of id: LaneID, _ lane: Lane?, now: Milliseconds, asideFromProvider: Bool = false) -> Gate? {
    guard openIPs.contains(id.ip) else {
      return shutGate(id.ip)
    }
    if !allowances.isEmpty, let gate = allowances[id.ip]?.shutGate { return gate }
    // One that is not there yet is shut by what it would begin with.
    let lane = lane ?? newLane(id, MailboxProvider(rawValue: id.key) ?? .other)
    if !asideFromProvider, let gate = gate(at: lane.provider, now: now) { return gate }
    if lane.sessions == 0 {
      return Gate(scope: .provider, key: id.key, reason: .connections, since: sessions.waitingSince(id) ?? now, until: nil)
    }
    if lane.room <= 0 {
      return Gate(scope: .lane, key: id.description, reason: .connections, since: lane.fullSince, until: nil)
    }
    if !laneGates.isEmpty, let gate = laneGates[id] { return gate }
    if lane.blockedUntil > now {
      return Gate(scope: .lane, key: id.description, reason: .throttle, since: lane.blockedSince, until: lane.blockedUntil)
    }
    if lane.throttle.opensAt > now {
      return Gate(
        scope: .lane, key: id.description, reason: .throttle, since: lane.throttledSince, until: lane.throttle.nextPermitAt)
    }
    return nil
  }

  /// What shuts a provider for all IPs.
  private func gate(at provider: MailboxProvider, now: Milliseconds) -> Gate? {
    guard !providerGates.isEmpty, let gate = providerGates[provider], gate.until.map({ $0 > now }) ?? true else { return nil }
    return gate
  }

  /// Why an IP that is not open is shut.
  func shutGate(_ ip: String) -> Gate { ipGates[ip] ?? Gate(scope: .ip, key: ip, reason: .noEligibleIP, since: 0, until: nil) }

  func gate(ofOrganisation organisation: String, at provider: MailboxProvider?, now: Milliseconds) -> Gate? {
    gates(ofOrganisation: organisation, at: provider, now: now).first
  }

  /// All of them: one may open before another.
  func gates(ofOrganisation organisation: String, at provider: MailboxProvider?, now: Milliseconds) -> [Gate] {
    let timed = (organisationGates[organisation] ?? []).filter { row in
      (row.provider == nil || row.provider == provider) && !(row.gate.until.map { $0 <= now } ?? false)
    }
    return (pausedOrganisations[organisation].map { [$0] } ?? []) + timed.map(\.gate)
  }

  func gate(of group: Group) -> Gate? {
    switch destination(of: group) {
    case .resolving(let since): Gate(scope: .domain, key: group.domain, reason: .dns, since: since, until: nil)
    case .unknown(let since, let until, _): Gate(scope: .domain, key: group.domain, reason: .dns, since: since, until: until)
    case .open, .closed, nil: nil
    }
  }

  /// Every shut gate that stands before mail of a part, widest scope first. Lanes count only when none of the set is open.
  func gates(of part: GroupPart, now: Milliseconds) -> [Gate] {
    var found: [Gate] = []
    let set = mirror.set(reaching: part.group)
    let ips = mirror.ips(of: set)
    let open = ips.filter(isOpen)
    if open.isEmpty {
      if ips.isEmpty {
        found.append(Gate(scope: .ip, key: part.group.set, reason: .noEligibleIP, since: 0, until: nil))
      }
      found += ips.map(shutGate)
    } else if case .open(let key, let provider, _)? = destination(of: part.group) {
      if let gate = gate(at: provider, now: now) { found.append(gate) }
      let shut = open.compactMap {
        gate(of: LaneID(ip: $0, key: key), now: now, asideFromProvider: true) ?? mirror.closedSets[$0]?[set]
      }
      // What shuts a provider shuts it for each IP, and is told once, before what is narrower.
      if shut.count == open.count {
        for gate in shut.filter({ $0.scope == .provider }) where !found.contains(gate) { found.append(gate) }
        found += shut.filter { $0.scope != .provider }
      }
    }
    found += mirror.shut(part.group)
    if let gate = gate(of: part.group) { found.append(gate) }
    var provider: MailboxProvider?
    if case .open(_, let known, _)? = destination(of: part.group) { provider = known }
    return found + gates(ofOrganisation: part.organisation, at: provider, now: now)
  }

  /// Lanes that have mail or entries out, busiest first. Walks the lanes: for an operator.
  func busyLanes(limit: Int, now: Milliseconds) -> [(id: LaneID, out: Int, window: Int, ratePerMinute: Double, gate: Gate?)] {
    lanes.filter { $0.value.out > 0 || $0.value.hasTurns }.sorted { ($1.value.out, $0.key.key) < ($0.value.out, $1.key.key) }
      .prefix(limit).map { id, lane in (id, lane.out, lane.breadth, lane.throttle.ratePerMinute, gate(of: id, now: now)) }
  }

  /// Gates that stand whether mail waits or not.
  private func standingGates(_ now: Milliseconds) -> [Gate] {
    var gates = ipGates.filter { !openIPs.contains($0.key) }.map(\.value)
    gates += allowances.filter { openIPs.contains($0.key) }.compactMap(\.value.shutGate)
    gates += mirror.standingGates
    gates += providerGates.values
    gates += laneGates.values
    gates += pausedOrganisations.values
    gates += organisationGates.values.flatMap { $0.map(\.gate) }
    for (id, rate) in rates where rate.blockedUntil > now {
      gates.append(Gate(scope: .lane, key: id.description, reason: .throttle, since: rate.blockedSince, until: rate.blockedUntil))
    }
    return gates.filter { gate in gate.until.map { $0 > now } ?? true }
  }

  /// Every shut gate with the messages behind it. One that holds nothing at this moment, as no mail waits there or another IP takes it,
  /// counts 0; a lane's ordinary pace and full window are told only with mail. Walks the index: for an operator, not for a pick.
  func allGates(now: Milliseconds) -> [(gate: Gate, messages: Int)] {
    var rows: [String: (gate: Gate, messages: Int)] = [:]
    func add(_ gate: Gate, _ messages: Int) {
      rows["\(gate.scope.rawValue) \(gate.key) \(gate.reason.rawValue)", default: (gate, 0)].messages += messages
    }
    for (part, state) in mirror.parts {
      for gate in gates(of: part, now: now) { add(gate, state.count) }
    }
    for gate in standingGates(now) { add(gate, 0) }
    return rows.values.sorted { ($0.gate.key, $0.gate.reason.rawValue) < ($1.gate.key, $1.gate.reason.rawValue) }
  }
}
