import Foundation
import SMTPServer
import TestSupport
import Testing

/// Every route has a scenario that changes the system and sees the answer change; what they all share is checked here.
@Suite(.serialized) struct RouteTests {
  struct Route: Hashable, CustomStringConvertible {
    var method: String
    var path: String
    var access: String

    var description: String { "\(method) \(path)" }
    /// With something in place of each parameter.
    var example: String { path.replacing(#/:[A-Za-z]+/#, with: "x.example") }
  }

  /// Route → the scenarios that change the system and see its answer change, or act through it and see the sink, Redis or an
  /// event change.
  static let scenarios: [String: [String]] = [
    "GET /": ["theProductAnswersAsUpstreamDid"], "GET /health": ["healthFollowsTheIPs"], "GET /metrics": ["figuresFollowWhatHappens"],

    "POST /send": ["everyMessageArrivesOnceFromItsPoolSignedAndTold", "malformedRequestsChangeNothing"],
    "GET /ip-reputation": ["aListedIPIsPulledAndComesBackThroughProbation"], "GET /ip-reputation/:ip": ["anIPIsWhoItSays"],
    "GET /v1/url-blocklist": ["contentIsScreened"], "POST /v1/url-blocklist": ["contentIsScreened"],
    "DELETE /v1/url-blocklist": ["contentIsScreened"], "POST /v1/ips/:ip/warming": ["aWarmingIPKeepsItsCap"],
    "POST /send/decision": ["decisionsFollowTheBreaker"],
    "POST /v1/messages/:id/feedback": ["aComplaintStopsTheOrganisation", "lateBouncesCountLikeReplies"],
    "GET /v1/bulk-senders": ["bulkSendersAreWarned"],
    "POST /send/system": ["theOtherIntakesAndTheirReceipts"],
    "POST /send/postbox": ["theOtherIntakesAndTheirReceipts"],
    "POST /send/batch": ["aTemplateIsFilledForEachRecipient", "manyBodiesInOneRequest"],
    "GET /send/receipt/:id": ["theOtherIntakesAndTheirReceipts"], "POST /dkim": ["mailIsSignedWithBothKeys"],
    "GET /dkim": ["mailIsSignedWithBothKeys", "keysAndReturnPaths"], "DELETE /dkim/:domain": ["keysAndReturnPaths"],
    "POST /dkim/:domain/register": ["keysAndReturnPaths"], "GET /v1/messages/:id": ["keysOpenOnlyTheirOrganisation"],
    "GET /v1/messages/:id/explain": ["scheduledMailWaitsAndExplainSaysSo", "aFullWindowAndAnOrganisationsLimit"],
    "POST /v1/messages/:id/resend": ["uncertainMailIsSentAgainOrDropped"],
    "POST /v1/messages/:id/drop": ["uncertainMailIsSentAgainOrDropped"],
    "GET /v1/gates": ["aFullWindowAndAnOrganisationsLimit", "limitsRulesAndTLS"],
    "POST /credentials": ["keysOpenOnlyTheirOrganisation"], "GET /credentials": ["keysOpenOnlyTheirOrganisation"],
    "DELETE /credentials/:apiKey": ["keysOpenOnlyTheirOrganisation"], "PATCH /credentials/:apiKey": ["aTenantSendsFromItsOwnDomainsOnly"],
    "POST /org-limits": ["limitsRulesAndTLS"],
    "GET /org-limits/:org": ["anOrganisationsUsage"], "GET /org-limits/:org/usage": ["limitsRulesAndTLS", "anOrganisationsUsage"],
    "POST /pool-rules": ["limitsRulesAndTLS"], "GET /pool-rules/:org": ["limitsRulesAndTLS"],
    "GET /pool-rules/:org/all": ["limitsRulesAndTLS"], "DELETE /pool-rules/:org": ["limitsRulesAndTLS"],
    "GET /outbound-tls": ["limitsRulesAndTLS"], "POST /outbound-tls": ["limitsRulesAndTLS"],
    "DELETE /outbound-tls/:domain": ["limitsRulesAndTLS"], "POST /suppression": ["suppressionIsByEverybodyOrOneOrganisation"],
    "POST /suppression/bulk": ["suppressionIsByEverybodyOrOneOrganisation"],
    "GET /suppression/export": ["suppressionIsByEverybodyOrOneOrganisation"],
    "GET /suppression/stats": ["suppressionIsByEverybodyOrOneOrganisation"],
    "GET /suppression/check/:email": ["suppressionIsByEverybodyOrOneOrganisation"],
    "DELETE /suppression/:email": ["suppressionIsByEverybodyOrOneOrganisation"], "GET /queue/stats": ["waitingMailIsListedAndCancelled"],
    "GET /queue/pending": ["waitingMailIsListedAndCancelled"], "GET /queue/jobs/:id": ["waitingMailIsListedAndCancelled"],
    "DELETE /queue/jobs/:id": ["waitingMailIsListedAndCancelled"], "POST /queue/flush": ["waitingMailIsListedAndCancelled"],
    "GET /v1/pauses": ["pausesByRoute", "organisationsDomainsAndPoolsArePaused"], "POST /v1/pauses": ["pausesByRoute"],
    "DELETE /v1/pauses/:scope/:name": ["pausesByRoute", "organisationsDomainsAndPoolsArePaused"],
    "GET /delivery-logs": ["logsAndTraceShowEachAttempt"], "GET /delivery-logs/stats": ["logsAndTraceShowEachAttempt"],
    "GET /delivery-logs/:messageId": ["logsAndTraceShowEachAttempt"], "GET /dlq": ["deadLettersAreRetriedOrDiscarded"],
    "GET /dlq/stats": ["deadLettersAreRetriedOrDiscarded"], "POST /dlq/:id/retry": ["deadLettersAreRetriedOrDiscarded"],
    "POST /dlq/retry-all": ["deadLettersAreRetriedOrDiscarded"], "DELETE /dlq/:id": ["deadLettersAreRetriedOrDiscarded"],
    "GET /isp-profiles": ["profilesChangeAtOnce", "theProductAnswersAsUpstreamDid"],
    "GET /isp-profiles/:provider": ["profilesChangeAtOnce", "theProductAnswersAsUpstreamDid"],
    "PUT /isp-profiles/:provider": ["profilesChangeAtOnce", "theProductAnswersAsUpstreamDid"],
    "DELETE /isp-profiles/:provider": ["profilesChangeAtOnce", "theProductAnswersAsUpstreamDid"],
    "GET /u/:token": ["whoLeavesAListGetsNoMoreOfIt"], "POST /u/:token": ["whoLeavesAListGetsNoMoreOfIt"],
    "POST /inbound/routes": ["routesTakeHoldAndRefuse"], "GET /inbound/routes": ["routesTakeHoldAndRefuse"],
    "DELETE /inbound/routes/:domain/:address": ["routesTakeHoldAndRefuse"], "GET /v1/inbound/held": ["routesTakeHoldAndRefuse"],
    "POST /v1/inbound/held/:id/release": ["routesTakeHoldAndRefuse"], "DELETE /v1/inbound/held/:id": ["routesTakeHoldAndRefuse"],
    "GET /v1/unsubscribes": ["whoLeavesAListGetsNoMoreOfIt"], "DELETE /v1/unsubscribes/:list/:email": ["whoLeavesAListGetsNoMoreOfIt"],
    "GET /v1/ips": ["ipsByRoute"], "POST /v1/ips": ["ipsByRoute"], "DELETE /v1/ips/:address": ["ipsByRoute"],
    "POST /v1/ips/:address/drain": ["ipsByRoute"], "POST /v1/ips/:address/pull": ["ipsByRoute"],
    "POST /v1/ips/:address/restore": ["ipsByRoute"],
    "GET /breakers": ["theBreakerOfAnOrganisation"], "POST /breakers/:organizationId/reset": ["theBreakerOfAnOrganisation"],
  ]

  /// The routes as the sources declare them.
  static func declared() throws -> [Route] {
    let folder = FileManager.default.currentDirectoryPath + "/Sources/supervisor/HTTP"
    var routes: [Route] = []
    for name in try FileManager.default.subpathsOfDirectory(atPath: folder).sorted() where name.hasSuffix(".swift") {
      let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
      for match in text.matches(of: #/APIRoute\(\s*method: \.(\w+), path: "([^"]+)", access: \.(\w+)/#) {
        routes.append(Route(method: match.1.uppercased(), path: String(match.2), access: String(match.3)))
      }
    }
    return routes
  }

  @Test func everyRouteHasAScenario() throws {
    let routes = try Self.declared()
    #expect(routes.count >= 50 && Set(routes).count == routes.count)
    #expect(Set(routes.map(\.description)) == Set(Self.scenarios.keys))
    let folder = FileManager.default.currentDirectoryPath + "/Tests/IntegrationTests"
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).map {
      try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8)
    }
    for (route, names) in Self.scenarios {
      let start = route.split(separator: " ")[1].split(separator: ":")[0]
      let places = names.map { name in files.first { $0.contains("func \(name)(") } }
      #expect(!places.contains(nil), "\(route): \(names)")
      // The replay has its paths from the recordings.
      #expect(places.compactMap { $0 }.contains { $0.contains(start) || $0.contains("GoldenReplay(") }, "\(route): \(names)")
    }
  }

