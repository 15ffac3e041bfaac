import Foundation
import SMTPServer
import TestSupport
import Testing

/// Mail to postmaster: answered 250 once, then with the person behind it or kept for them.
@Suite(.serialized) struct PostmasterTests {
  static let boss = "boss@d0.test-zone.example"
  static let mail = "From: somebody@remote.example\r\nSubject: Your mail\r\n\r\nstop it\r\n"

  /// Suppression, limits and pauses are tenants'.
  @Test func noTenantsPolicyStandsBeforeIt() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await FeedbackLoopTests.start(0, dns: dns) { $0.bounce += ", postmaster: \(Self.boss)" }
    #expect(try await mta.call("POST", "/suppression", body: "{\"emails\":[\"\(Self.boss)\"]}").status == 200)
    for name in ["system", "__postmaster__"] {
      #expect(try await mta.call("POST", "/org-limits", body: "{\"organizationId\":\"\(name)\",\"hourlyLimit\":0}").status == 200)
    }
    #expect(try FeedbackLoopTests.deliver(Self.mail, to: "abuse@bounces.test.example", port: port, mta).last?.hasPrefix("data 250") == true)
    try await eventually("it arrives") { mta.log.count == 1 }
    #expect(mta.log.all[0].recipients == [Self.boss])
    try await eventually("nothing of it is kept") {
      try await mta.get("/metrics").body.contains("mta_inbound_waiting{state=\"relaying\"} 0")
    }
    // Nobody else has these names.
    for name in ["system", "__postmaster__"] {
      for (path, body) in [
        ("/send", MTAFixture.body("m", to: Self.boss, org: name)),
        ("/send/batch", "{\"messages\":[\(MTAFixture.body("m", to: Self.boss, org: name))]}"),
        ("/credentials", "{\"organizationId\":\"\(name)\",\"name\":\"n\"}"),
      ] {
        let answer = try await mta.call("POST", path, body: body)
        #expect(
          !answer.body.contains("\"success\":true") && answer.body.contains("organizationId must not be \(name)"), "\(path): \(answer.body)"
        )
      }
    }
    let system = MTAFixture.body("sys", to: "u@d0.test-zone.example", org: "system")
    #expect(try await mta.call("POST", "/send/system", body: system).status == 200)
    await mta.tearDown()
  }

  /// What cannot be relayed is held, told, and can be tried again.
  @Test func whatIsRefusedIsHeld() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let isRefusing = Locked(true)
    let (mta, port) = try await FeedbackLoopTests.start(0, dns: dns) {
      $0.bounce += ", postmaster: \(Self.boss)"
      $0.script = { moment in
        if case .rcpt = moment, isRefusing.value { return .reply("550 5.1.1 no such user") }
        return nil
      }
    }
    #expect(
      try FeedbackLoopTests.deliver(Self.mail, to: "postmaster", from: "somebody@remote.example", port: port, mta).last?.hasPrefix(
        "data 250") == true)
    var id = ""
    func held() async throws -> [[String: Any]] { try await mta.get("/v1/inbound/held").json["mails"] as? [[String: Any]] ?? [] }
    for round in 1...2 {
      try await eventually("it is held") { try await held().count == 1 }
      let row = try #require(try await held().first)
      #expect(row["from"] as? String == "somebody@remote.example" && row["subject"] as? String == "Your mail")
      #expect((row["reason"] as? String)?.hasPrefix("bounced: ") == true, "\(row)")
      #expect(try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"relay_failed\"} \(round)\n"))
      id = try #require(row["id"] as? String)
      if round == 2 { isRefusing.change { $0 = false } }
      #expect(try await mta.call("POST", "/v1/inbound/held/\(id)/release", body: nil).status == 200)
    }
    #expect(mta.logText().contains("mail to postmaster could not be relayed; it is held"))
    try await eventually("it arrives") { mta.log.count == 1 }
    try await eventually("nothing of it is kept") {
      try await mta.get("/metrics").body.contains("mta_inbound_waiting{state=\"relaying\"} 0")
    }
    #expect(try await held().isEmpty)
    #expect(String(decoding: mta.log.all[0].octets, as: UTF8.self).hasSuffix(Self.mail))
    #expect(!mta.receiver.all.contains { $0.event == "inbound.received" })
    await mta.tearDown()
  }
}
