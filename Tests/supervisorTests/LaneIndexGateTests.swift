import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

/// Random numbers that are the same for the same seed.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}

/// Gates of the index, one by one and all at random.
@Suite struct LaneIndexGateTests {
  @Test func aProvidersGateHoldsAllItsLanesAndIsToldOnce() {
    var world = LaneIndexTests.World(ips: ["ip1", "ip2", "ip3"])
    let gate = Gate(scope: .provider, key: "gmail", reason: .smtpResponse, since: 5, until: 2_000_000)
    world.index.setProviderGate(.gmail, gate)
    world.add("A", "one.example", scores: [1, 2], key: "gmail", provider: .gmail)
    world.add("A", "two.example", scores: [1, 2])
    while world.turn() > 0 {}
    #expect(world.left.count == 2)
    let part = GroupPart(group: Group(set: "pool:p", domain: "one.example"), organisation: "A")
    #expect(world.index.gates(of: part, now: 1_000_000) == [gate])
    #expect(world.index.dueProviders(now: 1_999_999).isEmpty && world.index.dueProviders(now: 2_000_000) == [.gmail])
    world.index.setProviderGate(.gmail, nil)
    while world.turn() > 0 {}
    #expect(world.left.count == 4)
  }

  /// A higher rate is in force at once, also in a lane that waits by an old timer.
  @Test func anotherProfileWakesALaneThatWaits() {
    var world = LaneIndexTests.World(providers: LaneIndexTests.providers(rate: 1))
    world.add("A", "one.example", scores: [1, 2, 3])
    _ = world.turn(now: 1_000_000)
    #expect(world.turn(now: 1_000_001) == 0)
    world.index.setProviders(LaneIndexTests.providers(), now: 1_000_002)
    while world.turn(now: 1_000_010) > 0 {}
    #expect(world.left.count == 3)
  }

  /// Every gate that can hold a message, shut before it came.
  enum Holder: String, CaseIterable {
    case ip, allowance, provider, sessions, warming, pacing, block, domain, pausedDomain, organisation, breakerAtProvider, paused, dns

    func shut(_ index: inout LaneIndex, _ lane: LaneID, _ part: GroupPart) {
      let gate = Gate(scope: .lane, key: "k", reason: .breaker, since: 0, until: nil)
      switch self {
      case .ip: index.setIP(lane.ip, isOpen: false)
      case .allowance: index.limit(lane.ip, to: 0, gate: gate)
      case .provider: index.setProviderGate(.gmail, Gate(scope: .provider, key: "gmail", reason: .smtpResponse, since: 0, until: nil))
      case .sessions:
        var table = LaneIndexTests.providers()
        table.profiles[.gmail]?.maxConnectionsTotal = 1
        index.setProviders(table, now: 0)
      case .warming: index.setLaneGate(lane, Gate(scope: .lane, key: "k", reason: .providerWarmingCap, since: 0, until: nil))
      case .pacing: index.setClosedSet("pool:p", of: lane.ip, gate)
      case .block:
        var rate = AdaptiveRate(index.providers[.gmail])
        rate.throttled(index.providers[.gmail], pause: 3_600_000, now: 1_000_000)
        index.setRate(lane, rate, now: 1_000_000)
      case .domain: index.setDomainGate("one.example", gate)
      case .pausedDomain: index.setPaused(organisations: [:], domains: ["one.example": gate], pools: [:])
      case .organisation: index.shut(organisation: "A", gate)
      case .breakerAtProvider: index.shut(organisation: "A", at: .gmail, gate)
      case .paused: index.setPaused(organisations: ["A": gate], domains: [:], pools: [:])
      // A new group's destination is not known.
      case .dns: return
      }
    }
  }

