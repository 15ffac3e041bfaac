import MailModel

/// What one IP as a whole may still send, when something limits it (a warming cap, pacing), and who gets it: of the lanes'
/// nominations the organisation that the IP served longest ago; of that organisation's lanes first one where others wait
/// too, then the one unserved longest (DESIGN section 4.6).
struct IPAllowance {
  private struct Turn: Comparable {
    let served: UInt64
    let organisation: String

    static func < (a: Self, b: Self) -> Bool { (a.served, a.organisation) < (b.served, b.organisation) }
  }

  private struct Nomination: Comparable {
    let isAlone: Bool
    let served: UInt64
    let lane: LaneID

    static func < (a: Self, b: Self) -> Bool {
      if a.isAlone != b.isAlone { return !a.isAlone }
      return (a.served, a.lane.key) < (b.served, b.lane.key)
    }
  }

  /// Messages that may go before `gate` is shut.
  private(set) var permits: Int
  /// What is shut once nothing is left.
  private let gate: Gate
  private var turns = BinaryHeap<Turn>()
  private var inTurn: Set<String> = []
  private var nominations: [String: BinaryHeap<Nomination>] = [:]
  /// The organisation that each lane nominates now; a nomination that says otherwise is past.
  private var nominated: [LaneID: (organisation: String, isAlone: Bool)] = [:]
  /// Organisations that stand here, or are in a lane that will nominate them.
  private var present: Set<String> = []
  /// Lanes whose mail counts on this IP: when nothing is left, it is to wait elsewhere too.
  private var unspread: Set<LaneID> = []
  private var servedOrganisation: [String: UInt64] = [:]
  private var servedLane: [LaneID: UInt64] = [:]
  private var clock: UInt64 = 0

  init(permits: Int, gate: Gate) {
    self.permits = permits
    self.gate = gate
  }

  /// Its permits may run out before the mail that waits for them.
  var isScarce: Bool { permits > 0 && permits < 1024 }
  var shutGate: Gate? { permits > 0 ? nil : gate }
  var hasNoNomination: Bool { nominated.isEmpty }

  /// The same IP with another allowance: whom it served stays known.
  func renewed(permits: Int, gate: Gate) -> IPAllowance {
    var next = IPAllowance(permits: permits, gate: gate)
    next.servedOrganisation = servedOrganisation
    next.servedLane = servedLane
    next.clock = clock
    return next
  }

  func nominee(of lane: LaneID) -> String? { nominated[lane]?.organisation }

  /// Lanes that stand here, for when the allowance ends.
  var lanes: [LaneID] { Array(nominated.keys) }
  var anyLane: LaneID? { nominated.first?.key }

  /// - Returns: whether the organisation is not here yet; from now on it is.
  mutating func welcome(_ organisation: String) -> Bool { present.insert(organisation).inserted }

  /// What an organisation had here waits for another gate.
  mutating func noteAbsent(_ organisation: String) {
    if nominations[organisation] == nil { present.remove(organisation) }
  }

  /// - Parameter isAlone: no other organisation waits in the lane; nil = as it was said before.
  mutating func nominate(_ organisation: String, by lane: LaneID, isAlone: Bool?) {
    unspread.insert(lane)
    let before = nominated[lane]
    let isAlone = isAlone ?? before?.isAlone ?? true
    if let before, before.organisation == organisation, before.isAlone == isAlone { return }
    nominated[lane] = (organisation, isAlone)
    present.insert(organisation)
    nominations[organisation, default: BinaryHeap()].push(
      Nomination(isAlone: isAlone, served: servedLane[lane] ?? 0, lane: lane))
    if inTurn.insert(organisation).inserted {
      turns.push(Turn(served: servedOrganisation[organisation] ?? 0, organisation: organisation))
    }
  }

  /// Those that counted on this IP; from now on they do not.
  mutating func takeUnspread() -> Set<LaneID> {
    defer { unspread = [] }
    return unspread
  }

  /// Whose turn it is; the nomination is taken. Nil when nobody stands or nothing is left.
  /// - Parameter visits: raised by each row looked at.
  mutating func next(visits: inout Int) -> (lane: LaneID, organisation: String)? {
    guard permits > 0 else { return nil }
    while let turn = turns.pop() {
      visits += 1
      inTurn.remove(turn.organisation)
      while let nomination = nominations[turn.organisation]?.pop() {
        visits += 1
        guard let current = nominated[nomination.lane], current.organisation == turn.organisation,
          current.isAlone == nomination.isAlone
        else { continue }
        nominated[nomination.lane] = nil
        unspread.remove(nomination.lane)
        if nominations[turn.organisation]?.isEmpty != false {
          nominations[turn.organisation] = nil
          present.remove(turn.organisation)
        } else if inTurn.insert(turn.organisation).inserted {
          turns.push(Turn(served: clock + 1, organisation: turn.organisation))
        }
        return (nomination.lane, turn.organisation)
      }
      nominations[turn.organisation] = nil
      present.remove(turn.organisation)
    }
    return nil
  }

  mutating func spend(_ count: Int, _ organisation: String, _ lane: LaneID) {
    permits -= count
    clock += 1
    servedOrganisation[organisation] = clock
    servedLane[lane] = clock
    // Who was served long ago and is forgotten counts as never served: at most one turn too early.
    if servedOrganisation.count > 4096 { servedOrganisation = servedOrganisation.filter { clock - $0.value < 2048 } }
    if servedLane.count > 16_384 { servedLane = servedLane.filter { clock - $0.value < 8192 } }
  }

  mutating func giveBack(_ count: Int) { permits += count }
}
