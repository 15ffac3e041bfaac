import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

/// The whole index at random: no mail waits that some IP may send now, whatever shut and opened before, and all of it leaves
/// once all is open.
@Suite struct NothingIdlesTests {
  struct World {
    static let organisations = ["A", "B", "C", "D"]
    static let domains = (0..<7).map { "d\($0).example" }
    static let reasons: [Gate.Reason] = [.breaker, .orgLimit]

    var random: SeededGenerator
    let ips: [String]
    let sets: [String]
    var index: LaneIndex
    var queues: [GroupPart: [Int64]] = [:]
    var out: [LaneID: Int] = [:]
    var sequence: Int64 = 0
    var now: Milliseconds = 1_000_000
    var added = 0
    var left = 0
    /// What waited though nothing held it.
    var idle: [String] = []
    /// What was given to an IP of a family that none of its hosts has, beside one that could.
    var astray: [String] = []

    init(seed: Int) {
      random = SeededGenerator(UInt64(seed) &+ 77)
      ips = (1...Int.random(in: 2...8, using: &random)).map { $0 % 3 == 0 ? "2001:db8::\($0)" : "ip\($0)" }
      sets = ["pool:p", "pool:q", "pool:p!ip1", "pool:q!ip2", "ip:ip1", "ip:ip2"]
      index = LaneIndex(pools: [:], providers: ProviderTable())
      index = LaneIndex(pools: pools(isWhole: true), providers: providers())
      for ip in ips { index.setIP(ip, isOpen: chance(3, of: 4)) }
      index.lanesKept = below(4) == 0 ? 100 : below(12)
      index.setStoredPermits(["ip1/gmail": now + 900, "ip2/domain:d6.example": now + 3000])
    }

    mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
    mutating func chance(_ part: Int, of whole: Int) -> Bool { below(whole) < part }
    mutating func any<T>(_ list: [T]) -> T { list[below(list.count)] }

    static func lane(_ domain: String) -> (key: String, provider: MailboxProvider) {
      switch domain {
      case "d0.example", "d1.example": ("gmail", .gmail)
      case "d2.example", "d3.example": ("yahoo", .yahoo)
      default: ("domain:\(domain)", .other)
      }
    }

    mutating func pools(isWhole: Bool) -> [String: [String]] {
      let some = isWhole ? ips : ips.filter { _ in chance(3, of: 4) }
      return ["p": some, "q": some.enumerated().filter { $0.offset % 2 == 0 || $0.offset == 1 }.map(\.element)]
    }

    mutating func providers() -> ProviderTable {
      var table = LaneIndexTests.providers(rate: any([120, 600, 6000, 60_000_000]), connections: 1 + below(2))
      table.profiles[.yahoo]?.maxConnectionsTotal = below(4)
      if chance(1, of: 3) { table.profiles[.gmail]?.maxConnectionsTotal = 1 + below(3) }
      return table
    }

    mutating func anyLane() -> LaneID { LaneID(ip: any(ips), key: Self.lane(any(Self.domains)).key) }

    func gate(_ scope: Gate.Scope, _ reason: Gate.Reason) -> Gate { Gate(scope: scope, key: "k", reason: reason, since: 0, until: nil) }

    mutating func tell(_ part: GroupPart) {
      sequence += 1
      let queue = queues[part] ?? []
      _ = index.update(QueueHead(part: part, count: queue.count, score: queue.first ?? 0, sequence: sequence), now: now)
    }

    mutating func resolve(_ group: Group) {
      let (key, provider) = Self.lane(group.domain)
      // Its hosts' addresses change at times.
      let family: AddressFamily? =
        switch group.domain {
        case "d1.example", "d4.example": .ipv4
        case "d3.example": .ipv6
        case "d5.example": any([.ipv4, .ipv6, nil])
        default: nil
        }
      let destination = Destination.open(key: key, provider: provider, only: family)
      if index.destination(of: group) != destination { index.setDestination(destination, of: group) }
    }

    mutating func add() {
      let part = GroupPart(group: Group(set: any(sets), domain: any(Self.domains)), organisation: any(Self.organisations))
      let count = 1 + below(chance(1, of: 4) ? 20 : 3)
      queues[part, default: []] += (0..<count).map { Int64(added + $0) }
      added += count
      tell(part)
      if chance(9, of: 10) { resolve(part.group) }
    }

    /// What the supervisor does in one turn. Picks that filled no call took all that may go.
    mutating func turn(limit: Int, settles: Bool, isWatched: Bool = true) {
      for claim in index.sessionClaims(now: now) {
        // Redis is away at times.
        if chance(1, of: 10) { index.sessions.tellAgain() } else { index.grant(claim, SessionSharesTests.answer(claim), now: now) }
      }
      let picks = index.nextPicks(limit: limit, now: now)
      if isWatched, picks.count < limit { noteIdle() }
      var touched: Set<GroupPart> = []
      for pick in picks {
        noteReach(pick)
        // Some of it is another host's already, or a counter has no room.
        let taken = chance(1, of: 12) ? below(pick.count) : min(pick.count, queues[pick.part]?.count ?? 0)
        queues[pick.part]?.removeFirst(taken)
        left += taken
        index.giveBack(pick.count - taken, to: pick.lane)
        if taken == 0 { index.unpick(pick.part) } else { touched.insert(pick.part) }
        out[pick.lane, default: 0] += taken
      }
      for part in touched { tell(part) }
      if settles { settle() }
    }

