import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Blocklists, identity and warming on the running product, with a real name server.
@Suite(.serialized) struct ReputationTests {
  static let list = "bl.example.org"
  static let testPoint = "2.0.0.127 IN A 127.0.0.2"

  struct Rig {
    let dns: NameServer
    let mta: MTAFixture
    /// Who connected, and when (ms).
    let connects: Locked<[(peer: String, at: Int64)]>

    init(
      pools: [String: [String]] = ["transactional": ["127.0.0.21", "127.0.0.22"]], reputation: String, zones: [String: [String]] = [:],
      extra: String = "", warmed: Bool = true
    ) async throws {
      dns = try await NameServer(zones: Zones.separate(2).merging(zones) { $1 }, ttl: 1)
      let connects = Locked<[(peer: String, at: Int64)]>([])
      self.connects = connects
      var options = MTAFixture.Options()
      options.dns = dns
      options.pools = pools
      options.reputation = reputation
      options.extra = extra
      options.isWarmed = warmed
      // Sessions of one message: each message is a new connection.
      options.providers = "other: {defaultRate: 600000, ceiling: 600000, maxConnections: 2, maxDeliveriesPerConnection: 1}"
      options.script = { moment in
        if case .connect(let peer, _) = moment { connects.change { $0.append((peer, Int64(Date().timeIntervalSince1970 * 1000))) } }
        return nil
      }
      mta = try await MTAFixture(options)
      try await mta.start()
      try await mta.registerDKIM("sender.example")
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
    }

    func ip(_ address: String) throws -> [String: Any] {
      let rows = try JSONSerialization.jsonObject(with: Data(mta.command("ip", "list", "--json").output.utf8)) as? [[String: Any]] ?? []
      return rows.first { $0["address"] as? String == address } ?? [:]
    }

    func gates() async throws -> [[String: Any]] { try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? [] }
  }

  /// Listed: gate shut within a second, mail goes on by the other IP, nothing lost or twice; delisted: probation; both listed:
  /// mail is held, told once, also after `kill -9`.
  @Test func aListedIPIsPulledAndComesBackThroughProbation() async throws {
    let rig = try await Rig(
      reputation: "dnsbl: { interval: 1s, zones: [ {zone: \(Self.list), severity: critical} ] }\nidentity: { require: false }",
      zones: [Self.list: [Self.testPoint]])
    let sent = Locked(0)
    let isRunning = Locked(true)
    let load = Task {
      while isRunning.value {
        let index = sent.value
        try await rig.mta.send("m\(index)", to: "u\(index)@\(Zones.domain(index % 2))", org: "o")
        sent.change { $0 += 1 }
      }
    }
    try await eventually("both IPs send") { Set(rig.connects.value.map(\.peer)).count == 2 }
    try rig.dns.change(Self.list, [Self.testPoint, "21.0.0.127 IN A 127.0.0.2"])
    try await eventually("it is told") { rig.mta.receiver.all.contains { $0.event == "ip.blocklisted" } }
    let event = try #require(rig.mta.receiver.all.first { $0.event == "ip.blocklisted" })
    #expect(event.fields["ip"] == "127.0.0.21" && event.fields["severity"] == "critical")
    let at = try #require(event.fields["timestamp"].flatMap { Int64($0) })
    let before = sent.value
    try await eventually("mail goes on") { sent.value > before + 100 && rig.mta.receiver.messageIDs("sent").count > before + 50 }
    let last = rig.connects.value.last { $0.peer == "127.0.0.21" }?.at ?? 0
    #expect(last - at < 1000, "the last connection came \(last - at) ms after the sweep's answer")
    let row = try rig.ip("127.0.0.21")
    #expect(row["state"] as? String == "pulled" && (row["reason"] as? String)?.contains(Self.list) == true)
    isRunning.change { $0 = false }
    try await load.value
    try await eventually("all arrived") { rig.mta.receiver.messageIDs("sent").count == sent.value }
    #expect(rig.mta.log.count == sent.value && Set(rig.mta.log.all.map(\.messageID)).count == sent.value)

    try rig.dns.change(Self.list, [Self.testPoint])
    try await eventually("it comes back through probation", within: .seconds(30)) {
      try rig.ip("127.0.0.21")["state"] as? String == "probation"
    }
    #expect(rig.mta.receiver.all.contains { $0.event == "ip.delisted" })
    #expect((try rig.ip("127.0.0.21")["warming"] as? [String: Any])?["cap"] as? Int ?? 0 > 0)

    try rig.dns.change(Self.list, [Self.testPoint, "21.0.0.127 IN A 127.0.0.2", "22.0.0.127 IN A 127.0.0.3"])
    try await eventually("all are blocked", within: .seconds(30)) { rig.mta.receiver.all.contains { $0.event == "all_ips_blocked" } }
    try await rig.mta.send("held", to: "u@\(Zones.domain(0))", org: "o")
    func held() async throws -> [String] {
      try await rig.gates().filter { $0["reason"] as? String == "blocklisted" }.map { "\($0["key"] ?? "") \($0["since"] ?? "")" }.sorted()
    }
    try await eventually("its gates are shut") { try await held().count == 2 }
    let shut = try await held()
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await eventually("the same gates since the same time") { try await held() == shut }
    #expect(!rig.mta.receiver.messageIDs("sent").contains("held"))
    #expect(rig.mta.receiver.all.filter { $0.event == "all_ips_blocked" }.count == 1)
    let reputation = try await rig.mta.get("/ip-reputation")
    #expect(reputation.body.contains("\"source\":\"dnsbl_listed\"") && reputation.body.contains("\"blockReasons\":[\"dnsbl\"]"))
    // An operator knows better.
    #expect(try rig.mta.command("ip", "restore", "127.0.0.22").code == 0)
    try await eventually("it is sent") { rig.mta.receiver.messageIDs("sent").contains("held") }
    await rig.end()
  }

