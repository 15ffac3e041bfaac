import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// What outcomes teach, on the running product: each policy's effect at the sink, at the gates, and after `kill -9`.
@Suite(.serialized) struct PolicyTests {
  struct Rig {
    let dns: NameServer
    let mta: MTAFixture

    init(
      zones: [String: [String]] = Zones.separate(4), ips: [String] = ["127.0.0.21"], providers: String? = nil, extra: String = "",
      script: @escaping SinkScript
    ) async throws {
      dns = try await NameServer(zones: zones)
      var options = MTAFixture.Options()
      options.dns = dns
      options.pools = ["transactional": ips]
      if let providers { options.providers = providers }
      options.extra = "retry: { delays: [300ms, 1s], jitter: 0 }\n" + extra
      options.script = script
      mta = try await MTAFixture(options)
      try await mta.start()
      try await mta.registerDKIM("sender.example")
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
    }

    /// Shut gates, by reason.
    func gates(_ reason: String) async throws -> [[String: Any]] {
      (try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []).filter { $0["reason"] as? String == reason }
    }

    /// Scope, key and end of the gates of some reasons, for comparing.
    func summary(_ reasons: Set<String>) async throws -> Set<String> {
      Set(
        (try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []).filter { reasons.contains($0["reason"] as? String ?? "") }
          .map { row in ["scope", "key", "reason", "since", "until"].map { "\(row[$0] ?? "")" }.joined(separator: " ") })
    }
  }

  static func refuses(_ text: String, where matches: @escaping @Sendable (String) -> Bool) -> SinkScript {
    { moment in if case .rcpt(let recipient) = moment, matches(recipient) { .reply(text) } else { nil } }
  }

  /// A bad list stops its organisation, nobody else; told once; `kill -9` changes nothing; a reset lets it go on.
  @Test func theBreakerOfAnOrganisation() async throws {
    let rig = try await Rig(script: Self.refuses("550 5.1.1 no such user") { $0.hasPrefix("bad") })
    for index in 0..<50 { try await rig.mta.send("bad\(index)", to: "bad\(index)@\(Zones.domain(index % 4))", org: "careless") }
    try await eventually("the breaker opened") { rig.mta.receiver.all.contains { $0.event == "org.circuit_breaker" } }
    for index in 0..<5 { try await rig.mta.send("held\(index)", to: "good\(index)@\(Zones.domain(0))", org: "careless") }
    try await rig.mta.send("other", to: "good@\(Zones.domain(0))", org: "careful")
    try await eventually("another organisation's mail leaves") { rig.mta.receiver.messageIDs("sent") == ["other"] }
    let gate = try #require(try await rig.gates("breaker").first { $0["key"] as? String == "careless" })
    #expect(gate["scope"] as? String == "organisation" && gate["messages"] as? Int == 5)
    let before = try await rig.summary(["breaker"])
    let events = rig.mta.receiver.all.filter { $0.event == "org.circuit_breaker" }
    #expect(events.count == 1 && events[0].fields["organizationId"] == "careless" && events[0].fields["severity"] == "critical")
    #expect(events[0].fields["bounceRate"] == "1.0")

    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await eventually("the same gates with the same end") { try await rig.summary(["breaker"]) == before }
    #expect(Set(rig.mta.receiver.messageIDs("sent")) == ["other"])

    let list = try rig.mta.command("breaker", "list", "--json").output
    #expect(list.contains("\"organizationId\":\"careless\",\"provider\":null,\"state\":\"open\""))
    #expect(try rig.mta.command("breaker", "reset", "nobody").code == 1)
    #expect(try await rig.mta.call("POST", "/breakers/careless/reset", body: nil).status == 200)
    try await eventually("its mail goes on") { Set(rig.mta.receiver.messageIDs("sent")).count == 6 }
    #expect(try await rig.gates("breaker").isEmpty)
    #expect(Set(rig.mta.receiver.all.filter { $0.event == "org.circuit_breaker" }.map { $0.headers["webhook-id"] }).count == 1)
    await rig.end()
  }

