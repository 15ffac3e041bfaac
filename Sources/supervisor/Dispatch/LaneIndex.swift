import DeliveryPolicy
import MailModel
import Redis

/// Where a group's mail goes, as far as is known.
enum Destination: Sendable, Equatable {
  case resolving(since: Milliseconds)
  case open(key: String, provider: MailboxProvider)
  /// DNS could not be asked: looked at again then.
  case unknown(since: Milliseconds, until: Milliseconds, why: String)
  /// DNS said for good that nobody is there: its messages are being concluded.
  case closed(ConcludeReason)
}

/// One pick before it has a route.
struct PlannedPick: Sendable, Equatable {
  var part: GroupPart
  var count: Int
  var lane: LaneID
  var firstAt: Milliseconds
  var step: Milliseconds
  var nextPermitAt: Milliseconds
}

/// The dispatcher's memory: which parts have mail, in which lanes, whose turn it is. A cache of the directory: a stale row
/// costs an empty pick, never a message. No operation walks all groups, lanes or messages; `visits` counts the entries that
/// picks looked at (bounded by a test).
struct LaneIndex {
  private struct Part {
    var count: Int
    var score: Milliseconds
    var sequence: Int64
    /// Messages in picks whose answer is not back.
    var planned = 0
  }

  private struct GroupState {
    var destination: Destination
    var organisations: Set<String> = []
  }

  /// (set, lane key): what all IPs of a set share.
  private struct Shelf: Hashable {
    let set: String
    let key: String
  }

  private struct ShelfPlace: Hashable {
    let shelf: Shelf
    let organisation: String
  }

  private struct Head: Comparable {
    let score: Milliseconds
    let part: GroupPart

    static func < (a: Self, b: Self) -> Bool {
      a.score != b.score ? a.score < b.score : a.part.group.domain < b.part.group.domain
    }
  }

  private struct Timer: Comparable {
    let at: Milliseconds
    let lane: LaneID

    static func < (a: Self, b: Self) -> Bool { a.at < b.at }
  }

  private let providers: ProviderTable
  private let ipsOfSet: [String: [String]]
  private let setsOfIP: [String: [String]]
  private var storedPermits: [String: Milliseconds]

  private var parts: [GroupPart: Part] = [:]
  private var groups: [Group: GroupState] = [:]
  private var shelves: [ShelfPlace: BinaryHeap<Head>] = [:]
  private var lanes: [LaneID: Lane] = [:]
  private var ready: [LaneID] = []
  private var readyHead = 0
  private var timers = BinaryHeap<Timer>()
  private var openIPs: Set<String> = []
  /// Lanes that came up while their IP was shut.
  private var parked: [String: [LaneID]] = [:]
  private var organisationGates: [String: Gate] = [:]
  /// Lanes in which a gated organisation had its turn.
  private var gatedTurns: [String: Set<LaneID>] = [:]

  private var pruneAt = 100_000
  private var rotation: UInt = 0
  /// Parts that the call in the making has picked from.
  private var pickedNow: [ShelfPlace: [GroupPart]] = [:]

  private(set) var visits = 0
  private(set) var picked = 0
  private(set) var messageCount = 0

  init(ipsOfSet: [String: [String]], providers: ProviderTable, storedPermits: [String: Milliseconds]) {
    self.ipsOfSet = ipsOfSet
    self.providers = providers
    self.storedPermits = storedPermits
    var sets: [String: [String]] = [:]
    for (set, ips) in ipsOfSet { for ip in ips { sets[ip, default: []].append(set) } }
    setsOfIP = sets
  }

  var groupCount: Int { groups.count }

  // MARK: what the queue says

  /// The state of one part. An answer older than what is known is passed over. Answers true when its group is new: its
  /// destination is to be looked up.
  mutating func update(_ head: QueueHead, now: Milliseconds) -> Bool {
    let part = head.part
    let before = parts[part]
    if let before, head.sequence < before.sequence { return false }
    messageCount += head.count - (before?.count ?? 0)
    guard head.count > 0 else {
      parts[part] = nil
      groups[part.group]?.organisations.remove(part.organisation)
      if groups[part.group]?.organisations.isEmpty == true { groups[part.group] = nil }
      return false
    }
    parts[part] = Part(count: head.count, score: head.score, sequence: head.sequence)
    let isNew = groups[part.group] == nil
    groups[part.group, default: GroupState(destination: .resolving(since: now))].organisations.insert(part.organisation)
    if before.map({ $0.planned > 0 || head.score != $0.score }) ?? true { shelve(part) }
    return isNew
  }