  /// Nothing is spent for a message that some gate holds: no permit of its lane, nothing of what its IP may send, and no pick,
  /// which is what organisation limits, warming days and probes are charged with.
  @Test(arguments: Holder.allCases, [nil, 100]) func whatAGateHoldsCostsNothing(holder: Holder, allowance: Int?) {
    var world = LaneIndexTests.World(providers: LaneIndexTests.providers(rate: 600))
    let lane = LaneID(ip: "ip1", key: "gmail")
    let part = GroupPart(group: Group(set: "pool:p", domain: "one.example"), organisation: "A")
    let gate = Gate(scope: .ip, key: "ip1", reason: .warmingCap, since: 0, until: nil)
    if let allowance { world.index.limit("ip1", to: allowance, gate: gate) }
    // The lane is known, and has sent before.
    world.add("A", "one.example", scores: [0], key: "gmail", provider: .gmail)
    #expect(world.turn() == 1)
    // Learning of a block is no permit: the lane's next one is what it was.
    holder.shut(&world.index, lane, part)
    let before = world.index.lanes[lane]?.throttle.nextPermitAt
    let left = world.index.allowances["ip1"]?.permits
    if holder == .dns {
      world.queues[part] = [1, 2, 3]
      world.tell(part)
    } else {
      world.add("A", "one.example", scores: [1, 2, 3], key: "gmail", provider: .gmail)
    }
    for turn in 1...20 { #expect(world.turn(now: 1_000_000 + Int64(turn) * 1000) == 0) }
    #expect(world.index.lanes[lane]?.throttle.nextPermitAt == before)
    #expect(world.index.allowances["ip1"]?.permits == left)
    #expect(world.left.count == 1 && world.index.lanes[lane]?.out == 0)
    #expect(!world.index.gates(of: part, now: 1_020_000).isEmpty, "and it is explained")
  }

  /// Entries, permits, and every kind of gate shut and opened at random: once all is open, all that waits is picked.
  @Test(arguments: 0..<40) func whateverOpensAgainIsPicked(seed: Int) {
    var random = SeededGenerator(UInt64(seed) &+ 1000)
    func pick<T>(_ list: [T]) -> T { list[Int.random(in: 0..<list.count, using: &random)] }
    let ips = ["ip1", "ip2", "ip3"]
    let organisations = ["A", "B", "C"]
    let domains = (0..<6).map { "d\($0).example" }
    let sets = ["pool:p", "pool:p!ip1", "ip:ip2"]
    // Hosted ones share a lane.
    func key(_ domain: String) -> (String?, MailboxProvider) { domain < "d3" ? ("gmail", .gmail) : (nil, .other) }
    var table = LaneIndexTests.providers(rate: 6000, connections: 2)
    if seed % 2 == 0 { table.profiles[.gmail]?.maxConnectionsTotal = 2 }
    var world = LaneIndexTests.World(ips: ips, providers: table)
    var now: Int64 = 1_000_000
    var added = 0
    func claim() {
      for claim in world.index.sessionClaims(now: now) { world.index.grant(claim, SessionSharesTests.answer(claim), now: now) }
    }
    func lane() -> LaneID {
      let domain = pick(domains)
      return LaneID(ip: pick(ips), key: key(domain).0 ?? "domain:\(domain)")
    }
    let cap = Gate(scope: .ip, key: "ip", reason: .warmingCap, since: 0, until: nil)
    func gate(_ scope: Gate.Scope, _ reason: Gate.Reason) -> Gate { Gate(scope: scope, key: "k", reason: reason, since: 0, until: nil) }
    for _ in 0..<400 {
      let opens = Bool.random(using: &random)
      switch Int.random(in: 0..<13, using: &random) {
      case 0, 1, 2:
        let domain = pick(domains)
        let count = Int.random(in: 1...4, using: &random)
        let (key, provider) = key(domain)
        world.add(pick(organisations), domain, scores: (0..<count).map { Int64(added + $0) }, key: key, provider: provider, set: pick(sets))
        added += count
      case 3: world.index.setIP(pick(ips), isOpen: opens)
      case 4:
        let organisation = pick(organisations)
        let provider: MailboxProvider? = Bool.random(using: &random) ? .gmail : nil
        if opens {
          world.index.open(organisation: organisation, at: provider, .breaker)
        } else {
          world.index.shut(organisation: organisation, at: provider, gate(.organisation, .breaker))
        }
      case 5: world.index.setDomainGate(pick(domains), opens ? nil : gate(.domain, .smtpResponse))
      case 6: world.index.setProviderGate(.gmail, opens ? nil : gate(.provider, .smtpResponse))
      case 7: world.index.setLaneGate(lane(), opens ? nil : gate(.lane, .providerWarmingCap))
      case 8: world.index.setClosedSet("pool:p", of: pick(ips), opens ? nil : gate(.ip, .warmingPacing))
      case 9: world.index.limit(pick(ips), to: opens ? nil : Int.random(in: 0...5, using: &random), gate: cap)
      case 10:
        let held = opens ? [] : [pick(organisations)]
        world.index.setPaused(
          organisations: Dictionary(held.map { ($0, gate(.organisation, .organisationPaused)) }, uniquingKeysWith: { first, _ in first }),
          domains: opens ? [:] : [pick(domains): gate(.domain, .queuePaused)], pools: [:])
      case 11:
        // Permits given and not used.
        for pick in world.index.nextPicks(limit: 3, now: now) {
          world.index.giveBack(pick.count, to: pick.lane)
          world.index.unpick(pick.part)
        }
      default:
        claim()
        _ = world.turn(limit: Int.random(in: 1...8, using: &random), now: now, settles: Bool.random(using: &random))
      }
      now += Int64.random(in: 0...30, using: &random)
    }
    for ip in ips {
      world.index.setIP(ip, isOpen: true)
      world.index.setClosedSet("pool:p", of: ip, nil)
      world.index.limit(ip, to: nil, gate: cap)
      for domain in domains { world.index.setLaneGate(LaneID(ip: ip, key: key(domain).0 ?? "domain:\(domain)"), nil) }
    }
    for organisation in organisations {
      for provider in [nil, .gmail] as [MailboxProvider?] { world.index.open(organisation: organisation, at: provider, .breaker) }
    }
    for domain in domains { world.index.setDomainGate(domain, nil) }
    world.index.setProviderGate(.gmail, nil)
    world.index.setPaused(organisations: [:], domains: [:], pools: [:])
    world.settle()
    for _ in 0..<3000 where world.left.count < added {
      claim()
      _ = world.turn(now: now)
      now += 50
    }
    #expect(world.left.count == added, "seed \(seed): \(added - world.left.count) of \(added) are never picked")
  }
}
