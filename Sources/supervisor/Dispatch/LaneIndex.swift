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
/// lanes or messages; `visits` counts the entries that picks looked at (bounded by a test). In which lanes mail waits is in
/// `LaneIndex+lanes.swift`, who is picked in `LaneIndex+picking.swift`, what shuts and why in `LaneIndex+gates.swift`, and how
/// it opens again in `LaneIndex+shutting.swift`.
struct LaneIndex {
  struct Timer: Comparable {
    let at: Milliseconds
    let lane: LaneID

    static func < (a: Self, b: Self) -> Bool { a.at < b.at }
  }

  struct PacedTurn: Hashable {
    let lane: LaneID
    let organisation: String
    /// That the lane's IP does not send now.
    let set: String
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
  var storedPermits: [String: Milliseconds] = [:]

  var mirror: QueueMirror
  var lanes = LaneTable()
  /// Lanes at rest are kept up to this many lanes in all.
  var lanesKept = 20_000
  /// To be looked at with the next call.
  var ready = FIFO<LaneID>()
  /// That may be forgotten.
  var resting = FIFO<LaneID>()
  var timers = BinaryHeap<Timer>()
  var openIPs: Set<String> = []
  /// ``IPAllowance/isScarce``.
  var scarceIPs: Set<String> = []
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
  /// Turns of mail of closed sets, by IP.
  var pacedTurns: [String: Set<PacedTurn>] = [:]
  /// Lanes in which a gated organisation had its turn.
  var gatedTurns: [String: Set<LaneID>] = [:]

  var rotation: UInt = 0
  var ownVisits = 0
  var picked = 0

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

  mutating func wake(_ id: LaneID) {
    if lanes[id]?.wake() == true { ready.append(id) }
  }

  // MARK: what came of a pick

  /// Permits that were not used.
  mutating func giveBack(_ count: Int, to id: LaneID) {
    guard count > 0 else { return }
    lanes[id]?.throttle.giveBack(count)
    if allowances[id.ip] != nil {
      allowances[id.ip]?.giveBack(count)
      noteAllowance(of: id.ip)
      unpark(id.ip)
      if let standing = allowances[id.ip]?.anyLane { wake(standing) }
    }
    release(count, of: id)
  }

  /// Entries that are no longer out.
  mutating func release(_ count: Int, of id: LaneID) {
    guard let hasTurns = lanes[id]?.release(count) else { return }
    if hasTurns { wake(id) } else { noteRest(id) }
  }

  func out(of id: LaneID) -> Int { lanes[id]?.out ?? 0 }
}
