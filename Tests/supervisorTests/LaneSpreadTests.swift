import DeliveryPolicy
import MailModel
import Redis
import Testing

@testable import supervisor

/// In which of a set's lanes mail waits.
@Suite struct LaneSpreadTests {
  static let ips = (1...16).map { "ip\($0)" }

  /// Mail that an IP can take waits in one lane, not in one of each IP.
  @Test func mailWaitsInOneLaneWhileItIsOpen() {
    var world = LaneIndexTests.World(ips: Self.ips)
    for domain in 0..<500 { world.add("A", "d\(domain).example", scores: [1, 2, 3]) }
    #expect(world.index.lanes.count == 500)
    while world.turn() > 0 {}
    #expect(world.left.count == 1500)
    #expect(world.index.lanes.count <= 1500)
  }

  /// One call uses the windows of all IPs; what they leave waits in each of them, and whichever opens first takes it.
  @Test func aLaneThatShutsPassesItsMailOn() {
    var world = LaneIndexTests.World(ips: Self.ips)
    world.add("A", "a.example", scores: (0..<1000).map { Int64($0) })
    #expect(world.turn(settles: false) == 16)
    #expect(world.left.count == 160)
    #expect(world.out.values.allSatisfy { $0 == 10 })
    #expect(world.turn(settles: false) == 0)
    for ip in Self.ips.shuffled().prefix(5) {
      let lane = LaneID(ip: ip, key: "domain:a.example")
      world.index.release(1, of: lane)
      world.out[lane] = 9
      let before = world.left.count
      #expect(world.turn(settles: false) == 1)
      #expect(world.left.count == before + 1 && world.out[lane] == 10)
    }
  }

  /// A shut IP, one that has spent what it may send, one that a provider blocks, one that keeps a set back for now: the last
  /// one takes the mail, in the same call.
  @Test(arguments: 0..<8) func theIPThatIsLeftIsFoundAtOnce(turn: Int) {
    var world = LaneIndexTests.World(ips: ["ip1", "ip2", "ip3", "ip4", "ip5"])
    let lane = LaneID(ip: "ip3", key: "gmail")
    world.index.setIP("ip1", isOpen: false)
    world.index.limit("ip2", to: 0, gate: LaneIndexTests.cap)
    var rate = AdaptiveRate(world.index.providers[.gmail])
    rate.throttled(world.index.providers[.gmail], pause: 3_600_000, now: 1_000_000)
    world.index.setRate(lane, rate, now: 1_000_000)
    world.index.setClosedSet("pool:p", of: "ip4", LaneIndexTests.cap)
    world.index.limit("ip5", to: 100, gate: LaneIndexTests.cap)
    for domain in 0...turn { world.add("A", "d\(domain).example", scores: [1], key: "gmail", provider: .gmail) }
    let picks = world.index.nextPicks(limit: 64, now: 1_000_000)
    #expect(picks.count == turn + 1)
    #expect(picks.allSatisfy { $0.lane.ip == "ip5" })
  }

  /// Many IPs that may each send little: every organisation gets its part of all that they may send, however many groups
  /// another has.
  @Test func limitedIPsTogetherServeOrganisationsInTurn() {
    let ips = (1...8).map { "ip\($0)" }
    var world = LaneIndexTests.World(ips: ips)
    for ip in ips { world.index.limit(ip, to: 30, gate: LaneIndexTests.cap) }
    for domain in 0..<400 { world.add("big", "d\(domain).example", scores: (0..<5).map { Int64($0) }) }
    for name in ["s1", "s2"] { world.add(name, "\(name).example", scores: (0..<300).map { Int64(1000 + $0) }) }
    while world.turn() > 0 {}
    #expect(world.left.count == 240)
    for name in ["big", "s1", "s2"] {
      let count = world.left.count { $0.organisation == name }
      #expect(abs(count - 80) <= 8, "\(name): \(count) of 240")
    }
  }

  /// Lanes at rest are forgotten a few with each call; those in use are not.
  @Test func lanesAtRestAreForgotten() {
    var world = LaneIndexTests.World(ips: ["ip1"])
    let count = world.index.lanesKept + 2000
    world.add("A", "kept.example", scores: [1])
    #expect(world.turn(settles: false) == 1)
    for domain in 0..<count { world.add("A", "d\(domain).example", scores: [1]) }
    while world.turn(settles: false) > 0 {}
    #expect(world.index.lanes.count == count + 1)
    let kept = LaneID(ip: "ip1", key: "domain:kept.example")
    world.out[kept] = nil
    world.settle()
    var before = world.index.lanes.count
    while world.index.lanes.count > world.index.lanesKept {
      _ = world.index.nextPicks(limit: 64, now: 2_000_000)
      let after = world.index.lanes.count
      #expect(after < before && before - after <= 256)
      guard after < before else { return }
      before = after
    }
    #expect(world.index.lanes[kept]?.out == 1)
  }
}