  /// After its time the breaker lets a few through and closes on their word.
  @Test func halfOpenLetsFiveThrough() async throws {
    let isBad = Locked(true)
    let asked = Locked<[String]>([])
    let rig = try await Rig(
      extra: "breaker: { open: 4s, reopen: 4s }\n",
      script: { moment in
        guard case .rcpt(let recipient) = moment else { return nil }
        asked.change { $0.append(recipient) }
        return isBad.value ? .reply("550 5.1.1 no such user") : .reply("250 ok", after: .milliseconds(300))
      })
    for index in 0..<50 { try await rig.mta.send("b\(index)", to: "b\(index)@\(Zones.domain(index % 4))", org: "o") }
    try await eventually("the breaker opened") { rig.mta.receiver.all.contains { $0.event == "org.circuit_breaker" } }
    isBad.change { $0 = false }
    asked.change { $0 = [] }
    for index in 0..<40 { try await rig.mta.send("g\(index)", to: "g\(index)@\(Zones.domain(index % 4))", org: "o") }
    try await eventually("probes go out", within: .seconds(15)) { !asked.value.isEmpty }
    #expect(rig.mta.receiver.messageIDs("sent").isEmpty && asked.value.count <= 5)
    try await eventually("all is sent", within: .seconds(20)) { rig.mta.receiver.messageIDs("sent").count == 40 }
    let state = try await rig.mta.get("/breakers").body
    #expect(state.contains("\"state\":\"closed\"") && !state.contains("\"state\":\"open\""))
    await rig.end()
  }

  /// One IP's bad name at greeting: the message leaves by another, nobody is suppressed, no breaker moves.
  @Test func anIPsReputationIsNotTheRecipients() async throws {
    let rig = try await Rig(
      ips: ["127.0.0.21", "127.0.0.22"],
      script: { moment in
        if case .connect("127.0.0.21", _) = moment {
          .reply("554 5.7.1 Service unavailable; client [127.0.0.21] blocked using zen.example")
        } else {
          nil
        }
      })
    for index in 0..<6 { try await rig.mta.send("m\(index)", to: "u\(index)@\(Zones.domain(0))", org: "o") }
    try await eventually("all leave") { rig.mta.receiver.messageIDs("sent").count == 6 }
    #expect(Set(rig.mta.log.all.map(\.peer)) == ["127.0.0.22"])
    #expect(rig.mta.receiver.messageIDs("bounced").isEmpty && rig.mta.receiver.messageIDs("failed").isEmpty)
    #expect(try await rig.mta.get("/suppression/stats").json["total"] as? Int == 0)
    #expect(try await !rig.mta.get("/breakers").body.contains("\"bounceRate\":1"))
    // That IP stays away from this domain for a while; the other does not.
    let gates = try #require(try await rig.mta.get("/v1/gates").json["gates"] as? [[String: Any]])
    #expect(gates.map { $0["key"] as? String } == ["127.0.0.21/domain:\(Zones.domain(0))"])
    #expect(gates.first?["messages"] as? Int == 0, "nothing waits behind it")
    #expect(try rig.mta.redis("HGET", "{mta}:policy", "rate:127.0.0.21/domain:\(Zones.domain(0))").hasPrefix("a1 "))
    await rig.end()
  }

  /// No IP is left to try: bounced, soft, and nobody's address is condemned.
  @Test func theOnlyIPIsBlocked() async throws {
    let rig = try await Rig(script: Self.refuses("550 5.7.1 blocked using zen.example") { _ in true })
    try await rig.mta.send("m", to: "u@\(Zones.domain(0))", org: "o")
    try await eventually("it is bounced") { rig.mta.receiver.messageIDs("bounced") == ["m"] }
    #expect(rig.mta.receiver.all.first { $0.event == "bounced" }?.fields["bounceType"] == "soft")
    #expect(try await rig.mta.get("/suppression/stats").json["total"] as? Int == 0)
    // The next one waits for the lane, with a time.
    try await rig.mta.send("next", to: "v@\(Zones.domain(0))", org: "o")
    try await eventually("its lane is shut") { try await rig.gates("throttle").contains { $0["until"] is String } }
    let before = try await rig.summary(["throttle"])
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await eventually("the same gate with the same end") { try await rig.summary(["throttle"]) == before }
    await rig.end()
  }

