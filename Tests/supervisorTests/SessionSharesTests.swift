import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

/// Sessions that all IPs share: never more than the limit, and every lane with mail gets its turn.
@Suite struct SessionSharesTests {
  /// What `mta1_sessions` does for one host.
  static func answer(_ claim: SessionClaim) -> SessionGrant {
    SessionGrant(granted: max(0, min(claim.wanted, claim.limit - claim.held)), wantedElsewhere: 0)
  }

  static func providers(total: Int, connections: Int = 3) -> ProviderTable {
    var table = LaneIndexTests.providers(connections: connections)
    table.profiles[.yahoo]?.maxConnectionsTotal = total
    return table
  }

  struct World {
    var base: LaneIndexTests.World
    var now: Milliseconds = 1_000_000
    var mostHeld = 0
    /// Lanes that had messages out at the same time.
    var mostSending = 0
    /// IPs whose messages were picked, in order.
    var order: [String] = []

    init(ips: [String], total: Int, connections: Int = 3) {
      base = LaneIndexTests.World(ips: ips, providers: SessionSharesTests.providers(total: total, connections: connections))
    }

    /// A turn of the dispatcher: claims, picks, and with `settles` what was out comes back.
    mutating func turn(settles: Bool = true) {
      for claim in base.index.sessionClaims(now: now) {
        let grant = SessionSharesTests.answer(claim)
        mostHeld = max(mostHeld, claim.held + grant.granted)
        base.index.grant(claim, grant, now: now)
      }
      _ = base.turn(now: now, settles: false)
      for (lane, count) in base.out where count > 0 { order += Array(repeating: lane.ip, count: count) }
      mostSending = max(mostSending, base.out.values.count { $0 > 0 })
      if settles { base.settle() }
      now += 100
    }
  }

  func fill(_ world: inout World, _ ip: String, _ count: Int) {
    world.base.add(
      "o", "\(ip).example", scores: (0..<Int64(count)).map { $0 }, key: "yahoo", provider: .yahoo, set: "ip:\(ip)")
  }

  @Test func aLaneWithoutAPartGetsNothingAndSaysWhy() {
    var world = World(ips: ["ip1", "ip2", "ip3"], total: 2)
    for ip in ["ip1", "ip2", "ip3"] { fill(&world, ip, 20) }
    for _ in 0..<3 { world.turn(settles: false) }
    #expect(world.base.out.keys.count == 2 && world.mostHeld == 2)
    // Twice its one session.
    #expect(world.base.out.values.allSatisfy { $0 == 2 })
    let waiting = ["ip1", "ip2", "ip3"].first { ip in !world.base.out.keys.contains { $0.ip == ip } } ?? ""
    let part = GroupPart(group: Group(set: "ip:\(waiting)", domain: "\(waiting).example"), organisation: "o")
    let gates = world.base.index.gates(of: part, now: world.now)
    #expect(gates.map(\.scope) == [.provider] && gates.map(\.reason) == [.connections] && gates.map(\.key) == ["yahoo"])
    #expect(gates[0].since > 0)
  }

  /// What one lane needs no more another one gets.
  @Test func partsMoveToLanesWithMail() {
    var world = World(ips: ["ip1", "ip2", "ip3"], total: 1)
    for ip in ["ip1", "ip2", "ip3"] { fill(&world, ip, 5) }
    for _ in 0..<100 { world.turn() }
    #expect(world.base.left.count == 15 && world.mostHeld == 1)
  }

  /// A lane that always has mail gives its part up after its turn.
  @Test func nobodyKeepsAPartForGood() {
    var world = World(ips: ["ip1", "ip2"], total: 1)
    fill(&world, "ip1", 10_000)
    for _ in 0..<20 { world.turn() }
    fill(&world, "ip2", 10_000)
    for _ in 0..<400 { world.turn() }
    let shares = ["ip1", "ip2"].map { ip in world.order.count { $0 == ip } }
    #expect(world.mostHeld == 1)
    #expect(shares.allSatisfy { $0 * 3 > world.order.count }, "\(shares)")
  }

  @Test func oneLaneAloneGrowsToItsOwnLimit() {
    var world = World(ips: ["ip1"], total: 10, connections: 3)
    fill(&world, "ip1", 1000)
    for _ in 0..<100 { world.turn(settles: false) }
    #expect(world.mostHeld == 3 && world.base.out.values.reduce(0, +) == 6)
  }

  /// A part that nobody used is given up: its lane has no session until it is granted another.
  @Test func whoGaveItsPartUpAsksAgain() {
    var world = World(ips: ["ip1", "ip2"], total: 1)
    fill(&world, "ip1", 2)
    for _ in 0..<20 { world.turn() }
    #expect(world.base.left.count == 2)
    fill(&world, "ip2", 10)
    for _ in 0..<3 { world.turn(settles: false) }
    #expect(world.base.out.keys.map(\.ip).contains("ip2"))
    let before = world.base.left.count
    fill(&world, "ip1", 2)
    for _ in 0..<3 { world.turn(settles: false) }
    #expect(world.base.left.count == before, "the one session is another's")
    for _ in 0..<200 { world.turn() }
    #expect(world.base.left.count == 14 && world.mostHeld == 1)
  }

  /// A limit that comes while sessions are open counts them, and they end first.
  @Test func aNewLimitCountsWhatIsOpen() {
    var world = World(ips: ["ip1", "ip2"], total: 0)
    for ip in ["ip1", "ip2"] { fill(&world, ip, 100) }
    world.turn(settles: false)
    #expect(world.base.out.count == 2)
    world.base.index.setProviders(Self.providers(total: 1), now: world.now)
    world.turn(settles: false)
    #expect(world.base.index.sessions.granted(LaneID(ip: "ip1", key: "yahoo")) == 0)
    let before = world.base.left.count
    world.turn(settles: false)
    #expect(world.base.left.count == before, "nothing goes while what is open exceeds the limit")
    world.base.settle()
    world.mostHeld = 0
    for _ in 0..<10 { world.turn() }
    #expect(world.mostHeld == 1 && world.base.left.count > before)
    world.base.index.setProviders(Self.providers(total: 0), now: world.now)
    while world.base.turn(now: world.now) > 0 {}
    #expect(world.base.left.count == 200)
  }

  /// At random: IPs, limits, mail and settlements; the sum never exceeds the limit, and all leaves in the end.
  @Test(arguments: 0..<20) func atRandom(seed: Int) {
    var random = SeededGenerator(UInt64(seed))
    let ips = (0..<Int.random(in: 1...6, using: &random)).map { "ip\($0)" }
    let total = Int.random(in: 1...4, using: &random)
    var world = World(ips: ips, total: total, connections: Int.random(in: 1...3, using: &random))
    var added = 0
    for _ in 0..<200 {
      if Int.random(in: 0..<4, using: &random) == 0 {
        let count = Int.random(in: 1...20, using: &random)
        let ip = ips[Int.random(in: 0..<ips.count, using: &random)]
        let scores = (0..<Int64(count)).map { Int64(added) + $0 }
        world.base.add("o\(added % 3)", "\(ip).example", scores: scores, key: "yahoo", provider: .yahoo, set: "ip:\(ip)")
        added += count
      }
      world.turn(settles: Bool.random(using: &random))
    }
    for _ in 0..<1000 where world.base.left.count < added { world.turn() }
    #expect(world.base.left.count == added)
    #expect(world.mostHeld <= total)
    #expect(world.mostSending <= total, "no lane sends without a part")
  }
}
