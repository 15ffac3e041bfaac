import DeliveryPolicy
import MailModel
import Redis

/// One pick before it has a route.
struct PlannedPick: Sendable, Equatable {
  var part: GroupPart
  var count: Int
  var lane: LaneID
  var firstAt: Milliseconds
  var step: Double
  var nextPermitAt: Milliseconds
  /// Of a limit that all IPs share, what the lane may have; nil = there is none.
  var sessions: Int?
}

/// The dispatcher's memory: in which lanes there is mail, whose turn it is, what is shut. No operation walks all groups,
/// lanes or messages; `visits` counts the entries that picks looked at (bounded by a test). What shuts and why is in
/// `LaneIndex+gates.swift`, and how it opens again in `LaneIndex+shutting.swift`.
struct LaneIndex {
  private struct Timer: Comparable {
    let at: Milliseconds
    let lane: LaneID

    static func < (a: Self, b: Self) -> Bool { a.at < b.at }
  }

  struct PacedTurn: Hashable {
    let lane: LaneID
    let organisation: String
  }

  struct OrganisationGate: Equatable {
    /// Nil = everywhere.
    var provider: MailboxProvider?
    var gate: Gate
  }

  var providers: ProviderTable
  /// What was learnt of lanes, those that are not there yet included.
  var rates: [LaneID: AdaptiveRate] = [:]
  /// A lane's own gates beside throttle and window: a warming cap of its provider.
  var laneGates: [LaneID: Gate] = [:]
  /// Next permits of lanes that are not there yet.
  private var storedPermits: [String: Milliseconds] = [:]

  var mirror: QueueMirror
  var lanes: [LaneID: Lane] = [:]
  private var ready: [LaneID] = []
  private var readyHead = 0
  private var timers = BinaryHeap<Timer>()
  var openIPs: Set<String> = []
  /// What an IP as a whole may send; absent = no limit but its lanes'.
  var allowances: [String: IPAllowance] = [:]
  /// Lanes that came up while their IP was shut.
  var parked: [String: Set<LaneID>] = [:]
  /// What shuts an organisation, everywhere or at one provider.
  var organisationGates: [String: [OrganisationGate]] = [:]
  var pausedOrganisations: [String: Gate] = [:]
  /// Why an IP is shut, when there is more to say than that it is.
  var ipGates: [String: Gate] = [:]
  /// Providers that do not answer well, and the lanes that came up meanwhile.
  var providerGates: [MailboxProvider: Gate] = [:]
  var parkedAtProvider: [MailboxProvider: Set<LaneID>] = [:]
  var sessions = SessionShares()
  /// Turns that found mail of closed sets only, by IP.
  var pacedTurns: [String: Set<PacedTurn>] = [:]
  /// Lanes in which a gated organisation had its turn.
  var gatedTurns: [String: Set<LaneID>] = [:]

  private var pruneAt = 100_000
  private var rotation: UInt = 0
  private var ownVisits = 0
  private(set) var picked = 0

  /// - Parameter pools: addresses by pool name.
  init(pools: [String: [String]], providers: ProviderTable) {
    mirror = QueueMirror(pools: pools)
    self.providers = providers
  }

  /// As an earlier process left them; before the first message is known.
  mutating func setStoredPermits(_ permits: [String: Milliseconds]) { storedPermits = permits }

  var groupCount: Int { mirror.groupCount }
  var messageCount: Int { mirror.messageCount }
  var visits: Int { mirror.visits + ownVisits }

  // MARK: what the queue says

  /// The state of one part. An answer older than what is known is passed over. Answers true when its group is new: its
  /// destination is to be looked up.
  mutating func update(_ head: QueueHead, now: Milliseconds) -> Bool {
    let (isNew, needsShelf) = mirror.update(head, now: now)
    if needsShelf { shelve(head.part) }
    return isNew
  }

  /// A pick that was not tried: its part may be picked again.
  mutating func unpick(_ part: GroupPart) {
    mirror.unplan(part)
    shelve(part)
  }

  /// Forgets everything of the queue; lanes keep their throttles and windows.
  mutating func clear() { mirror.clear() }

  func destination(of group: Group) -> Destination? { mirror.destination(of: group) }

  mutating func setDestination(_ destination: Destination, of group: Group) {
    mirror.setDestination(destination, of: group)
    for part in mirror.parts(of: group) { shelve(part) }
  }

  /// Parts of a group that have mail, for concluding.
  func parts(of group: Group) -> [GroupPart] { mirror.parts(of: group) }

  mutating func shelve(_ part: GroupPart) {
    guard let (key, provider) = mirror.shelve(part) else { return }
    // Another IP first each time: whoever is asked first takes the mail of a quiet queue.
    rotation &+= 1
    let ips = mirror.ips(of: part.group.set)
    for offset in ips.indices {
      enter(part.organisation, LaneID(ip: ips[Int((rotation &+ UInt(offset)) % UInt(ips.count))], key: key), provider)
    }
  }