  /// A list that is dead, lists the world, or answers errors pulls nobody.
  @Test func aBrokenListPullsNobody() async throws {
    let rig = try await Rig(
      reputation:
        "dnsbl: { interval: 1s, zones: [ {zone: \(Self.list), severity: critical}, {zone: world.example.org, severity: critical} ] }\n"
        + "identity: { require: false }",
      zones: [Self.list: ["21.0.0.127 IN A 127.0.0.2"], "world.example.org": ["* IN A 127.0.0.2"]])
    try await eventually("both lists were looked at") { rig.mta.logText().components(separatedBy: "fails its test points").count == 3 }
    #expect(try rig.ip("127.0.0.21")["state"] as? String == "active")
    try await rig.mta.send("m", to: "u@\(Zones.domain(0))", org: "o")
    try await eventually("mail leaves") { rig.mta.receiver.messageIDs("sent") == ["m"] }
    #expect(!rig.mta.receiver.all.contains { $0.event == "ip.blocklisted" })
    await rig.end()
  }

  /// An IP whose PTR does not lead back to its EHLO name sends nothing; one whose does is active.
  @Test func anIPIsWhoItSays() async throws {
    let rig = try await Rig(
      reputation: "dnsbl: { zones: [] }\nidentity: { require: true }",
      zones: [
        "0.127.in-addr.arpa": ["21.0 IN PTR e127-0-0-21.mta.example.", "22.0 IN PTR other.mta.example."],
        "mta.example": ["e127-0-0-21 IN A 127.0.0.21", "other IN A 127.0.0.22"],
      ])
    try await eventually("one is pulled") { try rig.ip("127.0.0.22")["state"] as? String == "pulled" }
    #expect((try rig.ip("127.0.0.22")["reason"] as? String)?.hasPrefix("identity") == true)
    #expect(try rig.ip("127.0.0.21")["state"] as? String == "active")
    for index in 0..<10 { try await rig.mta.send("m\(index)", to: "u\(index)@\(Zones.domain(0))", org: "o") }
    try await eventually("mail leaves") { rig.mta.receiver.messageIDs("sent").count == 10 }
    #expect(Set(rig.mta.log.all.map(\.peer)) == ["127.0.0.21"])
    let one = try await rig.mta.get("/ip-reputation/127.0.0.22").body
    #expect(one.contains("\"verdict\":\"fail\"") && one.contains("\"reason\":\"ehlo-mismatch\""))
    await rig.end()
  }

