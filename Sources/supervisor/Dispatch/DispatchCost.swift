import DeliveryPolicy
import MailModel
import Redis

/// What a dispatch decision costs: the dispatcher's own index and charges on a queue in memory, without Redis. One decision is
/// all that one message causes: its head told and shelved, gates asked, permit, counters named, entry back. For
/// `supervisor dispatch-cost`.
struct DispatchCost {
  struct Plan {
    var groups = 50_000
    var organisations = 200
    var ips = 64
    var pools = 8
    /// Messages in each part at the start.
    var depth = 20
    var messages = 200_000
    var seed: UInt64 = 1
  }

  struct Result {
    var messages = 0
    var picks = 0
    var visits = 0
    var lanes = 0
    /// CPU seconds: of filling the index, and of the decisions.
    var filling = 0.0
    var deciding = 0.0
    /// CPU seconds of the longest turn: what is done between two calls to Redis, at most ``Dispatcher/picksPerCall`` picks.
    var longest = 0.0
  }

  private struct Queue {
    var part: GroupPart
    var count: Int
    var score: Milliseconds
  }

  private let plan: Plan
  private let cpu: () -> Double
  private var index: LaneIndex
  private var warming: WarmingCharges
  private var queues: [Queue] = []
  private var places: [GroupPart: Int] = [:]
  private var out: [(lane: LaneID, count: Int)] = []
  private var random: UInt64
  private var sequence: Int64 = 0
  private var now: Milliseconds = 1_790_000_000_000
  private var result = Result()

  /// - Parameter cpu: seconds of processor time used so far.
  init(_ plan: Plan, cpu: @escaping () -> Double) {
    self.plan = plan
    self.cpu = cpu
    random = plan.seed &* 0x9E37_79B9_7F4A_7C15 | 1
    let addresses = (0..<plan.ips).map { "192.0.2.\($0)" }
    let pools = Dictionary(grouping: addresses.enumerated(), by: { "pool\($0.offset % plan.pools)" }).mapValues { $0.map(\.element) }
    index = LaneIndex(pools: pools, providers: ProviderTable())
    let policy = WarmingPolicy()
    warming = WarmingCharges(policy: policy)
    for (place, ip) in addresses.enumerated() {
      index.setIP(ip, isOpen: true)
      // Every other one warms up, on its 20th day.
      var state = IPWarming(now: now, policy: policy, isExempt: place % 2 == 0)
      if place % 2 == 1 { state.set(day: 20, now: now, policy: policy) }
      _ = warming.set(ip, state, now: now)
      let gate = Gate(scope: .ip, key: ip, reason: .warmingCap, since: now, until: nil)
      index.limit(ip, to: warming.cap(ip, now: now), gate: gate)
    }
  }

  private mutating func below(_ count: Int) -> Int {
    random ^= random >> 12
    random ^= random << 25
    random ^= random >> 27
    return Int((random &* 0x2545_F491_4F6C_DD1D) >> 33) % count
  }

  mutating func run() -> Result {
    var start = cpu()
    fill()
    result.filling = cpu() - start
    let before = index.visits
    start = cpu()
    var turn = 0
    var last = start
    while result.messages < plan.messages {
      change(turn)
      dispatch()
      settle()
      turn += 1
      now += 20
      let time = cpu()
      result.longest = max(result.longest, time - last)
      last = time
    }
    result.deciding = last - start
    result.visits = index.visits - before
    result.lanes = index.lanes.count
    return result
  }

  /// A third of the groups lies at large providers, as it does in life by messages; the rest has a lane a domain.
  private mutating func fill() {
    let named = MailboxProvider.allCases.filter { $0 != .other }
    for group in 0..<plan.groups {
      let domain = "d\(group).example"
      let set = "pool:pool\(group % plan.pools)"
      let provider = group % 3 == 0 ? named[below(min(8, named.count))] : .other
      for _ in 0..<2 {
        let part = GroupPart(group: Group(set: set, domain: domain), organisation: "o\(below(plan.organisations))")
        guard places[part] == nil else { continue }
        places[part] = queues.count
        queues.append(Queue(part: part, count: plan.depth, score: now + Milliseconds(below(1000))))
        tell(queues.count - 1)
      }
      let key = ProviderTable.laneKey(provider, domain: domain)
      index.setDestination(.open(key: key, provider: provider), of: Group(set: set, domain: domain))
    }
  }

  private mutating func tell(_ place: Int) {
    sequence += 1
    let queue = queues[place]
    _ = index.update(QueueHead(part: queue.part, count: queue.count, score: queue.score, sequence: sequence), now: now)
  }

  /// What goes on beside: gates of an organisation and a domain shut and open.
  private mutating func change(_ turn: Int) {
    let organisation = "o\(turn / 2 % plan.organisations)"
    let domain = "d\(turn / 2 % plan.groups).example"
    if turn % 2 == 0 {
      index.shut(
        organisation: organisation, Gate(scope: .organisation, key: organisation, reason: .breaker, since: now, until: nil))
      index.setDomainGate(domain, Gate(scope: .domain, key: domain, reason: .smtpResponse, since: now, until: nil))
    } else {
      index.open(organisation: organisation, .breaker)
      index.setDomainGate(domain, nil)
    }
  }

  private mutating func dispatch() {
    var touched: [Int] = []
    for pick in index.nextPicks(limit: Dispatcher.picksPerCall, now: now) {
      result.picks += 1
      guard let place = places[pick.part], let provider = index.lanes[pick.lane]?.provider else { continue }
      let limits = OrganisationLimits.Limits(daily: 50_000, hourly: 5000)
      let charged =
        OrganisationLimits.counters(pick.part.organisation, limits, now)
        + warming.counters(of: pick.part, from: pick.lane.ip, to: provider, now: now)
      precondition(!charged.isEmpty && !pick.lane.description.isEmpty)
      let taken = min(pick.count, queues[place].count)
      queues[place].count -= taken
      queues[place].score += Milliseconds(taken)
      index.giveBack(pick.count - taken, to: pick.lane)
      out.append((pick.lane, taken))
      result.messages += taken
      touched.append(place)
      // As many come in as go out.
      let other = below(queues.count)
      queues[other].count += taken
      touched.append(other)
    }
    for place in touched { tell(place) }
  }

  /// What went out two turns ago comes back.
  private mutating func settle() {
    let kept = min(out.count, 2 * Dispatcher.picksPerCall)
    for row in out.dropLast(kept) { index.release(row.count, of: row.lane) }
    out = Array(out.suffix(kept))
  }
}