  /// A provider that asks for less gets less, at the sink; twenty clean deliveries raise it again.
  @Test func aThrottledLaneSlowsDown() async throws {
    let isStrict = Locked(true)
    let rig = try await Rig(
      zones: Zones.hosted(2, mx: "mx1.yahoodns.net"),
      providers: "yahoo: {defaultRate: 60000, ceiling: 60000, floor: 3, maxConnections: 1, mx: [yahoodns.net]}",
      script: { moment in
        if case .mail = moment, isStrict.value {
          .reply("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume")
        } else {
          nil
        }
      })
    try await rig.mta.send("a", to: "u@\(Zones.domain(0))", org: "o")
    try await eventually("it was deferred") { rig.mta.receiver.messageIDs("deferred").contains("a") }
    isStrict.change { $0 = false }
    try await rig.mta.send("b", to: "u@\(Zones.domain(1))", org: "o")
    // TSS04 means: stay away for hours. Both domains are that provider's.
    try await eventually("both wait for the lane") {
      try await rig.gates("throttle").contains { $0["key"] as? String == "127.0.0.21/yahoo" && $0["until"] is String }
    }
    #expect(rig.mta.receiver.messageIDs("sent").isEmpty)
    let row = try rig.mta.redis("HGET", "{mta}:policy", "rate:127.0.0.21/yahoo").split(separator: " ")
    #expect(row.count > 1 && Double(row[1]) ?? 60_000 < 60_000)
    await rig.end()
  }

