import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// What an operator does to waiting mail, by API and by command: each changes the system, and the answer shows the change.
@Suite(.serialized) struct QueueAdminTests {
  func rig(_ script: @escaping SinkScript = { _ in nil }, domains: Int = 3) async throws -> (NameServer, MTAFixture) {
    let dns = try await NameServer(zones: Zones.separate(domains))
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22"]]
    options.extra = "retry: { delays: [1h], jitter: 0 }\n"
    options.script = script
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    return (dns, mta)
  }

  func document(_ mta: MTAFixture, _ words: String...) throws -> Any {
    let (code, output, errors) = try run(MTAFixture.binaries + "/supervisor", words + ["--json", "--config", mta.config])
    #expect(code == 0, "\(words): \(errors)")
    return try JSONSerialization.jsonObject(with: Data(output.utf8), options: [.fragmentsAllowed])
  }

  func reasons(_ mta: MTAFixture, _ id: String) async throws -> [String] {
    (try await mta.get("/v1/messages/\(id)/explain").json["gates"] as? [[String: Any]] ?? []).map {
      "\($0["reason"] ?? "") \($0["key"] ?? "")"
    }
  }

  @Test func organisationsDomainsAndPoolsArePaused() async throws {
    let (dns, mta) = try await rig()
    defer { dns.stop() }
    #expect(try mta.command("org", "pause", "held", "--reason", "abuse report").code == 0)
    #expect(try mta.command("queue", "pause", "--domain", Zones.domain(1)).code == 0)
    #expect(try mta.command("queue", "pause", "--pool", "campaign").code == 0)
    #expect(try mta.command("queue", "pause", "--pool", "nowhere").code == 1)
    #expect(try mta.command("queue", "pause").code == 2)
    #expect(try mta.command("queue", "pause", "--pool", "campaign", "--tag", "x").code == 2)
    try await mta.send("o", to: "u@\(Zones.domain(0))", org: "held")
    try await mta.send("d", to: "u@\(Zones.domain(1))")
    try await mta.send("p", to: "u@\(Zones.domain(0))", pool: "campaign")
    try await mta.send("free", to: "u@\(Zones.domain(0))")
    try await eventually("only what is not paused is sent") { mta.receiver.messageIDs("sent") == ["free"] }
    #expect(try await reasons(mta, "o") == ["org_paused held"])
    #expect(try await reasons(mta, "d") == ["queue_paused \(Zones.domain(1))"])
    #expect(try await reasons(mta, "p") == ["queue_paused pool:campaign"])
    let listed = try document(mta, "queue", "pauses") as? [[String: Any]] ?? []
    #expect(listed.map { $0["scope"] as? String } == ["domain", "org", "pool"])
    #expect(listed[1]["reason"] as? String == "abuse report")
    // They stand over a restart.
    #expect(try await mta.stop() == 0)
    try await mta.start()
    try await mta.send("free2", to: "u@\(Zones.domain(0))")
    try await eventually("the other is sent") { mta.receiver.messageIDs("sent").contains("free2") }
    #expect(try await reasons(mta, "o") == ["org_paused held"])
    #expect(mta.log.count == 2)
    #expect(try mta.command("org", "resume", "held").code == 0)
    try await eventually("the organisation's is sent") { mta.receiver.messageIDs("sent").contains("o") }
    #expect(try mta.command("queue", "resume", "--domain", Zones.domain(1)).code == 0)
    #expect(try await mta.call("DELETE", "/v1/pauses/pool/campaign", body: nil).body == "{\"success\":true,\"released\":0}")
    try await eventually("all are sent") { mta.receiver.messageIDs("sent").count == 5 }
    #expect(try mta.command("org", "resume", "held").code == 1)
    #expect(try await mta.get("/v1/pauses").body == "{\"pauses\":[]}")
    await mta.tearDown()
  }

