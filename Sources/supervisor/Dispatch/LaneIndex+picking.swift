import DeliveryPolicy
import MailModel
import Redis

/// Who is picked: of the lanes that have a permit, organisation by organisation.
extension LaneIndex {
  /// When a lane opens next by its throttle; nil when none waits for that.
  var nextTimer: Milliseconds? { timers.first?.at }

  /// Up to `limit` picks for lanes that have a permit now. Each organisation of a lane's ring in turn, its group with the
  /// lowest head first; where an IP as a whole is limited, lanes nominate and the IP chooses.
  mutating func nextPicks(limit: Int, now: Milliseconds) -> [PlannedPick] {
    while let timer = timers.first, timer.at <= now {
      _ = timers.pop()
      ownVisits += 1
      guard let lane = lanes[timer.lane], lane.timerAt == timer.at else { continue }
      lane.timerAt = nil
      if lane.wake() { ready.append(timer.lane) }
    }
    forgetLanes(now: now)
    mirror.beginCall()
    var picks: [PlannedPick] = []
    // What an IP's choice passes on may wake lanes again.
    while picks.count < limit, !ready.isEmpty {
      var limited: Set<String> = []
      while picks.count < limit, let id = ready.popFirst() {
        ownVisits += 1
        guard let lane = lanes[id] else { continue }
        lane.beginLook()
        if allowances[id.ip] == nil {
          pick(from: lane, id, into: &picks, limit: limit, now: now)
        } else {
          limited.insert(id.ip)
          nominate(lane, id, now: now)
        }
      }
      for ip in limited { choose(ip, into: &picks, limit: limit, now: now) }
    }
    return picks
  }

  private mutating func pick(from lane: Lane, _ id: LaneID, into picks: inout [PlannedPick], limit: Int, now: Milliseconds) {
    while picks.count < limit, lane.hasTurns {
      if let gate = gate(of: id, lane, now: now) { return wait(for: gate, at: lane, id, now: now) }
      guard let organisation = nextTurn(lane, id, now: now) else { break }
      take(organisation, at: lane, id, most: .max, into: &picks, now: now)
    }
    if lane.hasTurns { wake(id) } else { noteRest(id) }
  }

  /// The lane's next organisation that is not gated.
  private mutating func nextTurn(_ lane: Lane, _ id: LaneID, now: Milliseconds) -> String? {
    while let organisation = lane.nextTurn() {
      ownVisits += 1
      guard gate(ofOrganisation: organisation, at: lane.provider, now: now) != nil else { return organisation }
      gatedTurns[organisation, default: []].insert(id)
    }
    return nil
  }

  /// - Parameter most: what the IP as a whole may send.
  private mutating func take(
    _ organisation: String, at lane: Lane, _ id: LaneID, most: Int, into picks: inout [PlannedPick], now: Milliseconds
  ) {
    guard let (part, available) = mirror.takeHead(of: organisation, at: id) else { return setAside(organisation, at: id) }
    let permits = lane.take(organisation, available: available, most: most, now: now)
    mirror.plan(part, permits.count)
    if !allowances.isEmpty, allowances[id.ip] != nil {
      allowances[id.ip]?.spend(permits.count, organisation, id)
      noteAllowance(of: id.ip)
    }
    // Its other groups keep it in the ring.
    if mirror.hasMail(of: organisation, at: id) { lane.enter(organisation, isSpread: false) }
    setAside(organisation, at: id)
    picked += permits.count
    picks.append(
      PlannedPick(
        part: part, count: permits.count, lane: id, firstAt: permits.first, step: permits.step, nextPermitAt: permits.nextAt,
        sessions: permits.sessions))
  }

  /// A lane of a limited IP names whose turn it is there.
  private mutating func nominate(_ lane: Lane, _ id: LaneID, now: Milliseconds) {
    guard allowances[id.ip]?.nominee(of: id) == nil else { return }
    guard lane.hasTurns else { return noteRest(id) }
    if let gate = gate(of: id, lane, now: now) { return wait(for: gate, at: lane, id, now: now) }
    guard let organisation = nextTurn(lane, id, now: now) else { return noteRest(id) }
    allowances[id.ip]?.nominate(organisation, by: id, isAlone: !lane.hasTurns)
  }

  /// The IP's choice among its lanes' nominations, one message at a time while several stand.
  private mutating func choose(_ ip: String, into picks: inout [PlannedPick], limit: Int, now: Milliseconds) {
    while picks.count < limit, let (id, organisation) = allowances[ip]?.next(visits: &ownVisits) {
      guard let lane = lanes[id] else { continue }
      if let gate = gate(of: id, lane, now: now) {
        lane.enter(organisation, isSpread: false)
        wait(for: gate, at: lane, id, now: now)
        continue
      }
      if gate(ofOrganisation: organisation, at: lane.provider, now: now) != nil {
        gatedTurns[organisation, default: []].insert(id)
      } else {
        let isOnly = allowances[ip]?.hasNoNomination ?? false
        take(organisation, at: lane, id, most: isOnly ? allowances[ip]?.permits ?? 0 : 1, into: &picks, now: now)
      }
      nominate(lane, id, now: now)
    }
    if allowances[ip]?.shutGate != nil {
      // What stood for a permit and got none waits elsewhere too.
      for id in allowances[ip]?.takeUnspread() ?? [] {
        if let nominee = allowances[ip]?.nominee(of: id) { passOn(nominee, at: id) }
        for organisation in lanes[id]?.takeUnspread() ?? [] { passOn(organisation, at: id) }
      }
    } else if picks.count >= limit, let id = allowances[ip]?.anyLane {
      // What stands and was not chosen is looked at again with the next call.
      wake(id)
    }
  }

  private mutating func wait(for gate: Gate, at lane: Lane, _ id: LaneID, now: Milliseconds) {
    remember(gate, at: lane, id, now: now)
    for organisation in lane.takeUnspread() {
      if !scarceIPs.isEmpty { allowances[id.ip]?.noteAbsent(organisation) }
      passOn(organisation, at: id)
    }
  }

  /// Where the end of a gate finds a lane that it shut.
  private mutating func remember(_ gate: Gate, at lane: Lane, _ id: LaneID, now: Milliseconds) {
    if !openIPs.contains(id.ip) || allowances[id.ip]?.shutGate != nil {
      parked[id.ip, default: []].insert(id)
      return
    }
    switch gate.scope {
    case .provider where gate.reason == .smtpResponse:
      parkedAtProvider[lane.provider, default: []].insert(id)
    case .provider: wantSessions(id, now: now)
    case .lane where gate.reason == .connections: wantSessions(id, now: now)
    case .lane where gate.reason == .throttle:
      let at = lane.opensAt
      // A lane that opens earlier than it was to is not kept waiting by an old timer.
      guard lane.timerAt.map({ at < $0 }) ?? true else { return }
      lane.timerAt = at
      timers.push(Timer(at: at, lane: id))
    // Woken by the outcome that makes room.
    default: return
    }
  }
}
