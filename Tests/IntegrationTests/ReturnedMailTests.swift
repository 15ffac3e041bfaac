import Foundation
import SMTPServer
import TestSupport
import Testing

/// What comes back of mail that was delivered: its effects on the running product.
@Suite(.serialized) struct ReturnedMailTests {
  private static let campaign = "spring2026campaign1"
  private static let warming = "warming: { schedule: {1: 5000, 2: 6000} }\n"

  private func rig(isWarmed: Bool = true) async throws -> (mta: MTAFixture, dns: NameServer) {
    let dns = try await NameServer(zones: Zones.separate(4))
    var options = MTAFixture.Options()
    options.dns = dns
    options.isWarmed = isWarmed
    options.extra = Self.warming
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    return (mta, dns)
  }

  private func tell(_ mta: MTAFixture, _ id: String, _ body: [String: String], key: String = MTAFixture.key) async throws
    -> MTAFixture.Answer
  {
    let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
    return try await mta.call("POST", "/v1/messages/\(id)/feedback", body: text, key: key)
  }

  private static let unknown = ["kind": "bounce", "diagnostic": "smtp; 550 5.1.1 user unknown", "status": "5.1.1"]

  private func deliver(_ mta: MTAFixture, _ count: Int, campaign: String? = nil) async throws {
    try await mta.sendAll(
      (0..<count).map { ("m\($0)", "u\($0)@\(Zones.domain($0 % 4))", "acme", "transactional") },
      changes: { _ in campaign.map { ["campaignId": $0] } ?? [:] })
    try await eventually("all are delivered", within: .seconds(30)) { Set(mta.receiver.messageIDs("sent")).count == count }
  }

  /// One complaint of a hundred: told, suppressed, counted for the campaign and the IP's day, and the organisation's mail stops at
  /// the sink. The same after `kill -9`; told again it changes nothing.
  @Test func aComplaintStopsTheOrganisation() async throws {
    let (mta, dns) = try await rig(isWarmed: false)
    try await deliver(mta, 100, campaign: Self.campaign)
    let answer = try await tell(
      mta, "m7", ["kind": "complaint", "message": "not wanted", "reportedDomain": "sender.example", "sourceIsp": "yahoo"])
    #expect(answer.status == 200 && answer.body == "{\"success\":true,\"result\":\"taken\"}")
    try await mta.killSupervisor()
    try await mta.start()
    try await eventually("it is told") {
      Set(mta.receiver.all.map(\.event)).isSuperset(of: ["complained", "org.circuit_breaker", "campaign.complaint_rate"])
    }
    let complained = try #require(mta.receiver.all.first { $0.event == "complained" })
    #expect(complained.messageID == "m7" && complained.fields["recipient"] == "u7@\(Zones.domain(3))")
    #expect(complained.fields["sourceIsp"] == "yahoo" && complained.fields["reportedDomain"] == "sender.example")
    #expect(complained.fields["message"] == "not wanted" && complained.fields["deliveryDomain"] == "production")
    let rate = try #require(mta.receiver.all.first { $0.event == "campaign.complaint_rate" })
    #expect(rate.fields["campaignId"] == Self.campaign && rate.fields["complaintRate"] == "0.01")
    #expect(rate.fields["severity"] == "critical" && rate.fields["eventId"]?.utf8.count == 60)

    try await mta.send("held", to: "new@\(Zones.domain(0))")
    try await mta.send("other", to: "new@\(Zones.domain(0))", org: "careful")
    try await mta.send("again", to: "u7@\(Zones.domain(3))")
    try await eventually("another organisation's mail leaves, the complainer gets none") {
      mta.receiver.messageIDs("sent").contains("other") && mta.receiver.messageIDs("failed") == ["again"]
    }
    #expect(mta.receiver.all.first { $0.messageID == "again" }?.fields["errorCode"] == "RECIPIENT_SUPPRESSED")
    #expect(!mta.log.all.contains { $0.messageID == "held" })
    let gates = try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []
    #expect(gates.contains { $0["reason"] as? String == "breaker" && $0["key"] as? String == "acme" })
    let day = try mta.redis("HGET", "{mta}:policy", "warm:127.0.0.21")
    #expect(day.hasSuffix("other 100 1 0 0") || day.hasSuffix("other 99 1 0 0"), "\(day)")

    #expect(try await tell(mta, "m7", ["kind": "complaint"]).body == "{\"success\":true,\"result\":\"repeated\"}")
    #expect(try await mta.call("POST", "/breakers/acme/reset", body: nil).status == 200)
    try await eventually("its mail goes on") { mta.receiver.messageIDs("sent").contains("held") }
    for event in ["complained", "org.circuit_breaker", "campaign.complaint_rate"] {
      #expect(Set(mta.receiver.all.filter { $0.event == event }.map { $0.headers["webhook-id"] }).count == 1, "\(event)")
    }
    let metrics = try await mta.get("/metrics").body
    #expect(metrics.contains("mta_feedback_total{result=\"repeated\"} 1"))
    await mta.tearDown()
    dns.stop()
  }