  /// A pick that was not tried: its part may be picked again.
  mutating func unpick(_ part: GroupPart) {
    parts[part]?.planned = 0
    shelve(part)
  }

  /// Forgets everything of the queue; lanes keep their throttles and windows.
  mutating func clear() {
    parts = [:]
    groups = [:]
    shelves = [:]
    messageCount = 0
  }

  func destination(of group: Group) -> Destination? { groups[group]?.destination }

  mutating func setDestination(_ destination: Destination, of group: Group) {
    guard groups[group] != nil else { return }
    groups[group]?.destination = destination
    for organisation in groups[group]?.organisations ?? [] { shelve(GroupPart(group: group, organisation: organisation)) }
  }

  /// Parts of a group that have mail, for concluding.
  func parts(of group: Group) -> [GroupPart] {
    (groups[group]?.organisations ?? []).map { GroupPart(group: group, organisation: $0) }
  }

  private mutating func shelve(_ part: GroupPart) {
    guard let state = parts[part], case .open(let key, let provider)? = groups[part.group]?.destination else { return }
    let shelf = Shelf(set: part.group.set, key: key)
    shelves[ShelfPlace(shelf: shelf, organisation: part.organisation), default: BinaryHeap()].push(
      Head(score: state.score, part: part))
    // Another IP first each time: whoever is asked first takes the mail of a quiet queue.
    let ips = ipsOfSet[part.group.set] ?? []
    rotation &+= 1
    for offset in ips.indices {
      let id = LaneID(ip: ips[Int((rotation &+ UInt(offset)) % UInt(ips.count))], key: key)
      if lanes[id] == nil { lanes[id] = makeLane(id, provider) }
      lanes[id]?.enter(part.organisation)
      wake(id)
    }
  }

  private mutating func makeLane(_ id: LaneID, _ provider: MailboxProvider) -> Lane {
    Lane(
      provider: provider, profile: providers[provider],
      nextPermitAt: storedPermits.removeValue(forKey: id.description) ?? 0)
  }

  /// Lanes at rest are forgotten once there are many, at most as often as the number doubles.
  private mutating func pruneLanes(now: Milliseconds) {
    guard lanes.count > pruneAt else { return }
    lanes = lanes.filter { $0.value.out > 0 || $0.value.hasTurns || $0.value.isReady || $0.value.throttle.opensAt > now }
    pruneAt = max(100_000, lanes.count * 2)
  }

  private mutating func wake(_ id: LaneID) {
    guard lanes[id]?.isReady == false else { return }
    lanes[id]?.isReady = true
    ready.append(id)
  }

  // MARK: gates

  mutating func setIP(_ ip: String, isOpen: Bool) {
    if isOpen {
      openIPs.insert(ip)
      for id in parked.removeValue(forKey: ip) ?? [] { wake(id) }
    } else {
      openIPs.remove(ip)
    }
  }

  func isOpen(_ ip: String) -> Bool { openIPs.contains(ip) }

  mutating func shut(organisation: String, _ gate: Gate) { organisationGates[organisation] = gate }

  mutating func open(organisation: String) {
    organisationGates[organisation] = nil
    for id in gatedTurns.removeValue(forKey: organisation) ?? [] {
      lanes[id]?.enter(organisation)
      wake(id)
    }
  }

  /// Organisation gates whose time is over.
  func dueOrganisations(now: Milliseconds) -> [String] {
    organisationGates.filter { $0.value.until.map { $0 <= now } ?? false }.map(\.key)
  }