  /// A lane may have been forgotten at rest, with turns that wait beside a gate.
  mutating func enter(_ organisation: String, _ id: LaneID) {
    enter(organisation, id, MailboxProvider(rawValue: id.key) ?? .other)
  }

  /// Every head does this in every lane of its set: one look at the lane where there is nothing to say.
  private mutating func enter(_ organisation: String, _ id: LaneID, _ provider: MailboxProvider) {
    if !allowances.isEmpty, let nominee = allowances[id.ip]?.nominee(of: id) {
      if lanes[id] == nil { lanes[id] = makeLane(id, provider) }
      lanes[id]?.enter(organisation)
      // It waits behind another that the lane has nominated: a lane where others wait comes first.
      if nominee != organisation { allowances[id.ip]?.nominate(nominee, by: id, isAlone: false) }
    } else if let isNews = lanes[id]?.enterAndWake(organisation) {
      if isNews { ready.append(id) }
    } else {
      var lane = makeLane(id, provider)
      _ = lane.enterAndWake(organisation)
      lanes[id] = lane
      ready.append(id)
    }
  }

  private mutating func makeLane(_ id: LaneID, _ provider: MailboxProvider) -> Lane {
    let profile = providers[provider]
    var lane = Lane(
      provider: provider, profile: profile, rate: rates[id], nextPermitAt: storedPermits.removeValue(forKey: id.description) ?? 0)
    if profile.maxConnectionsTotal > 0 { lane.sessions = sessions.granted(id) }
    return lane
  }

  /// Lanes at rest are forgotten once there are many, at most as often as the number doubles.
  private mutating func pruneLanes(now: Milliseconds) {
    guard lanes.count > pruneAt else { return }
    lanes = lanes.filter {
      allowances[$0.key.ip]?.nominee(of: $0.key) != nil || $0.value.out > 0 || $0.value.hasTurns || $0.value.isReady
        || $0.value.opensAt > now
    }
    rates = rates.filter { id, rate in
      rate.blockedUntil > now || rate.ratePerMinute != providers[MailboxProvider(rawValue: id.key) ?? .other].defaultRate
    }
    pruneAt = max(100_000, lanes.count * 2)
  }

  mutating func wake(_ id: LaneID) {
    guard lanes[id]?.isReady == false else { return }
    lanes[id]?.isReady = true
    ready.append(id)
  }

  // MARK: picking

  /// When a lane opens next by its throttle; nil when none waits for that.
  var nextTimer: Milliseconds? { timers.first?.at }

  /// Up to `limit` picks for lanes that have a permit now. Each organisation of a lane's ring in turn, its group with the
  /// lowest head first; where an IP as a whole is limited, lanes nominate and the IP chooses.
  mutating func nextPicks(limit: Int, now: Milliseconds) -> [PlannedPick] {
    while let timer = timers.first, timer.at <= now {
      _ = timers.pop()
      ownVisits += 1
      guard lanes[timer.lane]?.timerAt == timer.at else { continue }
      lanes[timer.lane]?.timerAt = nil
      wake(timer.lane)
    }
    pruneLanes(now: now)
    mirror.beginCall()
    var picks: [PlannedPick] = []
    var limited: Set<String> = []
    while picks.count < limit, readyHead < ready.count {
      let id = ready[readyHead]
      readyHead += 1
      ownVisits += 1
      lanes[id]?.isReady = false
      if allowances[id.ip] == nil {
        pick(from: id, into: &picks, limit: limit, now: now)
      } else {
        limited.insert(id.ip)
        nominate(id, now: now)
      }
    }
    for ip in limited { choose(ip, into: &picks, limit: limit, now: now) }
    if readyHead > 1024, readyHead * 2 > ready.count {
      ready.removeFirst(readyHead)
      readyHead = 0
    }
    return picks
  }

  private mutating func pick(from id: LaneID, into picks: inout [PlannedPick], limit: Int, now: Milliseconds) {
    while picks.count < limit, lanes[id]?.hasTurns == true {
      if let gate = gate(of: id, now: now) { return wait(for: gate, at: id, now: now) }
      guard let organisation = nextTurn(id, now: now) else { return }
      take(organisation, at: id, most: .max, into: &picks, now: now)
    }
    if lanes[id]?.hasTurns == true, picks.count >= limit { wake(id) }
  }

  /// The lane's next organisation that is not gated.
  private mutating func nextTurn(_ id: LaneID, now: Milliseconds) -> String? {
    while let organisation = lanes[id]?.nextTurn() {
      ownVisits += 1
      guard gate(ofOrganisation: organisation, at: lanes[id]?.provider, now: now) != nil else { return organisation }
      gatedTurns[organisation, default: []].insert(id)
    }
    return nil
  }

