import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

@Suite struct LaneIndexTests {
  static func providers(rate: Double = 60_000_000, connections: Int = 5) -> ProviderTable {
    var table = ProviderTable()
    for provider in MailboxProvider.allCases {
      var profile = table[provider]
      profile.defaultRate = rate
      profile.maxConnections = connections
      table.profiles[provider] = profile
    }
    return table
  }

  /// A queue in memory behind an index: what Redis would answer.
  struct World {
    var index: LaneIndex
    var queues: [GroupPart: [Int64]] = [:]
    var sequence: Int64 = 0
    var out: [LaneID: Int] = [:]
    var left: [(organisation: String, score: Int64)] = []

    init(ips: [String] = ["ip1"], providers: ProviderTable = LaneIndexTests.providers()) {
      index = LaneIndex(pools: ["p": ips], providers: providers)
      for ip in ips { index.setIP(ip, isOpen: true) }
    }

    mutating func tell(_ part: GroupPart) {
      sequence += 1
      _ = index.update(
        QueueHead(part: part, count: queues[part]?.count ?? 0, score: queues[part]?.first ?? 0, sequence: sequence), now: 0)
    }

    mutating func add(
      _ organisation: String, _ domain: String, scores: [Int64], key: String? = nil, provider: MailboxProvider = .other,
      set: String = "pool:p"
    ) {
      let part = GroupPart(group: Group(set: set, domain: domain), organisation: organisation)
      queues[part, default: []] += scores
      queues[part]?.sort()
      tell(part)
      let destination = Destination.open(key: key ?? "domain:\(domain)", provider: provider)
      if index.destination(of: part.group) != destination { index.setDestination(destination, of: part.group) }
    }

    /// One call: picks, answers, and (when `settles`) everything out comes back at once.
    mutating func turn(limit: Int = 64, now: Int64 = 1_000_000, settles: Bool = true) -> Int {
      let picks = index.nextPicks(limit: limit, now: now)
      var touched: Set<GroupPart> = []
      for pick in picks {
        let taken = min(pick.count, queues[pick.part]?.count ?? 0)
        for score in queues[pick.part]?.prefix(taken) ?? [] { left.append((pick.part.organisation, score)) }
        queues[pick.part]?.removeFirst(taken)
        index.giveBack(pick.count - taken, to: pick.lane)
        out[pick.lane, default: 0] += taken
        touched.insert(pick.part)
      }
      for part in touched { tell(part) }
      if settles { settle() }
      return picks.count
    }

    mutating func settle() {
      for (lane, count) in out { index.release(count, of: lane) }
      out = [:]
    }
  }

  /// A has 10,000 messages over 200 domains of one provider, B adds 100: B's last leaves before A's 300th after it.
  @Test func oneOrganisationCannotStarveAnother() {
    var world = World()
    for domain in 0..<200 {
      world.add("A", "d\(domain).example", scores: (0..<50).map { Int64($0) }, key: "gmail", provider: .gmail)
    }
    _ = world.turn()
    let before = world.left.count
    world.add("B", "b.example", scores: (0..<100).map { Int64(1_000_000 + $0) }, key: "gmail", provider: .gmail)
    while world.turn() > 0 {}
    let after = world.left[before...]
    let lastOfB = after.lastIndex { $0.organisation == "B" } ?? after.endIndex
    let ofABefore = after[..<lastOfB].count { $0.organisation == "A" }
    #expect(after.count { $0.organisation == "B" } == 100)
    #expect(ofABefore < 300)
    #expect(world.left.count == 10_100)
  }