    mutating func settle() {
      for lane in out.keys.sorted(by: { $0.description < $1.description }) where chance(2, of: 3) {
        index.release(out.removeValue(forKey: lane) ?? 0, of: lane)
      }
    }

    private mutating func noteReach(_ pick: PlannedPick) {
      guard case .open(_, _, let only?)? = index.destination(of: pick.part.group), AddressFamily(of: pick.lane.ip) != only,
        index.mirror.ips(of: pick.part.group.set).contains(where: { AddressFamily(of: $0) == only })
      else { return }
      astray.append("\(pick.part) by \(pick.lane.ip) at \(now)")
    }

    private mutating func noteIdle() {
      for (part, state) in index.mirror.parts where state.count > state.planned && index.gates(of: part, now: now).isEmpty {
        idle.append("\(part) at \(now)")
      }
    }

    mutating func step() {
      let opens = chance(1, of: 2)
      switch below(30) {
      case 0...6: add()
      case 7: index.setIP(any(ips), isOpen: opens)
      case 8: index.limit(any(ips), to: opens ? nil : below(7), gate: gate(.ip, .warmingCap))
      case 9: index.setProviderGate(any([.gmail, .yahoo]), opens ? nil : gate(.provider, .smtpResponse))
      case 10: index.setLaneGate(anyLane(), opens ? nil : gate(.lane, .providerWarmingCap))
      case 11: index.setClosedSet(any(sets), of: any(ips), opens ? nil : gate(.ip, .warmingPacing))
      case 12: index.setDomainGate(any(Self.domains), opens ? nil : gate(.domain, .smtpResponse))
      case 13:
        let reason = any(Self.reasons)
        let provider: MailboxProvider? = chance(1, of: 2) ? .gmail : nil
        if opens {
          index.open(organisation: any(Self.organisations), at: provider, reason)
        } else {
          index.shut(organisation: any(Self.organisations), at: provider, gate(.organisation, reason))
        }
      case 14:
        let held = opens ? [:] : [any(Self.organisations): gate(.organisation, .organisationPaused)]
        let pool = chance(1, of: 4) ? ["q": gate(.ip, .queuePaused)] : [:]
        index.setPaused(organisations: held, domains: opens ? [:] : [any(Self.domains): gate(.domain, .queuePaused)], pools: pool)
      case 15:
        var rate = AdaptiveRate(index.providers[.gmail])
        if !opens { rate.throttled(index.providers[.gmail], pause: Milliseconds(below(3000)), now: now) }
        index.setRate(anyLane(), rate, now: now)
      case 16: index.setProviders(providers(), now: now)
      case 17:
        for ip in index.setPools(pools(isWhole: opens)) { index.setIP(ip, isOpen: false) }
        for ip in ips where chance(1, of: 2) { index.setIP(ip, isOpen: true) }
      case 18: for group in Set(queues.keys.map(\.group)).sorted(by: { $0.description < $1.description }) { resolve(group) }
      case 19:
        if let group = queues.keys.map(\.group).min(by: { $0.description < $1.description }) {
          index.setDestination(.resolving(since: now), of: group)
        }
      case 20: index.refund(1, any(ips))
      case 21: index.openWarmingGates(of: any(ips))
      case 22 where chance(1, of: 4): reload()
      default: turn(limit: chance(1, of: 4) ? 1 + below(6) : 1000, settles: opens)
      }
      now += Milliseconds(below(chance(1, of: 10) ? 2000 : 40))
    }

    /// Another connection to Redis.
    mutating func reload() {
      index.clear()
      for part in queues.keys.sorted(by: { $0.description < $1.description }) where queues[part]?.isEmpty == false {
        tell(part)
        resolve(part.group)
      }
    }

    mutating func openAll() {
      _ = index.setPools(pools(isWhole: true))
      for ip in ips {
        index.setIP(ip, isOpen: true)
        index.limit(ip, to: nil, gate: gate(.ip, .warmingCap))
        index.openWarmingGates(of: ip)
      }
      for id in index.laneGates.keys { index.setLaneGate(id, nil) }
      for provider in [MailboxProvider.gmail, .yahoo] { index.setProviderGate(provider, nil) }
      for organisation in Self.organisations {
        for provider in [nil, .gmail] as [MailboxProvider?] {
          for reason in Self.reasons { index.open(organisation: organisation, at: provider, reason) }
        }
      }
      for domain in Self.domains { index.setDomainGate(domain, nil) }
      index.setPaused(organisations: [:], domains: [:], pools: [:])
      for group in Set(queues.keys.map(\.group)) { resolve(group) }
    }
  }

  @Test(arguments: 0..<240) func whatMayGoGoesWithTheNextCall(seed: Int) {
    var world = World(seed: seed)
    for _ in 0..<140 { world.step() }
    world.openAll()
    for _ in 0..<1000 where world.left < world.added {
      world.turn(limit: 64, settles: true, isWatched: false)
      world.now += 200
    }
    let held = world.index.allGates(now: world.now)
    #expect(world.left == world.added, "seed \(seed): \(world.added - world.left) of \(world.added) never leave: \(held)")
    #expect(world.idle.isEmpty, "seed \(seed): \(world.idle.count) times, first \(world.idle.first ?? "")")
    #expect(world.astray.isEmpty, "seed \(seed): \(world.astray.count) times, first \(world.astray.first ?? "")")
  }
}