  /// Bounces that come as mail do what a 550 does: told hard, suppressed, shown by history, and enough of them open the breaker.
  @Test func lateBouncesCountLikeReplies() async throws {
    let (mta, dns) = try await rig()
    try await deliver(mta, 60)
    for index in 0..<8 {
      #expect(try await tell(mta, "m\(index)", Self.unknown).body == "{\"success\":true,\"result\":\"taken\"}")
      let isOpen = try await mta.get("/breakers").body.contains("\"state\":\"open\"")
      #expect(isOpen == (index == 7), "\(index)")
    }
    // A full mailbox is nobody's fault: soft, and nobody is condemned.
    #expect(try await tell(mta, "m20", ["kind": "bounce", "diagnostic": "552 5.2.2 over quota", "status": "5.2.2"]).status == 200)
    try await eventually("all are told") {
      mta.receiver.messageIDs("bounced").count == 9 && mta.receiver.all.contains { $0.event == "org.circuit_breaker" }
    }
    let types = Dictionary(mta.receiver.all.filter { $0.event == "bounced" }.map { ($0.messageID, $0.fields["bounceType"]) }) { first, _ in
      first
    }
    #expect(types["m0"] == "hard" && types["m20"] == "soft")
    #expect(mta.receiver.all.first { $0.event == "bounced" && $0.messageID == "m3" }?.fields["message"] == "smtp; 550 5.1.1 user unknown")
    #expect(try mta.redis("HLEN", "{mta}:sup:acme") == "8")
    try await eventually("history says so") { try await mta.get("/v1/messages/m0").body.contains("\"state\":\"bounced\"") }
    try await mta.send("held", to: "new@\(Zones.domain(0))")
    try await mta.send("condemned", to: "u0@\(Zones.domain(0))")
    try await mta.send("other", to: "new@\(Zones.domain(0))", org: "careful")
    try await eventually("only the other's leaves") {
      mta.receiver.messageIDs("sent").contains("other") && mta.receiver.messageIDs("failed") == ["condemned"]
    }
    #expect(!mta.log.all.contains { $0.messageID == "held" })
    #expect(try await mta.get("/metrics").body.contains("mta_late_bounces_total{type=\"hard\",isp=\"other\"} 8"))
    await mta.tearDown()
    dns.stop()
  }