  /// A campaign's messages wait in several places: all of them are held, and go back to where they were.
  @Test func campaignsAndTagsAreHeldWhereverTheyWait() async throws {
    let isGrey = Locked(true)
    let (dns, mta) = try await rig { moment in
      if case .rcpt(let recipient) = moment, recipient.hasPrefix("grey"), isGrey.value { return .reply("451 4.7.1 later") }
      return nil
    }
    defer { dns.stop() }
    try await mta.send("deferred", to: "grey@\(Zones.domain(0))", ["campaignId": "c1"])
    try await eventually("one is deferred") { mta.receiver.messageIDs("deferred") == ["deferred"] }
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    for index in 0..<1200 where index < 30 || index % 40 == 0 {
      try await mta.send("q\(index)", to: "u@\(Zones.domain(index % 3))", ["campaignId": "c1"])
    }
    let queued = (0..<1200).filter { $0 < 30 || $0 % 40 == 0 }.count
    try await mta.send(
      "later", to: "u@\(Zones.domain(0))", ["campaignId": "c1", "sendAt": Int64(Date().timeIntervalSince1970 * 1000) + 3_600_000])
    try await mta.send("tagged", to: "u@\(Zones.domain(0))", ["tags": ["spring", "x"]])
    try await mta.send("other", to: "u@\(Zones.domain(0))", ["campaignId": "c2"])
    let paused = try document(mta, "queue", "pause", "--campaign", "c1") as? [String: Any]
    #expect(paused?["held"] as? Int == queued + 2)
    #expect((try document(mta, "queue", "pause", "--tag", "spring") as? [String: Any])?["held"] as? Int == 1)
    // New mail of it is held from its acceptance on.
    try await mta.send("new", to: "u@\(Zones.domain(0))", ["campaignId": "c1"])
    #expect(try await reasons(mta, "new").contains("queue_paused campaign:c1"))
    // Held for two reasons, one of which goes: the other holds it.
    try await mta.send("both", to: "u@\(Zones.domain(0))", ["campaignId": "c1", "tags": ["spring"]])
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("only the other campaign's is sent") { mta.receiver.messageIDs("sent") == ["other"] }
    #expect((try document(mta, "queue", "resume", "--campaign", "c1") as? [String: Any])?["released"] as? Int == queued + 3)
    #expect(try await reasons(mta, "both").contains("queue_paused tag:spring"))
    try await eventually("the campaign's are sent") { mta.receiver.messageIDs("sent").count == queued + 2 }
    // What waited for its time waits for it again.
    #expect(try await mta.get("/v1/messages/later/explain").json["state"] as? String == "scheduled")
    #expect(try await mta.get("/v1/messages/deferred/explain").json["state"] as? String == "deferred")
    #expect((try document(mta, "queue", "resume", "--tag", "spring") as? [String: Any])?["released"] as? Int == 2)
    try await eventually("the tagged one too") { mta.receiver.messageIDs("sent").contains("tagged") }
    // Retry now: gates and greylisting permitting it leaves at once.
    isGrey.change { $0 = false }
    let retried = try document(mta, "queue", "retry", "--campaign", "c1") as? [String: Any]
    #expect(retried?["count"] as? Int == 2 && retried?["done"] as? Int == 2)
    try await eventually("both left before their time") { Set(mta.receiver.messageIDs("sent")).isSuperset(of: ["later", "deferred"]) }
    #expect(mta.log.count == Set(mta.log.all.map(\.messageID)).count)
    await mta.tearDown()
  }

