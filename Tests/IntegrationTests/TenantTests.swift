import Foundation
import SMTPServer
import TestSupport
import Testing

/// Organisations beside each other: keys, scope, limits, rules, suppression. No tenant reaches what is another's.
@Suite(.serialized) struct TenantTests {
  @Test func keysOpenOnlyTheirOrganisation() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    #expect(try await mta.call("POST", "/credentials", body: "{}").body == "{\"error\":\"organizationId and name are required\"}")
    let made = try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"main\"}").json
    let key = try #require(made["apiKey"] as? String)
    #expect(key.hasPrefix("owlat_") && key.count == 38)
    let to = "u@\(Zones.domain(0))"
    func send(_ id: String, _ org: String, key: String, path: String = "/send") async throws -> Int {
      try await mta.call("POST", path, body: MTAFixture.body(id, to: to, org: org), key: key).status
    }
    #expect(try await send("mine", "acme", key: key) == 200)
    #expect(try await send("theirs", "other", key: key) == 403)
    #expect(try await send("sys", "system", key: key, path: "/send/system") == 403)
    #expect(try await send("nobody", "acme", key: "owlat_00000000000000000000000000000000") == 401)
    #expect(try await send("theirs", "other", key: MTAFixture.key) == 200)
    // Management is the master's; a receipt too.
    for path in ["/credentials", "/dkim", "/suppression/stats", "/v1/gates", "/org-limits/acme"] {
      #expect(try await mta.get(path, key: key).status == 401, "\(path)")
    }
    #expect(try await mta.get("/send/receipt/mine", key: key).status == 403)
    // The same message id under two organisations: a key finds its own, the master must say whose.
    #expect(try await send("twin", "acme", key: key) == 200)
    #expect(try await send("twin", "other", key: MTAFixture.key) == 200)
    try await eventually("all four are sent") { mta.receiver.messageIDs("sent").count == 4 }
    try await eventually("history has both") { try await mta.get("/v1/messages/twin?organizationId=other").status == 200 }
    let own = try await mta.get("/v1/messages/twin", key: key).json["messages"] as? [[String: Any]] ?? []
    #expect(own.map { $0["organizationId"] as? String } == ["acme"])
    #expect(try await mta.get("/v1/messages/theirs", key: key).status == 404)
    #expect(try await mta.get("/v1/messages/theirs?organizationId=other", key: key).status == 404)
    #expect(try await mta.get("/v1/messages/twin/explain").status == 409)
    // Stored as a hash only; a list shows its beginning and when it was used.
    for name in try mta.redis("KEYS", "*").split(separator: "\n") where try mta.redis("TYPE", String(name)) == "hash" {
      #expect(!(try mta.redis("HGETALL", String(name))).contains(key))
    }
    let listed = try await mta.get("/credentials?organizationId=acme").json["credentials"] as? [[String: Any]] ?? []
    #expect(listed.first?["apiKey"] as? String == String(key.prefix(10)) + "...")
    #expect((listed.first?["credential"] as? [String: Any])?["lastUsedAt"] is NSNumber)
    #expect(try await mta.call("DELETE", "/credentials/\(key)", body: nil).body == "{\"success\":true}")
    #expect(try await send("after", "acme", key: key) == 401)
    #expect(try await mta.call("DELETE", "/credentials/\(key)", body: nil).status == 404)
    await mta.tearDown()
  }

  /// Of several tenants' domains each sends from its own: by the owner of the DKIM key, and by what its API key may say.
  @Test func aTenantSendsFromItsOwnDomainsOnly() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    func register(_ domain: String, _ body: String) async throws -> MTAFixture.Answer {
      try await mta.call("POST", "/dkim/\(domain)/register", body: body)
    }
    for (body, error) in [
      ("{\"organizationId\":5}", "organizationId must be"), ("{\"organizationId\":\"system\"}", "organizationId must not be system"),
    ] {
      let refused = try await register("sender.example", body)
      #expect(refused.status == 400 && (refused.json["error"] as? String ?? "").hasPrefix(error), "\(refused.body)")
    }
    #expect(try await register("sender.example", "{\"organizationId\":\"acme\"}").json["organizationId"] as? String == "acme")
    try await mta.registerDKIM("shared.example")
    func key(_ body: String) async throws -> String {
      let answer = try await mta.call("POST", "/credentials", body: body)
      return try #require(answer.json["apiKey"] as? String, "\(answer.body)")
    }
    let acme = try await key("{\"organizationId\":\"acme\",\"name\":\"k\"}")
    let rival = try await key("{\"organizationId\":\"rival\",\"name\":\"k\",\"allowedDomains\":[\" Shared.Example\",\"shared.example\"]}")
    let free = try await key("{\"organizationId\":\"rival\",\"name\":\"free\"}")
    let to = "u@\(Zones.domain(0))"
    var count = 0
    func send(_ from: String, _ org: String, _ key: String = MTAFixture.key, path: String = "/send", dkim: String? = nil) async throws
      -> MTAFixture.Answer
    {
      count += 1
      let domain = dkim ?? String(from.split(separator: "@")[1])
      let body = MTAFixture.body("t\(count)", to: to, org: org, ["from": "N <\(from)>", "dkimDomain": domain])
      return try await mta.call("POST", path, body: body, key: key)
    }
    // The domain's owner, the operator himself, and nobody else, whatever the key.
    #expect(try await send("a@sender.example", "acme", acme).status == 200)
    #expect(try await send("a@sender.example", "acme").status == 200)
    #expect(try await send("a@sender.example", "system", path: "/send/system").status == 200)
    for (org, key) in [("rival", free), ("rival", MTAFixture.key)] {
      let refused = try await send("a@sender.example", org, key)
      #expect(
        refused.status == 403 && refused.body.contains("Not authorized to") && refused.body.contains("another organization's"),
        "\(refused.body)")
    }
    // Nor from above or beside a domain of its own, though above and below are aligned.
    #expect(try await register("rival.sender.example", "{\"organizationId\":\"rival\"}").status == 200)
    for from in ["a@sender.example", "a@news.sender.example"] {
      let refused = try await send(from, "rival", free, dkim: "rival.sender.example")
      #expect(refused.status == 403 && refused.body.contains("another organization's"), "\(from): \(refused.body)")
    }
    for from in ["a@rival.sender.example", "a@x.rival.sender.example"] {
      #expect(try await send(from, "rival", free, dkim: "rival.sender.example").status == 200)
    }
    let batch =
      "{\"template\":\(MTAFixture.body("t", to: to, org: "rival", ["to": NSNull(), "messageId": NSNull()])),\"recipients\":[{\"to\":\"\(to)\",\"messageId\":\"b1\"}]}"
    let refusedBatch = try await mta.call("POST", "/send/batch", body: batch, key: free)
    #expect(refusedBatch.status == 403 && refusedBatch.body.contains("template: "), "\(refusedBatch.body)")
    // A key without an owner signs for all whose API key may say so: this domain, none below it.
    #expect(try await send("a@shared.example", "rival", rival).status == 200)
    for from in ["a@news.shared.example", "a@sender.example"] {
      let refused = try await send(from, "rival", rival, dkim: "shared.example")
      #expect(refused.status == 403 && refused.body.contains("Not authorized to send from"), "\(from): \(refused.body)")
    }
    #expect(try await send("a@news.shared.example", "rival", free, dkim: "shared.example").status == 200)

    // A second author in another field is one.
    for (name, value, status) in [
      ("Sender", "Boss <b@sender.example>", 403), ("resent-from", "b@sender.example", 403), ("Sender", "b@shared.example", 200),
      ("Sender", "b@shared.example, c@sender.example", 400), ("Resent-Sender", "{{x}}@shared.example", 400),
    ] {
      let body = MTAFixture.body(
        "h\(name)\(status)", to: to, org: "rival", ["from": "a@shared.example", "dkimDomain": "shared.example", "headers": [name: value]])
      let answer = try await mta.call("POST", "/send", body: body, key: rival)
      #expect(answer.status == status, "\(name): \(value): \(answer.body)")
    }
    let mixed = ["a@shared.example", "a@news.shared.example"].enumerated().map { index, from in
      MTAFixture.body("m\(index)", to: to, org: "rival", ["from": from, "dkimDomain": "shared.example"])
    }
    let results = try await mta.call("POST", "/send/batch", body: "{\"messages\":[\(mixed.joined(separator: ","))]}", key: rival)
    #expect((results.json["results"] as? [[String: Any]])?.map { $0["status"] as? Int ?? 200 } == [200, 403], "\(results.body)")

    // Limits are changed without making another key.
    func limit(_ body: String, _ name: String, key: String = MTAFixture.key) async throws -> MTAFixture.Answer {
      try await mta.call("PATCH", "/credentials/\(name)", body: body, key: key)
    }
    for body in [
      "{}", "{\"allowedDomains\":\"a.example\"}", "{\"allowedDomains\":[\"a.example\",5]}", "{\"allowedDomains\":[\"no domain\"]}",
    ] {
      #expect(try await limit(body, rival).status == 400, "\(body)")
    }
    #expect(try await limit("{\"allowedDomains\":null}", rival, key: rival).status == 401)
    #expect(try await limit("{\"allowedDomains\":null}", "owlat_00000000000000000000000000000000").status == 404)
    #expect(try await send("a@shared.example", "rival", rival).status == 200, "what was refused changed nothing")
    #expect(try await limit("{\"allowedDomains\":[]}", rival).status == 200)
    #expect(try await send("a@shared.example", "rival", rival).status == 403)
    let listed = try await mta.get("/credentials?organizationId=rival").json["credentials"] as? [[String: Any]] ?? []
    let limits = listed.map { ($0["credential"] as? [String: Any])?["allowedDomains"] as? [String] }
    #expect(limits == [[], nil])
    #expect(try await limit("{\"allowedDomains\":null}", try #require(listed.first?["id"] as? String)).status == 200, "by its id too")
    #expect(try await send("a@news.shared.example", "rival", rival, dkim: "shared.example").status == 200)

    // Who renews a key leaves its owner; null takes it away.
    try await mta.registerDKIM("sender.example")
    let owners = (try await mta.get("/dkim").json["domains"] as? [[String: Any]] ?? []).map { $0["organizationId"] as? String }
    #expect(owners == ["rival", "acme", nil])
    #expect(try mta.command("dkim", "list").output.contains("acme"))
    #expect(try mta.command("dkim", "add", "shared.example", "--org", "*").code == 1)
    #expect(try mta.command("dkim", "add", "shared.example", "--org", "").code == 1)
    #expect(try mta.command("dkim", "add", "shared.example", "--selector", "other", "--org", "acme").errors.contains("has a key already"))
    #expect(try await send("a@shared.example", "rival", free).status == 200, "what was refused changed nothing")
    #expect(try mta.command("dkim", "add", "shared.example", "--org", "acme").code == 0)
    #expect(try await send("a@shared.example", "rival", free).status == 403)
    #expect(try await register("sender.example", "{\"organizationId\":\"rival\"}").status == 409, "nobody is given another's domain")
    #expect(try await register("sender.example", "{\"organizationId\":\"acme\"}").status == 200)
    #expect(try mta.command("dkim", "add", "shared.example", "--org", "rival").code == 1)
    #expect(try mta.command("dkim", "add", "shared.example", "--shared", "--org", "rival").code == 2)
    #expect(try mta.command("dkim", "add", "shared.example", "--shared").code == 0)
    #expect(try await send("a@shared.example", "rival", free).status == 200)
    #expect(try await register("sender.example", "{\"organizationId\":null}").json["organizationId"] == nil)
    #expect(try await send("a@sender.example", "rival", free).status == 200)
    // A key without an owner below a domain that has one is that one's.
    try await mta.registerDKIM("sub.rival.sender.example")
    #expect(try await send("a@sub.rival.sender.example", "acme", acme).status == 403)
    #expect(try await send("a@sub.rival.sender.example", "rival", free).status == 200)
    let audit = try String(contentsOfFile: mta.scratch.file("s/audit.jsonl"), encoding: .utf8)
    #expect(audit.contains("\"allowedDomains\":\"null\"") && !audit.contains(rival))
    await mta.tearDown()
  }

  @Test func ratesAreByKeyAndByAddress() async throws {
    var options = MTAFixture.Options()
    options.environment["OWLAT_LIMITS_API_RATE_PER_KEY"] = "5"
    let mta = try await MTAFixture(options)
    try await mta.start()
    // At once, so that no second passes between them, however slow the machine is.
    let answers = try await withThrowingTaskGroup(of: MTAFixture.Answer.self) { group in
      for _ in 0..<60 { group.addTask { try await mta.get("/dkim") } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let refused = answers.filter { $0.status == 429 }
    #expect(!refused.isEmpty && answers.count { $0.status == 200 } >= 5)
    #expect(refused.allSatisfy { $0.headers["retry-after"] == "1" && $0.body == "{\"error\":\"Too many requests\"}" })
    try await eventually("it may call again") { try await mta.get("/dkim").status == 200 }
    #expect(try await mta.get("/health", key: nil).status == 200)
    await mta.tearDown()
  }

  @Test func limitsRulesAndTLS() async throws {
    let dns = try await NameServer(zones: Zones.separate(3))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22", "127.0.0.23"]]
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    func post(_ path: String, _ body: String) async throws -> (Int, String) {
      let answer = try await mta.call("POST", path, body: body)
      return (answer.status, answer.body)
    }
    // Upstream's words.
    for (path, body, text) in [
      ("/org-limits", "{\"dailyLimit\":1}", "Missing required field: organizationId"),
      ("/org-limits", "{\"organizationId\":\"small\"}", "Must provide at least one of: dailyLimit, hourlyLimit"),
      ("/pool-rules", "{\"pool\":\"campaign\"}", "organizationId is required"),
      ("/pool-rules", "{\"organizationId\":\"ruled\"}", "At least one of pool or dedicatedIp is required"),
      ("/pool-rules", "{\"organizationId\":\"ruled\",\"pool\":\"none\"}", "pool must be \\\"transactional\\\" or \\\"campaign\\\""),
      ("/credentials", "{\"name\":\"x\"}", "organizationId and name are required"),
    ] {
      let answer = try await post(path, body)
      #expect(answer.0 == 400 && answer.1 == "{\"error\":\"\(text)\"}", "\(answer)")
    }
    // Limits: three an hour, then a fourth when it is raised.
    #expect(try await post("/org-limits", "{\"organizationId\":\"small\",\"hourlyLimit\":-1}").0 == 400)
    #expect(try await post("/org-limits", "{\"organizationId\":\"small\",\"hourlyLimit\":true}").0 == 400)
    #expect(
      try await post("/org-limits", "{\"organizationId\":\"small\",\"hourlyLimit\":3}").1
        == "{\"success\":true,\"dailySent\":0,\"hourlySent\":0,\"limits\":{\"dailyLimit\":100000000,\"hourlyLimit\":3}}")
    for index in 0..<4 { try await mta.send("l\(index)", to: "u@\(Zones.domain(0))", org: "small") }
    try await eventually("three are sent, one is held") {
      let gates = try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []
      return mta.receiver.messageIDs("sent").count == 3 && gates.contains { $0["reason"] as? String == "org_limit" }
    }
    #expect(try await mta.get("/org-limits/small/usage").body.hasPrefix("{\"dailySent\":3,\"hourlySent\":3,"))
    #expect(try await post("/org-limits", "{\"organizationId\":\"small\",\"hourlyLimit\":4}").0 == 200)
    try await eventually("the fourth is sent") { mta.receiver.messageIDs("sent").count == 4 }

    // Rules: organisation to a dedicated IP, one recipient domain back to a pool.
    let everybody = try await post("/pool-rules", "{\"organizationId\":\"*\",\"pool\":\"transactional\"}")
    #expect(everybody.0 == 400 && everybody.1.contains("organizationId must not be *: a rule is of one organization"))
    #expect(try await post("/pool-rules", "{\"organizationId\":\"ruled\",\"dedicatedIp\":\"9.9.9.9\"}").0 == 400)
    #expect(try await post("/pool-rules", "{\"organizationId\":\"ruled\",\"dedicatedIp\":\"127.0.0.23\"}").1 == "{\"success\":true}")
    #expect(
      try await post("/pool-rules", "{\"organizationId\":\"ruled\",\"pool\":\"transactional\",\"toDomain\":\"\(Zones.domain(1))\"}").0
        == 200)
    for index in 0..<10 {
      try await mta.send("r\(index)", to: "u@\(Zones.domain(index % 2))", org: "ruled", pool: "campaign")
    }
    try await eventually("ten by rule") { mta.receiver.messageIDs("sent").count == 14 }
    for message in mta.log.all where message.messageID.hasPrefix("r") {
      let isOdd = message.recipients.first?.hasSuffix(Zones.domain(1)) == true
      #expect(message.peer == (isOdd ? "127.0.0.21" : "127.0.0.23"))
    }
    // A dedicated IP is never substituted.
    #expect(try mta.command("ip", "pull", "127.0.0.23").code == 0)
    try await mta.send("waits", to: "u@\(Zones.domain(0))", org: "ruled", pool: "campaign")
    try await eventually("it waits for its IP") {
      let gates = try await mta.get("/v1/messages/waits/explain").json["gates"] as? [[String: Any]] ?? []
      return gates.map { $0["key"] as? String } == ["127.0.0.23"]
    }
    #expect(
      try await mta.get("/pool-rules/ruled?toDomain=\(Zones.domain(1))").body
        == "{\"rule\":{\"organizationId\":\"ruled\",\"pool\":\"transactional\",\"toDomain\":\"\(Zones.domain(1))\"}}")
    #expect((try await mta.get("/pool-rules/ruled/all").json["rules"] as? [Any])?.count == 2)
    #expect(try await mta.call("DELETE", "/pool-rules/ruled", body: nil).body == "{\"success\":true,\"removed\":true}")
    #expect(try await mta.get("/pool-rules/ruled").body == "{\"rule\":null}")

    // TLS demanded of a domain whose host offers none: never in the clear.
    #expect(try await post("/outbound-tls", "{}").1 == "{\"error\":\"domain and mode are required\"}")
    #expect(
      try await post("/outbound-tls", "{\"domain\":\"a.test\",\"mode\":\"x\"}").1
        == "{\"error\":\"mode must be one of: opportunistic, require, require-verified\"}")
    #expect(try await post("/outbound-tls", "{\"domain\":\"a.test\",\"mode\":\"require-verified\"}").0 == 400)
    #expect(
      try await post("/outbound-tls", "{\"domain\":\"\(Zones.domain(2).uppercased())\",\"mode\":\"require\"}").1
        == "{\"success\":true,\"domain\":\"\(Zones.domain(2))\",\"mode\":\"require\"}")
    let before = mta.log.count
    try await mta.send("secret", to: "u@\(Zones.domain(2))")
    try await eventually("it is deferred") { mta.receiver.messageIDs("deferred").contains("secret") }
    #expect(mta.log.count == before)
    #expect(
      try await mta.get("/outbound-tls").body == "{\"globalMode\":\"opportunistic\",\"overrides\":{\"\(Zones.domain(2))\":\"require\"}}")
    #expect(
      try await mta.call("DELETE", "/outbound-tls/\(Zones.domain(2))", body: nil).body
        == "{\"success\":true,\"domain\":\"\(Zones.domain(2))\"}")
    #expect(try await mta.call("DELETE", "/outbound-tls/\(Zones.domain(2))", body: nil).body == "{\"error\":\"No override for domain\"}")
    await mta.tearDown()
  }

  @Test func suppressionIsByEverybodyOrOneOrganisation() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let domain = Zones.domain(0)
    func post(_ path: String, _ body: [String: Any]) async throws -> String {
      let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
      return try await mta.call("POST", path, body: text).body
    }
    #expect(try await post("/suppression", ["emails": ["ALL@\(domain)"], "source": "a person"]) == "{\"success\":true,\"suppressed\":1}")
    #expect(
      try await post("/suppression", ["emails": ["one@\(domain)"], "reason": "complaint", "organizationId": "acme"])
        == "{\"success\":true,\"suppressed\":1}")
    #expect(try await post("/suppression", ["emails": ["no address"]]).contains("Invalid email address"))
    #expect(try await post("/suppression/bulk", ["entries": [["email": "x"]]]).contains("entries[0]"))
    #expect(
      try await post("/suppression/bulk", ["entries": (0...10_000).map { ["email": "u\($0)@b.example"] }])
        == "{\"error\":\"Maximum 10,000 entries per request\"}")
    #expect(try await post("/suppression/bulk", ["entries": 1]) == "{\"error\":\"Missing required field: entries (array)\"}")
    #expect(try await post("/suppression/bulk", ["entries": [Any]()]) == "{\"success\":true,\"suppressed\":0}")
    #expect(try await post("/suppression", ["emails": [Any]()]) == "{\"error\":\"Missing required field: emails (non-empty array)\"}")
    let bulk = (0..<2500).map { ["email": "b\($0)@bulk.example", "reason": "hard_bounce", "source": "import"] }
    #expect(try await post("/suppression/bulk", ["entries": bulk]) == "{\"success\":true,\"suppressed\":2500}")
    try await mta.send("m-all", to: "all@\(domain)", org: "acme")
    try await mta.send("m-one", to: "one@\(domain)", org: "acme")
    try await mta.send("m-other", to: "one@\(domain)", org: "other")
    try await eventually("two are refused, one is sent") {
      Set(mta.receiver.messageIDs("failed")) == ["m-all", "m-one"] && mta.receiver.messageIDs("sent") == ["m-other"]
    }
    #expect(mta.receiver.all.filter { $0.event == "failed" }.allSatisfy { $0.fields["errorCode"] == "RECIPIENT_SUPPRESSED" })
    let check = try await mta.get("/suppression/check/all@\(domain)").json
    #expect(check["suppressed"] as? Bool == true && check["reason"] as? String == "manual" && check["source"] as? String == "a person")
    let life = (check["expiresAt"] as? Int ?? 0) - (check["suppressedAt"] as? Int ?? 0)
    #expect(life == 7 * 86_400_000)
    #expect(try await mta.get("/suppression/check/one@\(domain)").body == "{\"suppressed\":false}")
    #expect(try await mta.get("/suppression/check/one@\(domain)?organizationId=acme").json["reason"] as? String == "complaint")
    #expect(try await mta.get("/suppression/check/b1@bulk.example").json["expiresAt"] == nil)
    #expect(
      try await mta.get("/suppression/stats").body
        == "{\"total\":2501,\"byReason\":{\"hard_bounce\":2500,\"complaint\":0,\"manual\":1,\"unknown\":0}}")
    // The export walks everything by its cursor.
    var seen: Set<String> = []
    var cursor: String? = "0"
    while let at = cursor {
      let page = try await mta.get("/suppression/export?limit=500&reason=hard_bounce&cursor=\(at)").json
      for entry in page["entries"] as? [[String: Any]] ?? [] { seen.insert(entry["email"] as? String ?? "") }
      cursor = page["nextCursor"] as? String
    }
    #expect(seen.count == 2500)
    #expect(try await mta.call("DELETE", "/suppression/all@\(domain)", body: nil).body == "{\"success\":true,\"removed\":true}")
    #expect(try await mta.call("DELETE", "/suppression/all@\(domain)", body: nil).body == "{\"success\":true,\"removed\":false}")
    try await mta.send("m-again", to: "all@\(domain)", org: "acme")
    try await eventually("it is sent now") { mta.receiver.messageIDs("sent").contains("m-again") }
    await mta.tearDown()
  }
}