  /// Keys, methods and kinds of answer are the same everywhere.
  @Test func everyRouteIsClosedAndSaysSoInJSON() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    let made = try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"k\"}").json
    let tenant = try #require(made["apiKey"] as? String)
    let before = try mta.redis("DBSIZE")
    let routes = try Self.declared()
    for route in routes {
      let isOpen = ["open", "loopbackOrMaster"].contains(route.access)
      for key in [nil, "wrong", route.access == "master" ? tenant : "wrong"] where !isOpen {
        let answer = try await mta.call(route.method, route.example, body: nil, key: key)
        #expect(answer.status == 401 && answer.body == "{\"error\":\"Unauthorized\"}", "\(route)")
        #expect(answer.headers["content-type"] == "application/json", "\(route)")
      }
      let allowed = Set(routes.filter { Self.fits($0.path, route.example) }.map(\.method)).sorted()
      let wrong = try await mta.call(allowed.contains("PATCH") ? "PUT" : "PATCH", route.example, body: nil)
      #expect(wrong.status == 405 && wrong.body == "{\"error\":\"Method Not Allowed\"}", "\(route)")
      #expect(wrong.headers["allow"] == allowed.joined(separator: ", "), "\(route): \(wrong.headers["allow"] ?? "")")
      if route.method == "GET", route.path != "/metrics" {
        let answer = try await mta.get(route.example)
        #expect([200, 400, 404].contains(answer.status) && (try? JSONValue(answer.body)) != nil, "\(route): \(answer.body)")
        #expect(answer.headers["content-type"] == "application/json", "\(route)")
      }
      let below = try await mta.get(route.example + (route.example == "/" ? "" : "/") + "nothing/is/there")
      #expect(below.status == 404 && below.body == "{\"error\":\"Not Found\"}", "\(route)")
    }
    #expect(try mta.redis("DBSIZE") == before, "nothing of this changes anything")

    try await healthFollowsTheIPs(mta)
    await mta.tearDown()
  }

  static func fits(_ pattern: String, _ path: String) -> Bool {
    let (parts, segments) = (pattern.split(separator: "/"), path.split(separator: "/"))
    return parts.count == segments.count && zip(parts, segments).allSatisfy { $0.hasPrefix(":") || $0 == $1 }
  }

  func healthFollowsTheIPs(_ mta: MTAFixture) async throws {
    func ips() async throws -> [JSONValue?] {
      try JSONValue(try await mta.get("/health", key: nil).body)["ips"]?.list?.map { $0["active"] } ?? []
    }
    #expect(try await ips() == [.bool(true)])
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await eventually("it is not active") { try await ips() == [.bool(false)] }
    let health = try JSONValue(try await mta.get("/health", key: nil).body)
    #expect(health["status"] == .text("degraded") && health["emergency"] == .object(["allIpsBlocked": .bool(true)]))
    #expect(health["worker"]?["alive"] == .bool(false))
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("it is active again") { try await ips() == [.bool(true)] }
    #expect(try JSONValue(try await mta.get("/health", key: nil).body)["emergency"] == .object(["allIpsBlocked": .bool(false)]))
  }

  @Test func routesThatActOnMail() async throws {
    let dns = try await NameServer(zones: Zones.separate(3))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await keysAndReturnPaths(mta)
    try await theOtherIntakesAndTheirReceipts(mta)
    try await pausesByRoute(mta)
    try await anOrganisationsUsage(mta)
    await mta.tearDown()
  }

  func keysAndReturnPaths(_ mta: MTAFixture) async throws {
    func register(_ body: String?) async throws -> JSONValue {
      try JSONValue(try await mta.call("POST", "/dkim/sender.example/register", body: body).body)
    }
    func returnPath(_ id: String) async throws -> String {
      try await mta.send(id, to: "u@\(Zones.domain(0))")
      try await eventually("\(id) arrives") { mta.log.all.contains { $0.messageID == id } }
      return mta.log.all.first { $0.messageID == id }?.returnPath.split(separator: "@").last.map(String.init) ?? ""
    }
    #expect(try await register("{\"returnPathHost\":\"Bounces.Sender.Example\"}")["returnPathHost"] == .text("bounces.sender.example"))
    #expect(try await returnPath("own-path") == "bounces.sender.example")
    // Absent leaves it, null clears it.
    #expect(try await register(nil)["returnPathHost"] == .text("bounces.sender.example"))
    let cleared = try await register("{\"returnPathHost\":null}")
    #expect(cleared["returnPathHost"] == nil && cleared["created"] == .bool(false))
    #expect(try await returnPath("our-path") == "bounces.test.example")
    #expect((try await mta.get("/dkim").json["domains"] as? [[String: Any]])?.map { $0["domain"] as? String } == ["sender.example"])
    let stored = try mta.redis("HGETALL", "{mta}:dkim")
    #expect(stored.contains("sealed") && !stored.contains("PRIVATE KEY"))
    #expect(try await mta.call("DELETE", "/dkim/sender.example", body: nil).body == "{\"success\":true}")
    let refused = try await mta.call("POST", "/send", body: MTAFixture.body("no-key", to: "u@\(Zones.domain(0))"))
    #expect(refused.status == 400 && (refused.json["error"] as? String ?? "").hasPrefix("No DKIM key for dkimDomain sender.example"))
    #expect(try await mta.get("/dkim").body == "{\"domains\":[]}")
    #expect(try await register(nil)["created"] == .bool(true))
  }

  func theOtherIntakesAndTheirReceipts(_ mta: MTAFixture) async throws {
    let to = "u@\(Zones.domain(1))"
    #expect(try await mta.get("/send/receipt/sys").body == "{\"state\":\"absent\"}")
    let system = try await mta.call("POST", "/send/system", body: MTAFixture.body("sys", to: to, org: "system"))
    #expect(system.body == "{\"success\":true,\"id\":\"sys\",\"workAttemptId\":\"sys\"}")
    let receipt = try JSONValue(try await mta.get("/send/receipt/sys").body)
    #expect(receipt["state"] == .text("accepted") && receipt["messageId"] == .text("sys"))
    let allowed: [String: Any] = ["allowedFromAddresses": ["NEWS@sender.example"]]
    let postbox = try await mta.call("POST", "/send/postbox", body: MTAFixture.body("box", to: to, org: "postbox", allowed))
    #expect(postbox.body == "{\"success\":true,\"id\":\"box\",\"workAttemptId\":\"box\"}")
    // Sealed mail leaves octet for octet under our header.
    let sealed =
      "From: News <news@sender.example>\r\nTo: \(to)\r\nSubject: ...\r\nMIME-Version: 1.0\r\n"
      + "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n"
      + "--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\n"
      + "Content-Type: application/octet-stream\r\n\r\nciphertext\r\n--b--\r\n"
    let changes = allowed.merging(["sealedMimeBase64": Data(sealed.utf8).base64EncodedString(), "subject": "..."]) { $1 }
    let answer = try await mta.call("POST", "/send/postbox", body: MTAFixture.body("sealed", to: to, org: "postbox", changes))
    #expect(answer.status == 200, "\(answer.body)")
    try await eventually("all three arrive") { Set(mta.receiver.messageIDs("sent")).isSuperset(of: ["sys", "box", "sealed"]) }
    for id in ["sys", "box"] { #expect(mta.log.all.contains { $0.messageID == id }, "\(id)") }
    let octets = try #require(mta.log.all.first { String(decoding: $0.octets, as: UTF8.self).contains("ciphertext") }).octets
    #expect(String(decoding: octets, as: UTF8.self).hasSuffix(sealed))
    #expect(String(decoding: octets, as: UTF8.self).hasPrefix("DKIM-Signature:"))
  }

  func pausesByRoute(_ mta: MTAFixture) async throws {
    for (body, error) in [
      ("{x", "Invalid JSON body"), ("{\"scope\":\"x\",\"name\":\"y\"}", "scope must be one of: org, domain, pool, campaign, tag"),
      ("{\"scope\":\"org\"}", "name must be 1 to 256 octets without control characters"),
      ("{\"scope\":\"domain\",\"name\":\"no domain\"}", "name must be a domain name"),
    ] { #expect(try await mta.call("POST", "/v1/pauses", body: body).json["error"] as? String == error, "\(body)") }
    let body = "{\"scope\":\"tag\",\"name\":\"spring\",\"reason\":\"a reason\"}"
    #expect(try await mta.call("POST", "/v1/pauses", body: body).body == "{\"success\":true,\"held\":0}")
    let listed = try JSONValue(try await mta.get("/v1/pauses").body)["pauses"]?.list ?? []
    #expect(listed.map { $0["reason"] } == [.text("a reason")] && listed.first?["scope"] == .text("tag"))
    try await mta.send("tagged", to: "u@\(Zones.domain(2))", ["tags": ["spring"]])
    let held = try JSONValue(try await mta.get("/v1/messages/tagged/explain").body)["gates"]?.list ?? []
    #expect(held.map { $0["reason"] } == [.text("queue_paused")])
    #expect(try await mta.call("DELETE", "/v1/pauses/tag/spring", body: nil).body == "{\"success\":true,\"released\":1}")
    try await eventually("it leaves") { mta.receiver.messageIDs("sent").contains("tagged") }
    #expect(try await mta.call("DELETE", "/v1/pauses/tag/spring", body: nil).body == "{\"error\":\"Not paused\"}")
  }

  func anOrganisationsUsage(_ mta: MTAFixture) async throws {
    let unused = "{\"dailySent\":0,\"hourlySent\":0,\"limits\":{\"dailyLimit\":100000000,\"hourlyLimit\":100000000}}"
    for path in ["/org-limits/counted", "/org-limits/counted/usage"] { #expect(try await mta.get(path).body == unused) }
    try await mta.send("counted", to: "u@\(Zones.domain(2))", org: "counted")
    try await eventually("it is sent") { mta.receiver.messageIDs("sent").contains("counted") }
    for path in ["/org-limits/counted", "/org-limits/counted/usage"] {
      #expect(try await mta.get(path).body.hasPrefix("{\"dailySent\":1,"))
    }
  }
}
