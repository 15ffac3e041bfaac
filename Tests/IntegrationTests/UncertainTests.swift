import Foundation
import SMTPServer
import TestSupport
import Testing

/// Connections cut between the final dot and its reply: told as uncertain, decided by whoever's mail it is, or by configuration.
@Suite(.serialized) struct UncertainTests {
  /// - Parameter retry: members of `retry:`.
  private func rig(_ retry: String) async throws -> (dns: NameServer, mta: MTAFixture, dots: SinkJournal) {
    let dns = try await NameServer(zones: Zones.separate(2))
    let dots = SinkJournal()
    var options = MTAFixture.Options()
    options.dns = dns
    options.extra = "retry: { \(retry) }\n"
    options.script = { moment in
      guard case .message(let message) = moment else { return nil }
      dots.dot(message)
      // The first time, without a word.
      let isFirst = dots.all[message.messageID]?.count == 1
      return isFirst && message.recipients.first?.hasPrefix("cut") == true ? SinkAction(.close) : nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    return (dns, mta, dots)
  }

  @Test func uncertainMailIsSentAgainOrDropped() async throws {
    let (dns, mta, dots) = try await rig("delays: [1h], jitter: 0")
    defer { dns.stop() }
    func key(_ organisation: String) async throws -> String {
      let body = "{\"organizationId\":\"\(organisation)\",\"name\":\"k\"}"
      return try #require(try await mta.call("POST", "/credentials", body: body).json["apiKey"] as? String)
    }
    let (own, other) = (try await key("acme"), try await key("other"))
    let to = "cut@\(Zones.domain(0))"
    for id in ["again", "gone"] { try await mta.send(id, to: to) }
    try await mta.send("held", to: to, ["campaignId": "c1"])
    try await mta.send("late", to: to, ["deliverBy": Int(Date().timeIntervalSince1970 * 1000) + 4000])
    try await mta.send("plain", to: "u@\(Zones.domain(1))")
    try await eventually("four are uncertain") {
      mta.receiver.messageIDs("uncertain").sorted() == ["again", "gone", "held", "late"] && mta.receiver.messageIDs("sent") == ["plain"]
    }
    #expect(try await mta.get("/v1/messages/again/explain").json["state"] as? String == "uncertain")
    func decide(_ id: String, _ word: String, _ key: String = MTAFixture.key) async throws -> MTAFixture.Answer {
      try await mta.call("POST", "/v1/messages/\(id)/\(word)", body: nil, key: key)
    }

    // Nobody else's, and nothing that is not uncertain.
    #expect(try await decide("again", "resend", other).status == 404)
    #expect(try await decide("nobody", "drop").status == 404)
    let delivered = try await decide("plain", "resend")
    #expect(delivered.status == 409 && delivered.body == "{\"error\":\"The message is delivered, not uncertain\"}")
    #expect(dots.count == 5)

    let resent = try await decide("again", "resend", own)
    #expect(resent.status == 200 && resent.json["state"] as? String == "queued")
    #expect((resent.json["warning"] as? String)?.contains("may get this message twice") == true)
    #expect(try await decide("again", "drop", own).status == 409)
    try await eventually("it is sent") { mta.receiver.messageIDs("sent").contains("again") }
    #expect(dots.all["again"]?.count == 2)

    #expect(try await decide("gone", "drop").json["state"] as? String == "failed")
    #expect(try await decide("gone", "resend").status == 409)
    try await eventually("it is told") { mta.receiver.messageIDs("failed") == ["gone"] }
    #expect(mta.receiver.all.first { $0.event == "failed" }?.fields["errorCode"] == "CANCELLED")
    #expect(dots.all["gone"]?.count == 1)
    try await eventually("history has what they came to") {
      let states = try ["again", "gone"].map { try mta.command("message", "show", $0, "--json").output }
      return states[0].contains("\"state\":\"delivered\"") && states[1].contains("\"state\":\"failed\"")
    }

    // A pause holds what is sent again, as it holds all else of the campaign.
    #expect(try mta.command("queue", "pause", "--campaign", "c1").code == 0)
    #expect(try await decide("held", "resend").status == 200)
    try await eventually("it is held") { try await mta.get("/v1/messages/held/explain").body.contains("campaign:c1") }
    #expect(try mta.command("queue", "resume", "--campaign", "c1").code == 0)
    try await eventually("it goes on") { mta.receiver.messageIDs("sent").contains("held") }

    try await eventually("the last is kept no longer") { try mta.redis("GET", "{mta}:live") == "0" }
    let late = try await decide("late", "resend")
    #expect(late.status == 409 && late.body.contains("kept no longer"))
    #expect(dots.all["late"]?.count == 1)
    await mta.tearDown()
  }

  @Test func configurationSendsUncertainMailAgain() async throws {
    let (dns, mta, dots) = try await rig("delays: [500ms], jitter: 0, uncertain: resend")
    defer { dns.stop() }
    for id in 0..<3 { try await mta.send("r\(id)", to: "cut\(id)@\(Zones.domain(0))") }
    try await eventually("all are sent in the end") { Set(mta.receiver.messageIDs("sent")) == ["r0", "r1", "r2"] }
    #expect(Set(mta.receiver.messageIDs("uncertain")) == ["r0", "r1", "r2"], "and their first attempts told")
    #expect(dots.all.values.allSatisfy { $0.count == 2 })
    await mta.tearDown()
  }
}
