import Foundation
import Glibc
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Each gate shut on the running product: `explain` names it, and mail leaves when it said.
@Suite(.serialized) struct GateTests {
  func gates(_ mta: MTAFixture, _ id: String) async throws -> [[String: Any]] {
    try await mta.get("/v1/messages/\(id)/explain").json["gates"] as? [[String: Any]] ?? []
  }

  func waitFor(_ reason: String, _ mta: MTAFixture, _ id: String) async throws -> [String: Any] {
    try await eventually("\(id) is held by \(reason)") { try await gates(mta, id).contains { $0["reason"] as? String == reason } }
    return try await gates(mta, id).first { $0["reason"] as? String == reason } ?? [:]
  }

  @Test func aFullWindowAndAnOrganisationsLimit() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers = "other: {defaultRate: 600000, ceiling: 600000, maxConnections: 1}"
    options.environment["OWLAT_LIMITS_ORG_HOURLY"] = "9"
    let isSlow = Locked(true)
    options.script = { moment in
      if case .message = moment { return .reply("250 ok", after: .milliseconds(isSlow.value ? 1500 : 0)) }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    // One session, a window of four: the sixth waits for room, nobody knows until when.
    for index in 0..<6 { try await mta.send("c\(index)", to: "u@\(Zones.domain(0))", org: "limited") }
    let full = try await waitFor("connections", mta, "c5")
    #expect(full["scope"] as? String == "lane" && full["key"] as? String == "127.0.0.21/domain:\(Zones.domain(0))")
    #expect(full["until"] is NSNull)
    isSlow.change { $0 = false }
    try await eventually("the window opened and they left") { mta.receiver.messageIDs("sent").count == 6 }
    // Nine an hour: the tenth waits for the next hour; another organisation does not.
    for index in 6..<11 { try await mta.send("c\(index)", to: "u@\(Zones.domain(1))", org: "limited") }
    let limit = try await waitFor("org_limit", mta, "c10")
    let hour = Int64(Date().timeIntervalSince1970) / 3600 * 3600 + 3600
    let format = ISO8601DateFormatter()
    format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    #expect(limit["key"] as? String == "limited")
    #expect((limit["until"] as? String).flatMap(format.date).map { Int64($0.timeIntervalSince1970) } == hour)
    try await mta.send("free", to: "u@\(Zones.domain(1))", org: "other")
    try await eventually("the other's mail left") { mta.receiver.messageIDs("sent").contains("free") }
    #expect(mta.log.count == 10)
    let all = try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []
    #expect(all.contains { $0["reason"] as? String == "org_limit" && $0["messages"] as? Int == 2 })
    await mta.tearDown()
  }

  /// A run of Redis that not every journal is told to yet: nothing goes out, and `explain` says so.
  @Test func aNewRunOfRedis() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let isHeld = Locked(true)
    let atDot = Locked(0)
    options.script = { moment in
      guard case .message(let message) = moment, message.messageID == "open" else { return nil }
      atDot.change { $0 += 1 }
      return .reply("250 ok", after: .seconds(isHeld.value ? 6 : 0))
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("open", to: "u@\(Zones.domain(0))")
    try await eventually("the first is at its dot") { atDot.value == 1 }
    // It meets the new run when it is let go, which is soon: one that is silent for long is ended.
    let worker = try #require(try mta.workerPIDs().values.first)
    kill(worker, SIGSTOP)
    kill(try mta.redisPID(), SIGKILL)
    try await eventually("it is accepted again", within: .seconds(20)) {
      (try? await mta.send("behind", to: "u@\(Zones.domain(1))")) != nil
    }
    let gate = try await waitFor("redis", mta, "behind")
    kill(worker, SIGCONT)
    #expect(gate["scope"] as? String == "installation" && gate["until"] is NSNull)
    #expect(mta.receiver.messageIDs("sent").isEmpty)
    isHeld.change { $0 = false }
    try await eventually("the journal was told and both are sent", within: .seconds(30)) {
      Set(mta.receiver.messageIDs("sent")) == ["open", "behind"]
    }
    #expect(atDot.value == 1)
    await mta.tearDown()
  }

  /// Content that is not there, or not what its hash says, is never sent empty: held under that reason, and sent when back.
  @Test func contentThatIsAbsent() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await mta.send("hollow", to: "u@\(Zones.domain(0))")
    let key = try mta.redis("KEYS", "*:c:*")
    #expect(try mta.redis("RENAME", key, "aside") == "OK")
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    let gate = try await waitFor("content", mta, "hollow")
    #expect(gate["scope"] as? String == "message" && gate["key"] as? String == "hollow")
    #expect(mta.log.count == 0 && mta.receiver.all.isEmpty)
    #expect(try mta.redis("RENAME", "aside", key) == "OK")
    try await eventually("it is sent when the content is back", within: .seconds(90)) { mta.receiver.messageIDs("sent") == ["hollow"] }
    await mta.tearDown()
  }

  /// A resolver that cannot say: mail is held with that reason; no one is bounced or suppressed for it.
  @Test func DNSThatDoesNotKnow() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("nowhere", to: "u@not-served.example")
    let gate = try await waitFor("dns", mta, "nowhere")
    #expect(gate["scope"] as? String == "domain" && gate["key"] as? String == "not-served.example")
    try await eventually("it is known when DNS is asked again") { try await gates(mta, "nowhere").first?["until"] is String }
    #expect(mta.receiver.all.isEmpty)
    #expect(try await mta.get("/v1/messages/nowhere/explain").json["state"] as? String == "queued")
    await mta.tearDown()
  }
}