  /// What shuts this lane now; nil when it would give a permit. The one function by which picks are made and explained.
  func gate(of id: LaneID, now: Milliseconds) -> Gate? {
    guard openIPs.contains(id.ip) else {
      return Gate(scope: .ip, key: id.ip, reason: .noEligibleIP, since: 0, until: nil)
    }
    guard let lane = lanes[id] else { return nil }
    if lane.out >= lane.window {
      return Gate(scope: .lane, key: id.description, reason: .connections, since: lane.fullSince, until: nil)
    }
    if lane.throttle.opensAt > now {
      return Gate(
        scope: .lane, key: id.description, reason: .throttle, since: lane.throttledSince, until: lane.throttle.nextPermitAt)
    }
    return nil
  }

  func gate(ofOrganisation organisation: String, now: Milliseconds) -> Gate? {
    organisationGates[organisation].flatMap { gate in gate.until.map { $0 <= now } ?? false ? nil : gate }
  }

  func gate(of group: Group) -> Gate? {
    switch groups[group]?.destination {
    case .resolving(let since): Gate(scope: .domain, key: group.domain, reason: .dns, since: since, until: nil)
    case .unknown(let since, let until, _): Gate(scope: .domain, key: group.domain, reason: .dns, since: since, until: until)
    case .open, .closed, nil: nil
    }
  }

  /// Every shut gate that stands before mail of a part, widest scope first. Lanes count only when none of the set is open.
  func gates(of part: GroupPart, now: Milliseconds) -> [Gate] {
    var found: [Gate] = []
    let ips = ipsOfSet[part.group.set] ?? []
    if !ips.contains(where: openIPs.contains) {
      if ips.isEmpty {
        found.append(Gate(scope: .ip, key: part.group.set, reason: .noEligibleIP, since: 0, until: nil))
      }
      found += ips.map { Gate(scope: .ip, key: $0, reason: .noEligibleIP, since: 0, until: nil) }
    } else if case .open(let key, _)? = groups[part.group]?.destination {
      let shut = ips.filter(openIPs.contains).compactMap { gate(of: LaneID(ip: $0, key: key), now: now) }
      if shut.count == ips.filter(openIPs.contains).count { found += shut }
    }
    if let gate = gate(of: part.group) { found.append(gate) }
    if let gate = gate(ofOrganisation: part.organisation, now: now) { found.append(gate) }
    return found
  }

  /// Shut gates of everything that has mail, with the messages behind each. Walks the index: for an operator, not for a pick.
  func allGates(now: Milliseconds) -> [(gate: Gate, messages: Int)] {
    var rows: [String: (gate: Gate, messages: Int)] = [:]
    for (part, state) in parts {
      for gate in gates(of: part, now: now) {
        let name = "\(gate.scope.rawValue) \(gate.key) \(gate.reason.rawValue)"
        rows[name, default: (gate, 0)].messages += state.count
      }
    }
    return rows.values.sorted { ($0.gate.key, $0.gate.reason.rawValue) < ($1.gate.key, $1.gate.reason.rawValue) }
  }

  // MARK: picking

  /// When a lane opens next by its throttle; nil when none waits for that.
  var nextTimer: Milliseconds? { timers.first?.at }
  var hasReadyLanes: Bool { readyHead < ready.count }

  /// Up to `limit` picks for lanes that have a permit now. Each organisation of a lane's ring in turn, its group with the
  /// lowest head first.
  mutating func nextPicks(limit: Int, now: Milliseconds) -> [PlannedPick] {
    while let timer = timers.first, timer.at <= now {
      _ = timers.pop()
      visits += 1
      guard lanes[timer.lane]?.timerAt == timer.at else { continue }
      lanes[timer.lane]?.timerAt = nil
      wake(timer.lane)
    }
    pruneLanes(now: now)
    pickedNow = [:]
    var picks: [PlannedPick] = []
    while picks.count < limit, readyHead < ready.count {
      let id = ready[readyHead]
      readyHead += 1
      visits += 1
      lanes[id]?.isReady = false
      pick(from: id, into: &picks, limit: limit, now: now)
    }
    if readyHead > 1024, readyHead * 2 > ready.count {
      ready.removeFirst(readyHead)
      readyHead = 0
    }
    return picks
  }