  /// Whose message it is decides; what never arrived cannot come back; bad bodies change nothing.
  @Test func feedbackIsOnlyTakenOfWhatWasDelivered() async throws {
    let (mta, dns) = try await rig()
    let made = try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"other\",\"name\":\"k\"}").json
    let foreign = try #require(made["apiKey"] as? String)
    try await mta.send("good", to: "u@\(Zones.domain(0))")
    try await mta.send("test", to: "v@\(Zones.domain(0))", ["deliveryDomain": "member_test"])
    try await mta.send("screened", to: "u@\(Zones.domain(0))", ["from": "n@elsewhere.example"])
    try await mta.send("later", to: "u@\(Zones.domain(0))", ["sendAt": (Date().timeIntervalSince1970 + 3600) * 1000])
    try await eventually("two are sent, one fails") {
      Set(mta.receiver.messageIDs("sent")) == ["good", "test"] && mta.receiver.messageIDs("failed") == ["screened"]
    }
    #expect(try await tell(mta, "good", Self.unknown, key: foreign).status == 404)
    #expect(try await tell(mta, "nobody", Self.unknown).status == 404)
    #expect(try await tell(mta, "later", Self.unknown).body == "{\"error\":\"The message is still under way\"}")
    #expect(
      try await tell(mta, "screened", Self.unknown).body == "{\"error\":\"The message was not delivered: nothing can come back of it\"}")
    for (body, text) in [
      (["kind": "praise"], "kind must be complaint or bounce"), (["kind": "bounce"], "diagnostic is required"),
      (["kind": "bounce", "diagnostic": "x", "status": "6.1"], "status must be like 5.1.1"),
      (["kind": "complaint", "reportedDomain": "no domain"], "reportedDomain must be a domain name"),
    ] {
      let answer = try await tell(mta, "good", body)
      #expect(answer.status == 400 && answer.body == "{\"error\":\"\(text)\"}")
    }
    #expect(try mta.redis("KEYS", "{mta}:fb:*") == "" && mta.receiver.messageIDs("bounced").isEmpty)
    // A member's test message is told of, and teaches and suppresses nothing.
    #expect(try await tell(mta, "test", ["kind": "complaint"]).status == 200)
    try await eventually("it is told") { mta.receiver.messageIDs("complained") == ["test"] }
    #expect(mta.receiver.all.first { $0.event == "complained" }?.fields["recipient"] == nil)
    #expect(try mta.redis("HLEN", "{mta}:sup:acme") == "0")
    #expect(try await mta.get("/breakers").body.contains("\"complaintRate\":0"))
    await mta.tearDown()
    dns.stop()
  }

  /// The day's 5,001st message to Yahoo makes a bulk sender, across a restart; from then on campaigns without one-click
  /// unsubscription are accepted with a warning.
  @Test func bulkSendersAreWarned() async throws {
    let dns = try await NameServer(zones: ["yahoo.com": ["@ IN MX 10 mx1.yahoodns.net."], "yahoodns.net": ["mx1 IN A 127.0.0.1"]])
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers = "yahoo: {defaultRate: 60000, ceiling: 60000, maxConnections: 1, mx: [yahoodns.net]}"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let today = Int(Date().timeIntervalSince1970) / 86_400
    // The hour before midnight would count in two days.
    _ = try mta.redis("HSET", "{mta}:policy", "volume:yahoo:acme", "v1 \(today) 5000 0", "volume:yahoo:small", "v1 \(today) 4000 0")
    try await mta.killSupervisor()
    try await mta.start()
    let plain = MTAFixture.body("a", to: "u@yahoo.com", ["campaignId": "c1"])
    #expect(try await mta.call("POST", "/send", body: plain).body == "{\"success\":true,\"id\":\"a\",\"workAttemptId\":\"a\"}")
    #expect(try await mta.get("/v1/bulk-senders").body == "{\"senders\":[]}")
    try await mta.send("s", to: "s@yahoo.com", org: "small", ["campaignId": "c1"])
    try await eventually("it became one") {
      try await mta.get("/v1/bulk-senders").body.contains("\"organizationId\":\"acme\",\"provider\":\"yahoo\"")
    }
    #expect(mta.logText().contains("bulk sender: more than 5000 messages today at yahoo"))

    func warnings(_ id: String, _ changes: [String: Any], org: String = "acme") async throws -> [String] {
      let answer = try await mta.call("POST", "/send", body: MTAFixture.body(id, to: "u@yahoo.com", org: org, changes))
      #expect(answer.status == 200)
      return (answer.json["warnings"] as? [[String: Any]] ?? []).compactMap { $0["code"] as? String }
    }
    #expect(try await warnings("b", ["campaignId": "c1"]) == ["ONE_CLICK_UNSUBSCRIBE_MISSING"])
    #expect(try await warnings("c", ["messageType": "campaign"]) == ["ONE_CLICK_UNSUBSCRIBE_MISSING"])
    #expect(try await warnings("d", ["messageType": "transactional"]) == [])
    #expect(try await warnings("e", ["campaignId": "c1"], org: "small") == [])
    let headers = ["List-Unsubscribe": "<https://sender.example/u/1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"]
    #expect(try await warnings("f", ["campaignId": "c1", "headers": headers]) == [])
    let batch = try await mta.call(
      "POST", "/send/batch", body: "{\"messages\":[\(MTAFixture.body("g", to: "u@yahoo.com", ["campaignId": "c"]))]}")
    #expect(batch.body.contains("\"workAttemptId\":\"g\",\"warnings\":[{\"code\":\"ONE_CLICK_UNSUBSCRIBE_MISSING\",\"message\":"))
    try await eventually("all leave all the same") {
      Set(mta.receiver.messageIDs("sent")).isSuperset(of: ["a", "b", "c", "d", "e", "f", "g", "s"])
    }
    #expect(try await mta.get("/metrics").body.contains("mta_one_click_missing_total{isp=\"yahoo\"} 3"))
    await mta.tearDown()
    dns.stop()
  }
}