  /// A day's counters belong to that day.
  static var isFarFromMidnight: Bool { 86_400 - Int(Date().timeIntervalSince1970) % 86_400 > 180 }

  /// The day's cap is never overshot, not by concurrency and not by `kill -9`; a deferral gives its place back.
  @Test(.enabled(if: isFarFromMidnight)) func aWarmingIPKeepsItsCap() async throws {
    let rig = try await Rig(
      pools: ["transactional": ["127.0.0.21"]], reputation: "dnsbl: { zones: [] }\nidentity: { require: false }",
      extra: "warming: { schedule: {1: 12} }\n", warmed: false)
    #expect(try rig.ip("127.0.0.21")["state"] as? String == "warming")
    try await rig.mta.sendAll(
      (0..<20).map { (id: "m\($0)", to: "u\($0)@\(Zones.domain($0 % 2))", org: "o\($0 % 3)", pool: "transactional") })
    try await eventually("the cap is reached") { rig.mta.receiver.messageIDs("sent").count == 12 }
    func cap() async throws -> [String] {
      try await rig.gates().filter { $0["reason"] as? String == "warming_cap" }.map { "\($0["key"] ?? "") \($0["until"] ?? "")" }
    }
    try await eventually("the IP is shut until midnight") { try await cap().first?.hasSuffix("T00:00:00.000Z") == true }
    // What the cap holds has cost its organisations nothing.
    var charged = 0
    for organisation in ["o0", "o1", "o2"] {
      charged += try await rig.mta.get("/org-limits/\(organisation)").json["dailySent"] as? Int ?? 0
    }
    #expect(charged == 12)
    let shut = try await cap()
    let warming = try #require(try rig.ip("127.0.0.21")["warming"] as? [String: Any])
    #expect(warming["day"] as? Int == 1 && warming["cap"] as? Int == 12 && warming["sent"] as? Int == 12)
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await rig.mta.send("late", to: "late@\(Zones.domain(0))", org: "o")
    try await eventually("the same gate") { try await cap() == shut }
    #expect(rig.mta.log.count == 12)
    // An operator who knows better: another day of the schedule, then none.
    #expect(try rig.mta.command("ip", "warming", "127.0.0.21", "--day", "400").code == 2)
    #expect(try await rig.mta.call("POST", "/v1/ips/127.0.0.21/warming", body: "{\"day\":40}").status == 200)
    try await eventually("all leave") { rig.mta.log.count == 21 }
    #expect(try rig.mta.command("ip", "warming", "127.0.0.21", "--reset").code == 0)
    #expect((try rig.ip("127.0.0.21")["warming"] as? [String: Any])?["day"] as? Int == 1)
    await rig.end()
  }

  /// Campaign mail is spread over the day and leaves room; transactional mail of the same IP does not wait for that.
  @Test(.enabled(if: isFarFromMidnight)) func campaignMailIsPaced() async throws {
    let rig = try await Rig(
      pools: ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.21"]],
      reputation: "dnsbl: { zones: [] }\nidentity: { require: false }", extra: "warming: { schedule: {1: 300} }\n", warmed: false)
    try await rig.mta.sendAll((0..<300).map { (id: "c\($0)", to: "u\($0)@\(Zones.domain($0 % 2))", org: "o", pool: "campaign") })
    try await eventually("campaign mail is held") { try await rig.gates().contains { $0["reason"] as? String == "warming_pacing" } }
    for index in 0..<10 { try await rig.mta.send("t\(index)", to: "t\(index)@\(Zones.domain(0))", org: "o") }
    try await eventually("transactional mail leaves") { rig.mta.receiver.messageIDs("sent").filter { $0.hasPrefix("t") }.count == 10 }
    let campaign = rig.mta.log.all.filter { $0.messageID.hasPrefix("c") }.count
    // A fifth of the cap is kept free.
    #expect((100...240).contains(campaign))
    await rig.end()
  }
}