  /// With k organisations in a lane at most 2k permits lie between two of one's own.
  @Test func theRingServesWhoWasServedLongestAgo() {
    var world = World()
    let organisations = (0..<7).map { "o\($0)" }
    for (index, organisation) in organisations.enumerated() {
      for domain in 0...index {
        world.add(organisation, "\(organisation)-\(domain).example", scores: (0..<40).map { Int64($0) }, key: "gmail", provider: .gmail)
      }
    }
    while world.turn() > 0 {}
    for organisation in organisations {
      let turns = world.left.indices.filter { world.left[$0].organisation == organisation }
      let firstEnd = world.left.count / 4
      for (a, b) in zip(turns, turns.dropFirst()) where b < firstEnd { #expect(b - a <= 2 * organisations.count) }
    }
  }

  @Test func lowestScoreFirstWithinAGroup() {
    var world = World()
    world.add("A", "one.example", scores: (0..<300).map { Int64($0) }.shuffled())
    while world.turn() > 0 {}
    #expect(world.left.map(\.score) == (0..<300).map { Int64($0) })
  }

  @Test func theWindowBoundsWhatIsOut() {
    var world = World()
    world.add("A", "one.example", scores: (0..<300).map { Int64($0) })
    while world.turn(settles: false) > 0 {}
    #expect(world.left.count == 10)
    let lane = LaneID(ip: "ip1", key: "domain:one.example")
    #expect(world.index.gate(of: lane, now: 0)?.reason == .connections)
    world.settle()
    _ = world.turn(settles: false)
    #expect(world.left.count == 20)
  }

  @Test func theThrottleOpensByTime() {
    var world = World(providers: Self.providers(rate: 60))
    world.add("A", "one.example", scores: (0..<10).map { Int64($0) })
    _ = world.turn(now: 1_000_000)
    #expect(world.left.count == 1)
    let part = GroupPart(group: Group(set: "pool:p", domain: "one.example"), organisation: "A")
    #expect(world.index.gates(of: part, now: 1_000_000).map(\.reason) == [.throttle])
    #expect(world.turn(now: 1_000_400) == 0)
    #expect(world.turn(now: 1_000_500) == 1)
    #expect(world.index.gates(of: part, now: 1_000_500).first?.until == 1_002_000)
  }

  /// A quiet queue does not leave by the first IP alone.
  @Test func theIPsOfAPoolShareQuietMail() {
    var world = World(ips: ["ip1", "ip2", "ip3"])
    var used: [String: Int] = [:]
    for index in 0..<300 {
      world.add("A", "d\(index % 7).example", scores: [Int64(index)])
      while world.turn(settles: false) > 0 {}
      for (lane, count) in world.out { used[lane.ip, default: 0] += count }
      world.settle()
    }
    #expect(used.values.reduce(0, +) == 300)
    #expect(used.count == 3 && used.values.allSatisfy { $0 >= 60 })
  }

  @Test func aShutIPGivesNothingAndItsNeighbourTakesOver() {
    var world = World(ips: ["ip1", "ip2"])
    world.index.setIP("ip1", isOpen: false)
    world.add("A", "one.example", scores: [1, 2, 3])
    while world.turn(settles: false) > 0 {}
    #expect(world.left.count == 3)
    #expect(world.out.keys.map(\.ip) == ["ip2"])
    world.index.setIP("ip2", isOpen: false)
    world.add("A", "one.example", scores: [4])
    let part = GroupPart(group: Group(set: "pool:p", domain: "one.example"), organisation: "A")
    #expect(world.index.gates(of: part, now: 0).map(\.reason) == [.noEligibleIP, .noEligibleIP])
    #expect(world.turn() == 0)
    world.index.setIP("ip1", isOpen: true)
    #expect(world.turn() == 1)
  }

  /// An IPv4 source reaches no IPv6 host, and the other way round: mail waits for an IP that can, and says so.
  @Test func mailGoesByAnIPOfItsHostsFamily() {
    var world = World(ips: ["192.0.2.1", "2001:db8::1", "2001:db8::2"])
    let old = GroupPart(group: Group(set: "pool:p", domain: "four.example"), organisation: "A")
    world.add("A", "four.example", scores: (0..<40).map { Int64($0) }, key: "gmail", provider: .gmail)
    world.index.setDestination(.open(key: "gmail", provider: .gmail, only: .ipv4), of: old.group)
    var used: Set<String> = []
    while world.turn(settles: false) > 0 {
      used.formUnion(world.out.keys.map(\.ip))
      world.settle()
    }
    #expect(world.left.count == 40)
    #expect(used == ["192.0.2.1"])
    world.index.setIP("192.0.2.1", isOpen: false)
    world.queues[old] = [50]
    world.tell(old)
    world.index.setDestination(.open(key: "gmail", provider: .gmail, only: .ipv4), of: old.group)
    #expect(world.turn() == 0)
    #expect(world.index.gates(of: old, now: 0).map(\.key) == ["192.0.2.1"])
    // Of both: the others may.
    world.index.setDestination(.open(key: "gmail", provider: .gmail), of: old.group)
    #expect(world.turn() == 1)
  }

  @Test func anOrganisationsGateHoldsItAloneAndOpensAgain() {
    var world = World()
    world.add("A", "one.example", scores: [1, 2])
    world.add("B", "one.example", scores: [3, 4])
    world.index.shut(organisation: "A", Gate(scope: .organisation, key: "A", reason: .orgLimit, since: 0, until: 2_000_000))
    while world.turn() > 0 {}
    #expect(world.left.map(\.organisation) == ["B", "B"])
    #expect(world.index.dueOrganisations(now: 2_000_000) == ["A"])
    world.index.open(organisation: "A", .orgLimit)
    while world.turn() > 0 {}
    #expect(world.left.count == 4)
  }

  /// An operator sees what is shut before mail comes to it, and no more once its time is over.
  @Test func aGateIsToldWithoutMailBehindIt() {
    var world = World()
    world.index.shut(organisation: "A", Gate(scope: .organisation, key: "A", reason: .breaker, since: 0, until: 2_000_000))
    world.index.setIP("ip1", isOpen: false)
    world.index.setIPGate("ip1", Gate(scope: .ip, key: "ip1", reason: .blocklisted, since: 5, until: nil))
    #expect(world.index.allGates(now: 1_000_000).map(\.gate.reason) == [.breaker, .blocklisted])
    #expect(world.index.allGates(now: 1_000_000).map(\.messages) == [0, 0])
    #expect(world.index.allGates(now: 2_000_000).map(\.gate.key) == ["ip1"])
    world.index.setIPGate("ip1", nil)
    world.index.setIP("ip1", isOpen: true)
    #expect(world.index.allGates(now: 2_000_000).isEmpty)
    world.add("A", "one.example", scores: [1, 2])
    #expect(world.index.allGates(now: 1_000_000).map(\.messages) == [2])
  }

  /// Answers that are read in another order than they were made: the newer one stands.
  @Test func anOlderAnswerDoesNotHideANewerHead() {
    var world = World()
    world.add("A", "one.example", scores: [1])
    let part = GroupPart(group: Group(set: "pool:p", domain: "one.example"), organisation: "A")
    world.sequence += 10
    _ = world.index.update(QueueHead(part: part, count: 1, score: 5, sequence: world.sequence), now: 0)
    _ = world.index.update(QueueHead(part: part, count: 0, score: 0, sequence: world.sequence - 1), now: 0)
    world.queues[part] = [5]
    #expect(world.turn() == 1)
  }

  static let cap = Gate(scope: .ip, key: "ip1", reason: .warmingCap, since: 0, until: 9_000_000)

  /// Fewer permits than nominations: the organisation served longest ago, not the one with the most lanes.
  @Test func aLimitedIPServesOrganisationsInTurn() {
    var world = World()
    world.index.limit("ip1", to: 30, gate: Self.cap)
    for domain in 0..<200 { world.add("big", "d\(domain).example", scores: (0..<5).map { Int64($0) }) }
    for name in ["s1", "s2"] { world.add(name, "\(name).example", scores: (0..<50).map { Int64(1000 + $0) }) }
    while world.turn() > 0 {}
    #expect(world.left.count == 30)
    for name in ["big", "s1", "s2"] { #expect(world.left.count { $0.organisation == name } == 10, "\(name)") }
    // The gate is what explains the rest, and the rest leaves when it opens.
    let part = GroupPart(group: Group(set: "pool:p", domain: "d0.example"), organisation: "big")
    #expect(world.index.gates(of: part, now: 0) == [Self.cap])
    world.index.limit("ip1", to: nil, gate: Self.cap)
    while world.turn() > 0 {}
    #expect(world.left.count == 1100)
  }

  /// Of one organisation's lanes first those where others wait too, then the one unserved longest.
  @Test func aLimitedIPPrefersLanesWhereOthersWait() {
    var world = World()
    world.index.limit("ip1", to: 4, gate: Self.cap)
    for domain in ["a", "b", "c"] { world.add("A", "\(domain).example", scores: [1, 2, 3, 4]) }
    world.add("B", "c.example", scores: [9])
    let order = world.index.nextPicks(limit: 64, now: 1_000_000).map { "\($0.part.organisation)\($0.part.group.domain.prefix(1))" }
    // A where B waits, then B, who was never served, then A's other lanes.
    #expect(order == ["Ac", "Bc", "Aa", "Ab"])
  }

  /// A refused pick spends nothing of the IP's allowance.
  @Test func whatDidNotGoIsNotCountedAgainstTheIP() {
    var world = World()
    world.index.limit("ip1", to: 2, gate: Self.cap)
    world.add("A", "a.example", scores: [1, 2, 3])
    let picks = world.index.nextPicks(limit: 64, now: 1_000_000)
    #expect(picks.map(\.count) == [2])
    #expect(world.index.gate(of: picks[0].lane, now: 0)?.reason == .warmingCap)
    world.index.giveBack(1, to: picks[0].lane)
    world.tell(picks[0].part)
    #expect(world.index.nextPicks(limit: 64, now: 1_000_001).map(\.count) == [1])
  }

  /// A pool less IPs: no message in a group can refuse an IP that serves it.
  @Test func aPoolLessIPsIsServedByTheOthersOnly() {
    var world = World(ips: ["ip1", "ip2", "ip3"])
    world.add("A", "a.example", scores: (0..<60).map { Int64($0) }, set: "pool:p!ip1,ip3")
    world.add("A", "a.example", scores: (0..<60).map { Int64($0) })
    world.add("A", "b.example", scores: [1], set: "pool:p!ip1,ip2,ip3")
    while world.turn(settles: false) > 0 {}
    let fromThere = world.out.filter { $0.value > 0 }.keys
    #expect(Set(fromThere.map(\.ip)) == ["ip1", "ip2", "ip3"])
    for _ in 0..<20 {
      world.settle()
      for pick in world.index.nextPicks(limit: 64, now: 1_000_000) where pick.part.group.set != "pool:p" {
        #expect(pick.lane.ip == "ip2")
      }
    }
    let none = GroupPart(group: Group(set: "pool:p!ip1,ip2,ip3", domain: "b.example"), organisation: "A")
    #expect(world.index.gates(of: none, now: 0).map(\.reason) == [.noEligibleIP])
  }

  @Test(arguments: [
    ("pool:p", IPSet.pool("p")), ("pool:p!a,b", .pool("p", less: ["a", "b"])), ("ip:2001:db8::1", .dedicated("2001:db8::1")),
  ])
  func setsAreSpeltOneWay(text: String, set: IPSet) {
    #expect(IPSet(text) == set)
    #expect(set.description == text)
    #expect(Group("\(text):d.example")?.set == text)
  }

  /// No loop walks all groups: with 50,000 groups and 1,000,000 queued, at most 8 entries are visited per pick on average.
  @Test(arguments: [false, true])
  func picksVisitFewEntries(isLimited: Bool) {
    var world = World(ips: ["ip1", "ip2", "ip3", "ip4"])
    if isLimited { for ip in ["ip1", "ip2", "ip3", "ip4"] { world.index.limit(ip, to: 1_000_000, gate: Self.cap) } }
    for domain in 0..<50_000 {
      world.add(
        "o\(domain % 100)", "d\(domain).example", scores: [Int64(domain)], key: domain % 2 == 0 ? "gmail" : nil,
        provider: domain % 2 == 0 ? .gmail : .other)
    }
    for (part, _) in world.queues { world.queues[part] = (0..<20).map { Int64($0) } }
    for part in world.queues.keys { world.tell(part) }
    #expect(world.index.messageCount == 1_000_000)
    let before = world.index.visits
    var picks = 0
    for turn in 0..<3000 { picks += world.turn(now: 1_000_000 + Int64(turn)) }
    let perPick = Double(world.index.visits - before) / Double(max(1, picks))
    #expect(picks > 10_000)
    print("index entries visited a pick: \(perPick)")
    #expect(perPick <= 8, "\(perPick) entries a pick")
  }
}