  /// A full mailbox and a greylisting slow nobody; a dead domain waits by itself, with a time that survives `kill -9`.
  @Test func whatSpeaksOfOneMailboxSlowsNobody() async throws {
    let rig = try await Rig(
      zones: [
        "test-zone.example": Zones.separate(2)["test-zone.example", default: []] + ["dead IN MX 10 deadmx", "deadmx IN A 127.0.0.99"]
      ],
      script: Self.refuses("552 5.2.2 mailbox full") { $0.hasPrefix("full") })
    for index in 0..<30 { try await rig.mta.send("full\(index)", to: "full\(index)@\(Zones.domain(0))", org: "o") }
    try await eventually("all were deferred") { Set(rig.mta.receiver.messageIDs("deferred")).count == 30 }
    try await rig.mta.send("fine", to: "fine@\(Zones.domain(0))", org: "o")
    try await eventually("the neighbour's mail leaves") { rig.mta.receiver.messageIDs("sent") == ["fine"] }
    for reason in ["smtp_response", "connection_backoff", "breaker"] { #expect(try await rig.gates(reason).isEmpty) }

    try await rig.mta.send("dead1", to: "u@dead.test-zone.example", org: "o")
    try await eventually("nobody is there") { rig.mta.receiver.messageIDs("deferred").contains("dead1") }
    try await rig.mta.send("dead2", to: "v@dead.test-zone.example", org: "o")
    try await eventually("the domain is left alone") {
      try await rig.gates("connection_backoff").contains { $0["key"] as? String == "dead.test-zone.example" }
    }
    let before = try await rig.summary(["connection_backoff"])
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await eventually("the same gate with the same end") { try await rig.summary(["connection_backoff"]) == before }
    await rig.end()
  }

  /// A profile that the API changes is in force at once.
  @Test func profilesChangeAtOnce() async throws {
    let rig = try await Rig(
      providers: "other: {defaultRate: 0.5, floor: 0.1, ceiling: 600000, maxConnections: 4}", script: { _ in nil })
    try await rig.mta.send("first", to: "u@\(Zones.domain(0))", org: "o")
    for index in 0..<10 { try await rig.mta.send("m\(index)", to: "u\(index)@\(Zones.domain(0))", org: "o") }
    try await eventually("one leaves, the others wait two minutes each") { try await !rig.gates("throttle").isEmpty }
    #expect(rig.mta.log.count <= 1)
    let answer = try await rig.mta.call("PUT", "/isp-profiles/other", body: "{\"defaultRate\":600000}")
    #expect(answer.status == 200 && answer.body.contains("\"defaultRate\":600000"))
    try await eventually("they leave", within: .seconds(20)) { rig.mta.log.count == 11 }
    for (body, text) in [
      ("{\"x\":1}", "Unknown profile field: x"),
      ("{\"defaultRate\":-1}", "defaultRate must be finite and between 0 (exclusive) and 1000000"),
      ("{\"floor\":700000}", "floor, defaultRate and ceiling must satisfy floor <= defaultRate <= ceiling"),
      ("{\"defaultRate\":true}", "defaultRate must be finite and between 0 (exclusive) and 1000000"),
    ] {
      let answer = try await rig.mta.call("PUT", "/isp-profiles/other", body: body)
      #expect(answer.status == 400 && answer.body == "{\"error\":\"\(text)\"}")
    }
    #expect(try await rig.mta.call("DELETE", "/isp-profiles/other", body: nil).body == "{\"deleted\":true}")
    #expect(try await rig.mta.get("/isp-profiles/other").body.contains("\"defaultRate\":0.5"))
    #expect(try await rig.mta.get("/isp-profiles/nobody").status == 400)
    await rig.end()
  }

  /// Where a message should go, before it is sent: the very breakers and IPs that dispatch asks.
  @Test func decisionsFollowTheBreaker() async throws {
    let rig = try await Rig(script: Self.refuses("550 5.1.1 no such user") { $0.hasPrefix("bad") })
    func decide(_ change: [String: Any] = [:], without: String? = nil) async throws -> String {
      var body: [String: Any] = [
        "messageId": "m", "workAttemptId": "w", "routingReentryToken": "t", "startedAt": Date().timeIntervalSince1970 * 1000 - 10,
        "deliveryDomain": "production", "messageType": "transactional", "organizationId": "o", "recipient": "u@\(Zones.domain(0))",
        "from": "News <n@sender.example>", "candidateProvider": "mta", "ipPool": "transactional", "allowWarmupOverflow": false,
      ]
      for (name, value) in change { body[name] = value }
      if let without { body[without] = nil }
      let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
      return try await rig.mta.call("POST", "/send/decision", body: text).body
    }
    #expect(try await decide().hasPrefix("{\"decision\":\"mta\",\"lease\":{\"token\":\""))
    #expect(try await decide(["candidateProvider": "relay"]) == "{\"decision\":\"relay\"}")
    #expect(try await decide(["requireProviderProbe": true]) == "{\"decision\":\"relay\",\"reason\":\"provider_hysteresis\"}")
    for (name, value) in [("startedAt", 1e300), ("startedAt", -9.2233e18), ("allowWarmupOverflow", 1), ("requireProviderProbe", 0)]
      as [(String, Any)]
    {
      #expect(try await decide([name: value]) == "{\"error\":\"Invalid routing decision request\"}", "\(name)")
    }
    for wrong in ["x": 1, "startedAt": 9e15, "recipient": "nobody", "messageType": "spam", "ipPool": "none"] as [String: Any] {
      #expect(try await decide([wrong.key: wrong.value]) == "{\"error\":\"Invalid routing decision request\"}", "\(wrong.key)")
    }
    #expect(try await decide(without: "ipPool") == "{\"error\":\"Invalid routing decision request\"}")
    for index in 0..<50 { try await rig.mta.send("bad\(index)", to: "bad\(index)@\(Zones.domain(index % 4))", org: "o") }
    try await eventually("the breaker opened") { rig.mta.receiver.all.contains { $0.event == "org.circuit_breaker" } }
    let answer = try await decide()
    #expect(answer.hasPrefix("{\"decision\":\"defer\",\"reason\":\"global_safety\",\"retryAfterMs\":1"))
    #expect(try rig.mta.command("ip", "pull", "127.0.0.21").code == 0)
    #expect(try await decide(["organizationId": "p"]) == "{\"decision\":\"defer\",\"reason\":\"no_owned_ip\",\"retryAfterMs\":60000}")
    await rig.end()
  }

  /// Content that may not go is accepted, told as screened, and never sent; the list of URLs is in force at once.
  @Test func contentIsScreened() async throws {
    let rig = try await Rig(script: { _ in nil })
    func send(_ id: String, from: String = "News <n@sender.example>", html: String) async throws {
      let body: [String: Any] = [
        "messageId": id, "to": "u@\(Zones.domain(0))", "from": from, "subject": "s", "html": html, "organizationId": "o",
        "dkimDomain": "sender.example", "ipPool": "transactional",
      ]
      let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
      #expect(try await rig.mta.call("POST", "/send", body: text).status == 200)
    }
    #expect(try await rig.mta.call("POST", "/v1/url-blocklist", body: "{\"patterns\":[\"Evil.example/x\"]}").status == 200)
    #expect(try await rig.mta.get("/v1/url-blocklist").body == "{\"patterns\":[\"evil.example/x\"]}")
    for wrong in ["{}", "{\"patterns\":[]}", "{\"patterns\":[\"x\"]}", "{\"pattern\":7}"] {
      #expect(try await rig.mta.call("POST", "/v1/url-blocklist", body: wrong).status == 400, "\(wrong)")
    }
    try await send("url", html: "<a href=\"https://EVIL.example/x?1\">go</a>")
    try await send("large", html: String(repeating: "a", count: 512_001))
    try await send("foreign", from: "n@other.example", html: "x")
    try await send("below", from: "n@news.sender.example", html: String(repeating: "a", count: 511_000))
    try await eventually("three are told") { Set(rig.mta.receiver.messageIDs("failed")) == ["url", "large", "foreign"] }
    #expect(rig.mta.receiver.all.filter { $0.event == "failed" }.allSatisfy { $0.fields["errorCode"] == "CONTENT_SCREENED" })
    #expect(
      try await rig.mta.call("DELETE", "/v1/url-blocklist?pattern=evil.example/x", body: nil).body == "{\"success\":true,\"removed\":1}")
    try await send("again", html: "https://evil.example/x")
    try await eventually("two are sent") { Set(rig.mta.receiver.messageIDs("sent")) == ["below", "again"] }
    #expect(Set(rig.mta.log.all.map(\.messageID)) == ["below", "again"])
    await rig.end()
  }

