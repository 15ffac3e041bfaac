import DeliveryPolicy
import MTAConfig
import MailModel
import Testing

@testable import supervisor

/// What a reload finds different, and what operators' orders make of a file.
@Suite struct ReloadTests {
  static let yaml = """
    hostname: mta.example
    state_dir: /var/lib/x
    api: { listen: "127.0.0.1:3100", master_key: first-master-key }
    bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
    webhooks: [ { url: "https://user:pass@a.example/hook?key=hidden", secret: one } ]
    limits: { org_daily: 10 }
    pools:
      transactional: { ips: [127.0.0.21, { address: 127.0.0.22, ehlo: two.example }] }
      campaign: { ips: [127.0.0.23] }
    """

  static func config(_ changes: [(String, String)] = []) throws -> MTAConfig {
    let text = changes.reduce(yaml) { $0.replacing($1.0, with: $1.1) }
    let report = MTAConfig.read(yaml: text, environment: [:], hostName: "h.example", readFile: { _ in nil })
    return try #require(report.config, "\(report.problems)")
  }

  static func difference(_ changes: (String, String)...) throws -> ConfigDifference {
    ConfigDifference(from: try config(), to: try config(changes))
  }

  @Test func aFileThatStaysHasNoDifference() throws { #expect(try Self.difference().isEmpty) }

  @Test(arguments: [
    ("limits: { org_daily: 10 }", "limits: { org_daily: 11 }", ["limits.org_daily: 10 → 11"]),
    ("first-master-key", "other-master-key", ["api.master_key: changed"]),
    ("limits:", "retry: { delays: [1s] }\nlimits:", ["retry.delays: [30s, 2m, 8m, 30m, 2h] → [1s]"]),
    ("limits:", "providers: { gmail: { maxConnections: 7 } }\nlimits:", ["providers.gmail: changed"]),
    ("limits:", "identity: { require: false }\nlimits:", ["identity.require: true → false"]),
    ("limits:", "dnsbl: { zones: [], interval: 1h }\nlimits:", ["dnsbl.interval: 15m → 1h", "dnsbl.zones: 0 zones"]),
    ("limits:", "warming: { min_sample: 7 }\nlimits:", ["warming: changed"]),
    ("limits:", "breaker: { open: 1m }\nlimits:", ["breaker.open: 30m → 1m"]),
    ("secret: one", "secret: two", ["webhooks: https://a.example/hook changed"]),
    ("webhooks: [ {", "webhooks: [ { url: \"https://b.example/x\", secret: s }, {", ["webhooks: https://b.example/x added"]),
    ("ips: [127.0.0.23]", "ips: [127.0.0.23, 127.0.0.21]", ["pools.campaign: 127.0.0.21 added"]),
    ("[127.0.0.23]", "[127.0.0.24]", ["pools.campaign: 127.0.0.24 added", "pools.campaign: 127.0.0.23 removed"]),
    ("ehlo: two.example", "ehlo: other.example", ["pools: 127.0.0.22: ehlo two.example → other.example"]),
  ])
  func whatChangesIsSaid(old: String, new: String, changes: [String]) throws {
    let difference = try Self.difference((old, new))
    #expect(difference.changes == changes)
    #expect(difference.needsRestart.isEmpty)
  }

  @Test(arguments: [
    ("/var/lib/x", "/var/lib/y", "state_dir"), ("mta.example", "m.example", "hostname"), (":3100", ":3101", "api.listen"),
    ("limits:", "redis: { prefix: other }\nlimits:", "redis.prefix"), ("limits:", "smtp: { port: 26 }\nlimits:", "smtp.port"),
    ("limits:", "runtime_dir: /run/y\nlimits:", "runtime_dir"), ("limits:", "dns: { servers: [127.0.0.1] }\nlimits:", "dns.servers"),
    ("0123456789abcdef0", "0123456789abcdef1", "bounce.verp_key"), ("limits: {", "limits: { queue_max_mib: 9,", "limits.queue_max_mib"),
    ("limits:", "redis: { password: x }\nlimits:", "redis.password"),
    ("limits:", "secret: \"0123456789abcdef0123456789abcdef\"\nlimits:", "secret"),
    ("limits:", "providers: { gmail: { mx: [x.example] } }\nlimits:", "providers.gmail.mx"),
  ])
  func whatNeedsARestartIsNamed(old: String, new: String, key: String) throws {
    #expect(try Self.difference((old, new)).needsRestart == [key])
  }

  @Test func workersAreNamedThatComeGoAndStartAnew() throws {
    let difference = try Self.difference(
      ("127.0.0.21, ", ""), ("ehlo: two", "ehlo: three"), ("ips: [127.0.0.23]", "ips: [127.0.0.23, 127.0.0.25]"))
    #expect(difference.added == ["127.0.0.25"] && difference.removed == ["127.0.0.21"] && difference.renamed == ["127.0.0.22"])
    #expect(difference.hasOtherPools)
    // An address that moves between pools neither comes nor goes.
    let moved = try Self.difference(("127.0.0.21, ", ""), ("ips: [127.0.0.23]", "ips: [127.0.0.23, 127.0.0.21]"))
    #expect(moved.added.isEmpty && moved.removed.isEmpty && moved.hasOtherPools)
  }

  // MARK: orders

  private static func refusal(_ orders: OperatorOrders, _ new: OperatorOrders.NewIP) throws -> String? {
    var orders = orders
    let file = try config()
    do {
      _ = try orders.add(new, to: file)
      return nil
    } catch { return error.text }
  }

  @Test func badInputNamesItsField() throws {
    var ip = OperatorOrders.NewIP(address: "nonsense", pool: "campaign")
    #expect(try Self.refusal(OperatorOrders(), ip) == "address must be an IP address")
    ip.address = "127.0.0.9"
    ip.pool = "none"
    #expect(try Self.refusal(OperatorOrders(), ip) == "pool must be one of: transactional, campaign")
    ip.pool = "campaign"
    ip.ehlo = "no host"
    #expect(try Self.refusal(OperatorOrders(), ip) == "ehlo must be a host name")
    ip.ehlo = nil
    ip.public = "x"
    #expect(try Self.refusal(OperatorOrders(), ip) == "public must be an IP address")
    ip.public = nil
    ip.address = "127.0.0.23"
    #expect(try Self.refusal(OperatorOrders(), ip) == "127.0.0.23 is in pool campaign already")
    ip.address = "127.0.0.22"
    ip.ehlo = "x.example"
    #expect(try Self.refusal(OperatorOrders(), ip) == "ehlo must be two.example, as it is known already")
  }

  @Test func ordersStandOverTheFile() throws {
    let file = try Self.config()
    var orders = OperatorOrders()
    orders.pulled["127.0.0.21"] = .init(since: 1, reason: "r")
    #expect(try orders.add(.init(address: "127.0.0.9", pool: "campaign", ehlo: "Nine.example", warmed: true), to: file) == "127.0.0.9")
    #expect(try orders.remove("127.0.0.21", from: file) == "127.0.0.21")
    #expect(orders.pulled.isEmpty, "a pull ends with the IP")
    var config = orders.over(file).config
    #expect(config.addressesByPool == ["transactional": ["127.0.0.22"], "campaign": ["127.0.0.23", "127.0.0.9"]])
    #expect(config.sourceIPs.last == .init(address: "127.0.0.9", publicAddress: "127.0.0.9", ehloName: "nine.example", isWarmed: true))
    // An address of the file comes back as the file has it, without an order that would stay.
    _ = try orders.add(.init(address: "127.0.0.21", pool: "transactional"), to: file)
    #expect(orders.removed.isEmpty && orders.added.keys.sorted() == ["127.0.0.9"])
    // In a second pool, with the settings it has.
    _ = try orders.add(.init(address: "127.0.0.22", pool: "campaign"), to: file)
    config = orders.over(file).config
    #expect(config.pools(of: "127.0.0.22") == ["transactional", "campaign"] && config.sourceIPs.count == 4)
    // A pool that the file lost.
    let (without, problems) = orders.over(try Self.config([("campaign: {", "bulk: {")]))
    #expect(problems.map(\.key) == ["pools.campaign", "pools.campaign"] && !without.sourceIPs.contains { $0.address == "127.0.0.9" })
  }

  @Test func theLastIPStays() throws {
    let file = try Self.config()
    var orders = OperatorOrders()
    for address in ["127.0.0.21", "127.0.0.22"] { _ = try orders.remove(address, from: file) }
    #expect(throws: APIError(status: 409, text: "127.0.0.23 is the last IP: add another first")) {
      try orders.remove("127.0.0.23", from: file)
    }
    #expect(throws: APIError(status: 404, text: "9.9.9.9 is not an address of this installation")) {
      try orders.remove("9.9.9.9", from: file)
    }
  }

  // MARK: the dispatcher's index

  @Test func waitingMailFindsANewIPAndLeavesAnOldOne() {
    var world = LaneIndexTests.World(ips: ["ip1"])
    world.index.setIP("ip1", isOpen: false)
    world.add("o", "a.example", scores: [1, 2, 3])
    #expect(world.turn() == 0, "nobody is open")
    #expect(world.index.setPools(["p": ["ip1", "ip2"]]).isEmpty)
    world.index.setIP("ip2", isOpen: true)
    #expect(world.turn() > 0 && world.out.keys.allSatisfy { $0.ip == "ip2" })
    while world.turn() > 0 {}
    #expect(world.left.map(\.score) == [1, 2, 3])
    world.index.setIP("ip1", isOpen: true)
    #expect(world.index.setPools(["p": ["ip1"], "q": []]) == ["ip2"])
    world.index.setIP("ip2", isOpen: false)
    world.add("o", "a.example", scores: [4])
    while world.turn() > 0 {}
    #expect(world.left.map(\.score) == [1, 2, 3, 4])
    #expect(!world.index.lanes.keys.contains { $0.ip == "ip2" && world.index.lanes[$0]?.out == 0 })
  }
}