  @Test func waitingMailIsListedAndCancelled() async throws {
    let (dns, mta) = try await rig()
    defer { dns.stop() }
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    for index in 0..<20 { try await mta.send("w\(index)", to: "u\(index)@\(Zones.domain(index % 2))", org: index < 12 ? "a" : "b") }
    try await mta.send("scheduled", to: "u@\(Zones.domain(0))", org: "a", ["sendAt": Int64(Date().timeIntervalSince1970 * 1000) + 60_000])
    try await eventually("the dispatcher knows them all") { try await mta.get("/queue/stats").json["pending"] as? Int == 20 }
    #expect(try await mta.get("/queue/stats").body == "{\"pending\":20,\"active\":0,\"completed\":0,\"failed\":0,\"delayed\":1}")
    var seen: [String] = []
    for offset in stride(from: 0, to: 30, by: 8) {
      let page = try await mta.get("/queue/pending?limit=8&offset=\(offset)").json
      seen += (page["jobs"] as? [[String: Any]] ?? []).compactMap { $0["id"] as? String }
    }
    #expect(Set(seen) == Set((0..<20).map { "w\($0)" } + ["scheduled"]) && seen.count == 21)
    let ofDomain = try await mta.get("/queue/pending?domain=\(Zones.domain(1))").json["jobs"] as? [[String: Any]] ?? []
    #expect(ofDomain.count == 10 && ofDomain.allSatisfy { $0["domain"] as? String == Zones.domain(1) })
    #expect(try await mta.get("/queue/pending?limit=501").status == 400)
    let job = try await mta.get("/queue/jobs/w3").json
    #expect(
      job["state"] as? String == "queued" && job["organizationId"] as? String == "a" && job["to"] as? String == "u3@\(Zones.domain(1))")
    #expect(try await mta.get("/queue/jobs/none").body == "{\"error\":\"Job not found\"}")
    // One, by API; told as failed CANCELLED.
    #expect(try await mta.call("DELETE", "/queue/jobs/w3", body: nil).body == "{\"success\":true,\"removed\":true}")
    #expect(try await mta.call("DELETE", "/queue/jobs/none", body: nil).body == "{\"success\":true,\"removed\":false}")
    try await eventually("it is told") { mta.receiver.messageIDs("failed") == ["w3"] }
    #expect(mta.receiver.all.first?.fields["errorCode"] == "CANCELLED")
    try await eventually("and removed") {
      try await mta.call("DELETE", "/queue/jobs/w3", body: nil).body == "{\"success\":true,\"removed\":false}"
    }
    // By command: a count and a sample first.
    let text = try mta.command("queue", "cancel", "--org", "a", "--domain", Zones.domain(0), "--yes")
    #expect(
      text.code == 0 && text.output.contains("7 messages:") && text.output.contains("scheduled") && text.output.contains("7 cancelled"))
    #expect(try mta.command("queue", "cancel").code == 2)
    #expect(try mta.command("queue", "cancel", "none").code == 1)
    #expect(try mta.command("queue", "cancel", "w13").output == "1 cancelled\n")
    // All of an organisation, by API.
    #expect(try await mta.call("POST", "/queue/flush", body: nil).body == "{\"error\":\"orgId query parameter required\"}")
    #expect(try await mta.call("POST", "/queue/flush?orgId=a", body: nil).body == "{\"success\":true,\"flushed\":5}")
    #expect(try await mta.call("POST", "/queue/flush?orgId=nobody", body: nil).body == "{\"success\":true,\"flushed\":0}")
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("the rest is sent") { mta.receiver.messageIDs("sent").count == 7 }
    #expect(mta.receiver.messageIDs("failed").count == 14 && mta.log.count == 7)
    await mta.tearDown()
  }

  @Test func logsAndTraceShowEachAttempt() async throws {
    let tries = Locked(0)
    let (dns, mta) = try await rig { moment in
      guard case .rcpt(let recipient) = moment else { return nil }
      if recipient.hasPrefix("none") { return .reply("550 5.1.1 no such user") }
      if recipient.hasPrefix("grey") {
        tries.change { $0 += 1 }
        if tries.value == 1 { return .reply("451 4.7.1 try again") }
      }
      return nil
    }
    defer { dns.stop() }
    try await mta.send("ok", to: "u@\(Zones.domain(0))")
    try await mta.send("bad", to: "none@\(Zones.domain(1))", org: "other")
    try await mta.send("grey", to: "grey@\(Zones.domain(2))")
    try await eventually("one each") {
      mta.receiver.messageIDs("sent") == ["ok"] && mta.receiver.messageIDs("bounced") == ["bad"]
        && mta.receiver.messageIDs("deferred") == ["grey"]
    }
    #expect(try mta.command("queue", "retry", "grey").output == "1 tried now\n")
    try await eventually("the second attempt") { mta.receiver.messageIDs("sent").count == 2 }
    func logs(_ query: String) async throws -> [[String: Any]] {
      try await mta.get("/delivery-logs\(query)").json["entries"] as? [[String: Any]] ?? []
    }
    try await eventually("four attempts are logged") { try await logs("").count == 4 }
    let bounced = try await logs("?status=bounced&orgId=other&limit=1")
    #expect(bounced.count == 1)
    let entry = bounced.first ?? [:]
    for (name, value) in [
      ("messageId", "bad"), ("to", "none@\(Zones.domain(1))"), ("from", "News <news@sender.example>"), ("orgId", "other"),
      ("status", "bounced"),
      ("domain", Zones.domain(1)), ("smtpResponse", "550 5.1.1 no such user"), ("bounceType", "hard"), ("ip", "127.0.0.21"),
      ("pool", "transactional"),
      ("provider", "other"),
    ] { #expect(entry[name] as? String == value, "\(name): \(entry[name] ?? "absent")") }
    #expect(entry["smtpCode"] as? Int == 550 && entry["durationMs"] is NSNumber)
    // Filters count before the page is cut; the cursor walks on.
    var statuses: [String] = []
    var cursor: String? = "0"
    while let at = cursor {
      let page = try await mta.get("/delivery-logs?limit=1&cursor=\(at)").json
      statuses += (page["entries"] as? [[String: Any]] ?? []).compactMap { $0["status"] as? String }
      cursor = page["nextCursor"] as? String
    }
    #expect(statuses.sorted() == ["bounced", "deferred", "delivered", "delivered"])
    let stats = try await mta.get("/delivery-logs/stats").json
    #expect(stats["orgId"] is NSNull)
    #expect(
      (stats["stats"] as? [String: Int]) == [
        "delivered": 2, "bounced": 1, "deferred": 1, "suppressed": 0, "screened": 0, "failed": 0, "total": 4,
      ])
    #expect(try await mta.get("/delivery-logs/none").body == "{\"messageId\":\"none\",\"events\":[]}")
    #expect(
      (try await mta.get("/delivery-logs/grey").json["events"] as? [[String: Any]])?.map { $0["status"] as? String } == [
        "deferred", "delivered",
      ])
    #expect(try await logs("?date=2020-01-01").isEmpty)
    #expect(try await mta.get("/delivery-logs?date=tomorrow").status == 400)
    let trace = try document(mta, "message", "trace", "grey") as? [[String: Any]] ?? []
    #expect(trace.map { $0["attempt"] as? Int } == [1, 2])
    #expect(
      trace.first?["smtpCode"] as? Int == 451 && trace.first?["reply"] as? [String] == ["4.7.1 try again"]
        && trace.first?["stage"] as? String == "rcpt")
    #expect(try mta.command("message", "trace", "unknown").code == 1)
    await mta.tearDown()
  }

  @Test func deadLettersAreRetriedOrDiscarded() async throws {
    let (dns, mta) = try await rig()
    defer { dns.stop() }
    #expect(try await mta.get("/dlq").body == "{\"entries\":[],\"total\":0}")
    #expect(try await mta.call("POST", "/dlq/none/retry", body: nil).body == "{\"error\":\"DLQ entry unavailable or already claimed\"}")
    #expect(try await mta.call("DELETE", "/dlq/none", body: nil).body == "{\"success\":true,\"removed\":false}")
    // Letters as a refusing receiver would leave them: the schedule until then takes six minutes.
    let endpoint = mta.receiver.url
    func bury(_ id: String) throws {
      let sql =
        "INSERT INTO dead(endpoint,id,kind,json,created_at,died_at,status,attempts) VALUES('\(endpoint)','\(id)','sent',"
        + "'{\"event\":\"sent\",\"messageId\":\"\(id)\",\"timestamp\":1}',1000,2000,410,6)"
      #expect(
        try run(
          ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? "python3",
          [
            "-c", "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=10)\nc.execute(sys.argv[2])\nc.commit()",
            mta.scratch.file("s/outbox.db"), sql,
          ]
        ).code == 0)
    }
    for id in ["d1", "d2", "d3", "d4"] { try bury(id) }
    let list = try await mta.get("/dlq?limit=2").json
    #expect(list["total"] as? Int == 4)
    let first = try #require((list["entries"] as? [[String: Any]])?.first)
    #expect((first["event"] as? [String: Any])?["messageId"] as? String == "d1" && first["attempts"] as? Int == 6)
    #expect((first["failure"] as? [String: Any])?["status"] as? Int == 410)
    let id = try #require(first["dlqId"] as? String)
    #expect(try await mta.get("/dlq/stats").json["total"] as? Int == 4)
    #expect(try await mta.call("POST", "/dlq/\(id)/retry", body: nil).body == "{\"success\":true,\"delivered\":true}")
    #expect(mta.receiver.messageIDs("sent") == ["d1"])
    mta.receiver.answer(410)
    let second = try #require(((try await mta.get("/dlq").json["entries"] as? [[String: Any]])?.first)?["dlqId"] as? String)
    #expect(try await mta.call("POST", "/dlq/\(second)/retry", body: nil).body == "{\"success\":false,\"delivered\":false,\"attempts\":7}")
    #expect(try await mta.call("POST", "/dlq/retry-all", body: nil).body == "{\"success\":true,\"delivered\":0,\"failed\":3,\"total\":3}")
    mta.receiver.answer(200)
    #expect(try await mta.call("DELETE", "/dlq/\(second)", body: nil).body == "{\"success\":true,\"removed\":true}")
    #expect(try await mta.call("POST", "/dlq/retry-all", body: nil).body == "{\"success\":true,\"delivered\":2,\"failed\":0,\"total\":2}")
    #expect(try await mta.get("/dlq/stats").body == "{\"total\":0,\"oldestAge\":null,\"newestAge\":null}")
    await mta.tearDown()
  }

  @Test func suppressionAndTopByCommand() async throws {
    let (dns, mta) = try await rig()
    defer { dns.stop() }
    #expect(try mta.command("suppression", "add", "Gone@\(Zones.domain(0))", "--reason", "hard_bounce").code == 0)
    #expect(try mta.command("suppression", "add", "no address").code == 1)
    let rows = try document(mta, "suppression", "list") as? [[String: Any]] ?? []
    #expect(rows.map { $0["email"] as? String } == ["gone@\(Zones.domain(0))"] && rows.first?["expiresAt"] == nil)
    try await mta.send("s", to: "gone@\(Zones.domain(0))")
    try await eventually("it is refused") { mta.receiver.messageIDs("failed") == ["s"] }
    #expect(try mta.command("suppression", "remove", "gone@\(Zones.domain(0))").code == 0)
    #expect(try mta.command("suppression", "remove", "gone@\(Zones.domain(0))").code == 1)
    try await mta.send("t", to: "gone@\(Zones.domain(0))")
    try await eventually("it is sent") { mta.receiver.messageIDs("sent") == ["t"] }
    try await eventually("top counts it") {
      let ips = (try document(mta, "top") as? [String: Any])?["ips"] as? [[String: Any]] ?? []
      return ips.first { $0["address"] as? String == "127.0.0.21" }?["delivered"] as? Int == 1
    }
    #expect(try mta.command("top", "--once").output.contains("127.0.0.21"))
    await mta.tearDown()
  }
}