  /// - Parameter most: what the IP as a whole may send.
  private mutating func take(_ organisation: String, at id: LaneID, most: Int, into picks: inout [PlannedPick], now: Milliseconds) {
    guard let lane = lanes[id] else { return }
    guard let (part, available) = mirror.takeHead(of: organisation, at: id) else {
      if mirror.closedSets[id.ip] != nil { pacedTurns[id.ip, default: []].insert(PacedTurn(lane: id, organisation: organisation)) }
      return
    }
    // Alone in the ring: all it may have. Else one, and the next has its turn.
    let wanted = lane.hasTurns || most == 1 ? 1 : min(lane.room, available, most)
    let count = max(1, lane.throttle.available(wanted: wanted, now: now))
    guard let (first, step) = lanes[id]?.throttle.take(count, now: now) else { return }
    lanes[id]?.out += count
    mirror.plan(part, count)
    lanes[id]?.throttledSince = now
    if let lane = lanes[id], lane.room <= 0 { lanes[id]?.fullSince = now }
    lanes[id]?.noteServed(organisation)
    allowances[id.ip]?.spend(count, organisation, id)
    // Its other groups keep it in the ring.
    if mirror.hasMail(of: organisation, at: id) {
      lanes[id]?.enter(organisation)
    } else if mirror.closedSets[id.ip] != nil {
      pacedTurns[id.ip, default: []].insert(PacedTurn(lane: id, organisation: organisation))
    }
    picked += count
    picks.append(
      PlannedPick(
        part: part, count: count, lane: id, firstAt: first, step: step,
        nextPermitAt: lanes[id]?.throttle.nextPermitAt ?? first, sessions: lane.sessions))
  }

  /// A lane of a limited IP names whose turn it is there.
  private mutating func nominate(_ id: LaneID, now: Milliseconds) {
    guard lanes[id]?.hasTurns == true, allowances[id.ip]?.nominee(of: id) == nil else { return }
    if let gate = gate(of: id, now: now) { return wait(for: gate, at: id, now: now) }
    guard let organisation = nextTurn(id, now: now) else { return }
    allowances[id.ip]?.nominate(organisation, by: id, isAlone: lanes[id]?.hasTurns == false)
  }

  /// The IP's choice among its lanes' nominations, one message at a time while several stand.
  private mutating func choose(_ ip: String, into picks: inout [PlannedPick], limit: Int, now: Milliseconds) {
    while picks.count < limit, let (id, organisation) = allowances[ip]?.next(visits: &ownVisits) {
      if let gate = gate(of: id, now: now) {
        lanes[id]?.enter(organisation)
        wait(for: gate, at: id, now: now)
        continue
      }
      if gate(ofOrganisation: organisation, at: lanes[id]?.provider, now: now) != nil {
        gatedTurns[organisation, default: []].insert(id)
      } else {
        let isOnly = allowances[ip]?.hasNoNomination ?? false
        take(organisation, at: id, most: isOnly ? allowances[ip]?.permits ?? 0 : 1, into: &picks, now: now)
      }
      nominate(id, now: now)
    }
    // What stands and was not chosen is looked at again with the next call.
    if picks.count >= limit, let id = allowances[ip]?.anyLane { wake(id) }
  }

  private mutating func wait(for gate: Gate, at id: LaneID, now: Milliseconds) {
    switch gate.scope {
    case .ip: parked[id.ip, default: []].insert(id)
    case .provider where gate.reason == .smtpResponse:
      guard let provider = lanes[id]?.provider else { return }
      parkedAtProvider[provider, default: []].insert(id)
    case .provider: wantSessions(id, now: now)
    case .lane where gate.reason == .connections: wantSessions(id, now: now)
    case .lane where gate.reason == .throttle:
      guard let lane = lanes[id] else { return }
      let at = lane.opensAt
      // A lane that opens earlier than it was to is not kept waiting by an old timer.
      guard lane.timerAt.map({ at < $0 }) ?? true else { return }
      lanes[id]?.timerAt = at
      timers.push(Timer(at: at, lane: id))
    // Woken by the outcome that makes room.
    default: return
    }
  }

  // MARK: what came of a pick

  /// Permits that were not used.
  mutating func giveBack(_ count: Int, to id: LaneID) {
    guard count > 0 else { return }
    lanes[id]?.throttle.giveBack(count)
    if allowances[id.ip] != nil {
      allowances[id.ip]?.giveBack(count)
      unpark(id.ip)
      if let standing = allowances[id.ip]?.anyLane { wake(standing) }
    }
    release(count, of: id)
  }

  /// Entries that are no longer out.
  mutating func release(_ count: Int, of id: LaneID) {
    guard let lane = lanes[id] else { return }
    lanes[id]?.out = max(0, lane.out - count)
    if lane.hasTurns { wake(id) }
  }

  func out(of id: LaneID) -> Int { lanes[id]?.out ?? 0 }
}
