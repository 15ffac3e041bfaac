import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Every learnt gate at once, over `kill -9`.
@Suite(.serialized) struct GateMemoryTests {
  static let list = "bl.example.org"
  static let testPoint = "2.0.0.127 IN A 127.0.0.2"
  static let learnt: Set<String> = ["breaker", "throttle", "connection_backoff", "smtp_response", "blocklisted", "warming_cap"]

  /// A breaker open, a throttle lowered, a warming day half used (and another used up), a connection back-off running, a
  /// provider in trouble, an IP listed: after the supervisor's end the same gates stand, each with the same times, and half
  /// a day is half a day.
  @Test func theSameGatesStandAfterAnEnd() async throws {
    let zones = [
      "test-zone.example": Zones.separate(2)["test-zone.example", default: []]
        + ["dead IN MX 10 deadmx", "deadmx IN A 127.0.0.99", "y0 IN MX 10 mx1.yahoodns.net.", "y1 IN MX 10 mx1.yahoodns.net."]
        + ["g0 IN MX 10 mx1.mimecast.com.", "g1 IN MX 10 mx1.mimecast.com.", "g2 IN MX 10 mx1.mimecast.com."],
      "yahoodns.net": ["mx1 IN A 127.0.0.1"], "mimecast.com": ["mx1 IN A 127.0.0.1"], Self.list: [Self.testPoint],
    ]
    let dns = try await NameServer(zones: zones, ttl: 1)
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["careless": ["127.0.0.22"], "listed": ["127.0.0.23"], "transactional": ["127.0.0.21", "127.0.0.24"]]
    options.isWarmed = false
    options.reputation = "dnsbl: { interval: 1s, zones: [ {zone: \(Self.list), severity: critical} ] }\nidentity: { require: false }"
    options.providers =
      "other: {defaultRate: 600000, ceiling: 600000}, yahoo: {defaultRate: 60000, ceiling: 60000, mx: [yahoodns.net]}, "
      + "mimecast: {defaultRate: 60000, ceiling: 60000, mx: [mimecast.com]}"
    options.extra = "retry: { delays: [1m, 5m], jitter: 0 }\n"
    options.script = { moment in
      guard case .rcpt(let recipient) = moment else { return nil }
      if recipient.hasPrefix("bad") { return .reply("550 5.1.1 no such user") }
      if recipient.hasPrefix("fast") { return .reply("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume") }
      if recipient.hasPrefix("sick") { return .reply("451 4.3.0 Temporary system problem. Try again later") }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    func gates(_ reasons: Set<String>) async throws -> [String] {
      (try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []).filter { reasons.contains($0["reason"] as? String ?? "") }
        .map { row in
          // When a day's cap was reached is not kept.
          let names = ["scope", "key", "reason", "until"] + (row["reason"] as? String == "warming_cap" ? [] : ["since"])
          return names.map { "\(row[$0] ?? "")" }.joined(separator: " ")
        }.sorted()
    }
    func sent(_ ip: String) throws -> Int {
      let rows = try JSONSerialization.jsonObject(with: Data(mta.command("ip", "list", "--json").output.utf8)) as? [[String: Any]] ?? []
      return (rows.first { $0["address"] as? String == ip }?["warming"] as? [String: Any])?["sent"] as? Int ?? -1
    }

    // Fifty bounces: the breaker opens, and that IP's first day is used up.
    try await mta.sendAll((0..<50).map { (id: "b\($0)", to: "bad\($0)@\(Zones.domain($0 % 2))", org: "careless", pool: "careless") })
    try await eventually("the breaker opened") { mta.receiver.all.contains { $0.event == "org.circuit_breaker" } }
    try await mta.send("behind", to: "u@\(Zones.domain(0))", org: "careless", pool: "careless")
    try await mta.send("capped", to: "u@\(Zones.domain(0))", org: "o", pool: "careless")
    // Half a day of the others.
    for index in 0..<40 { try await mta.send("w\(index)", to: "w\(index)@\(Zones.domain(1))", org: "o") }
    try await eventually("forty are sent") { mta.receiver.messageIDs("sent").count == 40 }
    // Two lanes learn to be slow, whichever mail goes by.
    func isSlow(_ ip: String) throws -> Bool {
      let row = try mta.redis("HGET", "{mta}:policy", "rate:\(ip)/yahoo").split(separator: " ")
      return row.count > 1 && Double(row[1]) ?? 60_000 < 60_000
    }
    var fast = 0
    try await eventually("both are slow", within: .seconds(20)) {
      if try isSlow("127.0.0.21"), try isSlow("127.0.0.24") { return true }
      try await mta.send("f\(fast)", to: "fast\(fast)@y\(fast % 2).test-zone.example", org: "o")
      fast += 1
      return false
    }
    // Two domains of a provider are in trouble, the third waits for it.
    for index in 0..<6 { try await mta.send("s\(index)", to: "sick\(index)@g\(index % 2).test-zone.example", org: "o") }
    try await mta.send("dead1", to: "u@dead.test-zone.example", org: "o")
    try await eventually("they were tried", within: .seconds(20)) {
      let deferred = Set(mta.receiver.messageIDs("deferred"))
      return deferred.contains("dead1") && deferred.count { $0.hasPrefix("s") } >= 5
    }
    try await mta.send("dead2", to: "v@dead.test-zone.example", org: "o")
    try await mta.send("g", to: "u@g2.test-zone.example", org: "o")
    for index in 0..<4 { try await mta.send("y\(index)", to: "u\(index)@y0.test-zone.example", org: "o") }
    try dns.change(Self.list, [Self.testPoint, "23.0.0.127 IN A 127.0.0.2"])
    try await eventually("it is listed") { mta.receiver.all.contains { $0.event == "ip.blocklisted" } }
    try await mta.send("l", to: "u@\(Zones.domain(0))", org: "o", pool: "listed")
    try await eventually("all of them are shut", within: .seconds(20)) {
      let all = try await gates(Self.learnt)
      return Self.learnt.allSatisfy { reason in all.contains { $0.contains(" \(reason) ") } }
    }
    // What was tried and did not go is given back to its day.
    try await eventually("nothing is under way") { try sent("127.0.0.21") + sent("127.0.0.24") == 40 }
    let before = try await gates(Self.learnt)
    let used = try (sent("127.0.0.21"), sent("127.0.0.24"))
    #expect(used.0 > 0 && used.1 > 0, "\(used)")
    #expect(before.filter { $0.hasPrefix("provider mimecast smtp_response") }.count == 1)

    try await mta.killSupervisor()
    try await mta.start()
    try await eventually("the same gates with the same times", within: .seconds(20)) { try await gates(Self.learnt) == before }
    #expect(try sent("127.0.0.21") == used.0 && sent("127.0.0.24") == used.1)
    #expect(try isSlow("127.0.0.21") && isSlow("127.0.0.24"))
    // What is left of the day goes, and no more.
    for index in 0..<70 { try await mta.send("x\(index)", to: "x\(index)@\(Zones.domain(1))", org: "o") }
    // An event that was not acknowledged before the end may be told again.
    func sentInAll() -> Int { Set(mta.receiver.messageIDs("sent")).count }
    try await eventually("the rest of the day goes") { sentInAll() == 100 }
    try await eventually("both IPs have had their day") { try await gates(["warming_cap"]).count == 3 }
    #expect(sentInAll() == 100)
    await mta.tearDown()
  }
}