  private mutating func pick(from id: LaneID, into picks: inout [PlannedPick], limit: Int, now: Milliseconds) {
    while picks.count < limit, let lane = lanes[id], lane.hasTurns {
      if let gate = gate(of: id, now: now) { return wait(for: gate, at: id) }
      guard let organisation = lanes[id]?.nextTurn() else { return }
      visits += 1
      if gate(ofOrganisation: organisation, now: now) != nil {
        gatedTurns[organisation, default: []].insert(id)
        continue
      }
      guard let (part, available) = takeHead(of: organisation, at: id) else { continue }
      let room = lane.window - lane.out
      // Alone in the ring: all it may have. Else one, and the next has its turn.
      let wanted = lanes[id]?.hasTurns == true ? 1 : min(room, available)
      let count = max(1, lane.throttle.available(wanted: wanted, now: now))
      guard let (first, step) = lanes[id]?.throttle.take(count, now: now) else { return }
      lanes[id]?.out += count
      parts[part]?.planned += count
      lanes[id]?.throttledSince = now
      if let lane = lanes[id], lane.out >= lane.window { lanes[id]?.fullSince = now }
      lanes[id]?.noteServed(organisation)
      // Its other groups keep it in the ring.
      if hasShelved(organisation, at: id) { lanes[id]?.enter(organisation) }
      picked += count
      picks.append(
        PlannedPick(
          part: part, count: count, lane: id, firstAt: first, step: step,
          nextPermitAt: lanes[id]?.throttle.nextPermitAt ?? first))
    }
    if lanes[id]?.hasTurns == true, picks.count >= limit { wake(id) }
  }

  private mutating func wait(for gate: Gate, at id: LaneID) {
    switch gate.reason {
    case .throttle:
      guard let lane = lanes[id], lane.timerAt == nil else { return }
      let at = lane.throttle.opensAt
      lanes[id]?.timerAt = at
      timers.push(Timer(at: at, lane: id))
    case .noEligibleIP: parked[id.ip, default: []].append(id)
    // Woken by the outcome that makes room.
    default: return
    }
  }

  /// The organisation's group with the lowest head among the sets of this lane's IP. Rows that are no longer true are
  /// dropped on the way.
  private mutating func takeHead(of organisation: String, at id: LaneID) -> (GroupPart, Int)? {
    var best: (place: ShelfPlace, head: Head)?
    for set in setsOfIP[id.ip] ?? [] {
      let place = ShelfPlace(shelf: Shelf(set: set, key: id.key), organisation: organisation)
      guard let head = validHead(place) else { continue }
      if best == nil || best.map({ head < $0.head }) == true { best = (place, head) }
    }
    if let best {
      _ = shelves[best.place]?.pop()
      pickedNow[best.place, default: []].append(best.head.part)
      return (best.head.part, parts[best.head.part]?.count ?? 1)
    }
    // All its groups here are picked already: the next of one of them, whose place in the order only its answer will tell.
    guard let part = pickedAgain(organisation, at: id) else { return nil }
    return (part, remaining(part))
  }

  /// A group of this organisation that this call has picked from and that has more.
  private func pickedAgain(_ organisation: String, at id: LaneID) -> GroupPart? {
    for set in setsOfIP[id.ip] ?? [] {
      let place = ShelfPlace(shelf: Shelf(set: set, key: id.key), organisation: organisation)
      if let part = pickedNow[place]?.last(where: { remaining($0) > 0 }) { return part }
    }
    return nil
  }

  private func remaining(_ part: GroupPart) -> Int { parts[part].map { $0.count - $0.planned } ?? 0 }

  private mutating func validHead(_ place: ShelfPlace) -> Head? {
    while let head = shelves[place]?.first {
      visits += 1
      if let part = parts[head.part], part.planned == 0, part.score == head.score { return head }
      _ = shelves[place]?.pop()
    }
    shelves[place] = nil
    return nil
  }

  private func hasShelved(_ organisation: String, at id: LaneID) -> Bool {
    (setsOfIP[id.ip] ?? []).contains {
      shelves[ShelfPlace(shelf: Shelf(set: $0, key: id.key), organisation: organisation)]?.isEmpty == false
    } || pickedAgain(organisation, at: id) != nil
  }

  // MARK: what came of a pick

  /// Permits that were not used.
  mutating func giveBack(_ count: Int, to id: LaneID) {
    guard count > 0 else { return }
    lanes[id]?.throttle.giveBack(count)
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