  /// Three minutes of MAIL times at the sink: never more than the rate allows in any minute, and nearly all of it while mail waits.
  @Test func theThrottleKeepsItsRate() async throws {
    let times = Locked<[Int64]>([])
    let rig = try await Rig(
      zones: Zones.hosted(2, mx: "mx1.yahoodns.net"),
      providers:
        "yahoo: {defaultRate: 150, ceiling: 150, floor: 3, maxConnections: 2, maxDeliveriesPerConnection: 1000, mx: [yahoodns.net]}",
      script: { moment in
        if case .mail = moment { times.change { $0.append(Int64(Date().timeIntervalSince1970 * 1000)) } }
        return nil
      })
    try await rig.mta.sendAll(
      (0..<600).map { (id: "m\($0)", to: "u\($0)@\(Zones.domain($0 % 2))", org: "o\($0 % 3)", pool: "transactional") })
    try await eventually("three minutes of mail", within: .seconds(240)) { times.value.count >= 451 }
    let seen = times.value.sorted()
    for (index, start) in seen.enumerated() {
      let inWindow = seen[index...].prefix { $0 < start + 60_000 }.count
      #expect(inWindow <= 151, "\(inWindow) in the minute from \(start - seen[0]) ms on")
    }
    let rate = Double(seen.count - 1) * 60_000 / Double(seen[seen.count - 1] - seen[0])
    #expect(rate >= 150 * 0.95, "\(rate) a minute")
    await rig.end()
  }
}
