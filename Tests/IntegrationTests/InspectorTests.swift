import Foundation
import SMTPServer
import TestSupport
import Testing

/// Mail is shown to inspectors before it is accepted: servers of the test's own, the whole product around them.
@Suite(.serialized) struct InspectorTests {
  private func fixture(_ inspectors: String) async throws -> (mta: MTAFixture, dns: NameServer) {
    var options = MTAFixture.Options()
    let dns = try await NameServer(zones: Zones.separate(2))
    options.dns = dns
    options.extra = "inspectors: [ \(inspectors) ]\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    return (mta, dns)
  }

  private func metric(_ mta: MTAFixture, _ name: String) async throws -> Double {
    let line = try await mta.get("/metrics").body.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line?.split(separator: " ").last.flatMap { Double($0) } ?? -1
  }

  private static func failure(_ mta: MTAFixture, _ id: String) -> ReceivedWebhook? {
    mta.receiver.all.first { $0.event == "failed" && $0.messageID == id }
  }

  /// Each of the three rejects what it rejects; what all let pass leaves as they saw it.
  @Test func whatAnInspectorRejectsIsScreened() async throws {
    let seen = Locked<[String]>([])
    let rspamd = try await InspectorServer.rspamd { mail in
      seen.change { $0.append(mail) }
      return mail.contains("rspamd-bad") ? ("reject", 3) : mail.contains("rspamd-high") ? ("add header", 7.5) : ("no action", 7)
    }
    let spamd = try await InspectorServer.spamd { $0.contains("spamd-bad") ? 9.5 : 1 }
    let clamd = try await InspectorServer.clamd { $0.contains("clamd-bad") ? "stream: Test.Virus FOUND" : "stream: OK" }
    let (mta, dns) = try await fixture(
      "{kind: rspamd, url: \"http://127.0.0.1:\(rspamd.port)\", reject_above: 7}, "
        + "{kind: spamassassin, url: \"tcp://127.0.0.1:\(spamd.port)\", reject_above: 9}, {kind: clamav, url: \"tcp://127.0.0.1:\(clamd.port)\"}"
    )
    for id in ["rspamd-bad", "rspamd-high", "spamd-bad", "clamd-bad", "fine"] {
      try await mta.send(id, to: "u@\(Zones.domain(0))", ["text": "word \(id)"])
    }
    try await eventually("one is sent, four are screened") {
      mta.receiver.messageIDs("sent") == ["fine"] && mta.receiver.messageIDs("failed").count == 4
    }
    #expect(mta.log.all.map(\.messageID) == ["fine"])
    for (id, reason) in [
      ("rspamd-bad", "rspamd: action reject, score 3.0"), ("rspamd-high", "rspamd: action add header, score 7.5"),
      ("spamd-bad", "spamassassin: score 9.5"), ("clamd-bad", "clamav: Test.Virus"),
    ] {
      let event = try #require(Self.failure(mta, id))
      #expect(event.fields["errorCode"] == "CONTENT_SCREENED" && event.fields["message"]?.hasSuffix(reason) == true, "\(event.body)")
    }
    // The same again is known, and not shown again.
    try await mta.send("fine-2", to: "v@\(Zones.domain(1))", ["text": "word fine", "subject": "Hello fine", "html": "<p>Hi fine</p>"])
    try await eventually("it is sent") { mta.receiver.messageIDs("sent").contains("fine-2") }
    #expect(seen.value.count == 5)

    let shown = try #require(seen.value.first { $0.contains("word fine") })
    let sent = String(decoding: try #require(mta.log.all.first).octets, as: UTF8.self)
    func parts(_ mail: String) -> (head: Set<Substring>, words: Bool) {
      let head = mail.components(separatedBy: "\r\n\r\n")[0].split(separator: "\r\n")
        .filter { line in ["From:", "To:", "Subject:", "X-Owlat-"].contains { line.hasPrefix($0) } }
      return (Set(head), mail.contains("word fine") && mail.contains("<p>Hi fine</p>"))
    }
    #expect(parts(shown).head.count == 5 && parts(shown).head == parts(sent).head && parts(shown).words && parts(sent).words)
    #expect(try await metric(mta, "mta_inspections_total{inspector=\"rspamd\",result=\"rejected\"}") == 2)
    #expect(try await metric(mta, "mta_inspections_total{inspector=\"clamav\",result=\"rejected\"}") == 1)
    await mta.tearDown()
    dns.stop()
    for server in [rspamd, spamd, clamd] { await server.stop() }
  }

  /// A batch shows what its recipients share once, and what differs for each.
  @Test func aBatchIsShownByContent() async throws {
    let seen = Locked(0)
    let server = try await InspectorServer.rspamd { mail in
      seen.change { $0 += 1 }
      return mail.contains("cheap pills") ? ("reject", 20) : ("no action", 0)
    }
    let (mta, dns) = try await fixture("{kind: rspamd, url: \"http://127.0.0.1:\(server.port)\"}")
    func batch(_ prefix: String, text: String, count: Int, value: (Int) -> String) async throws -> MTAFixture.Answer {
      let template: [String: Any] = [
        "from": "news@sender.example", "subject": "Hello", "text": text, "ipPool": "transactional", "organizationId": "acme",
        "dkimDomain": "sender.example",
      ]
      let recipients = (0..<count).map {
        ["to": "u\($0)@\(Zones.domain(0))", "messageId": "\(prefix)\($0)", "values": ["thing": value($0)]] as [String: Any]
      }
      let head = String(decoding: try JSONSerialization.data(withJSONObject: template), as: UTF8.self)
      let list = String(decoding: try JSONSerialization.data(withJSONObject: recipients), as: UTF8.self)
      return try await mta.call("POST", "/send/batch", body: "{\"template\":\(head),\"recipients\":\(list)}")
    }
    #expect(try await batch("same", text: "one text for all", count: 600, value: { _ in "x" }).json["success"] as? Bool == true)
    #expect(seen.value == 1)
    let answer = try await batch("own", text: "buy {{thing}}", count: 30) { $0 == 7 ? "cheap pills" : "thing \($0 % 3)" }
    #expect(answer.json["success"] as? Bool == true)
    #expect(seen.value == 5)
    try await eventually("the rest is sent", within: .seconds(30)) { Set(mta.receiver.messageIDs("sent")).count == 629 }
    #expect(mta.receiver.messageIDs("failed") == ["own7"])
    await mta.tearDown()
    dns.stop()
    await server.stop()
  }

  /// An inspector that hangs, is away or talks nonsense: mail passes, quickly, and the operator is told.
  @Test func openLetsPass() async throws {
    let mode = Locked<InspectorServer.Act>(.hang)
    let server = try await InspectorServer.start { InspectorServer.content($0) == nil ? .wait : mode.value }
    let (mta, dns) = try await fixture("{kind: rspamd, url: \"http://127.0.0.1:\(server.port)\", timeout: 700ms}")
    let begin = ContinuousClock.now
    try await mta.sendAll((0..<120).map { ("m\($0)", "u\($0)@\(Zones.domain($0 % 2))", "acme", "transactional") })
    // Sixteen wait for it together; from the third failure on nobody does but one at a time.
    #expect(ContinuousClock.now - begin < .seconds(8))
    try await eventually("all are sent") { Set(mta.receiver.messageIDs("sent")).count == 120 }
    #expect(try await metric(mta, "mta_inspections_total{inspector=\"rspamd\",result=\"error\"}") == 120)
    #expect(try await metric(mta, "mta_inspections_total{inspector=\"rspamd\",result=\"clean\"}") == 0)
    let lines = mta.logText().split(separator: "\n").filter { $0.contains("rspamd could not be asked; mail passes without it") }
    #expect((1...2).contains(lines.count), "\(lines)")
    // It is back: asked again after its rest.
    mode.change {
      let body = "{\"action\":\"reject\",\"score\":20}"
      $0 = .answer("HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
    let sent = Locked(0)
    try await eventually("it judges again") {
      sent.change { $0 += 1 }
      try await mta.send("back\(sent.value)", to: "u@\(Zones.domain(0))")
      return !mta.receiver.messageIDs("failed").isEmpty
    }
    await mta.tearDown()
    dns.stop()
    await server.stop()
  }

  /// What must be seen and was not is not accepted: 503, alone and within a batch; later it is.
  @Test func closedAcceptsNothing() async throws {
    let port = try freePort()
    let clean = try await InspectorServer.clamd { _ in "stream: OK" }
    let (mta, dns) = try await fixture(
      "{kind: clamav, url: \"tcp://127.0.0.1:\(clean.port)\"}, {kind: spamassassin, url: \"tcp://127.0.0.1:\(port)\", fail: closed, timeout: 500ms}"
    )
    let answer = try await mta.call("POST", "/send", body: MTAFixture.body("a", to: "u@\(Zones.domain(0))"))
    #expect(answer.status == 503 && answer.headers["retry-after"] == "30")
    #expect(answer.body == "{\"error\":\"Service temporarily unavailable: the content cannot be inspected\"}")
    let one = MTAFixture.body("b", to: "u@\(Zones.domain(0))")
    let misaligned = MTAFixture.body("c", to: "u@\(Zones.domain(0))", ["from": "n@other.example"])
    let batch = try await mta.call("POST", "/send/batch", body: "{\"messages\":[\(one),\(misaligned)]}")
    let results = batch.json["results"] as? [[String: Any]] ?? []
    #expect(results.map { $0["success"] as? Bool } == [false, true] && results.first?["status"] as? Int == 503)
    try await eventually("what was objected to before is told as ever") { mta.receiver.messageIDs("failed") == ["c"] }
    #expect(try await mta.get("/v1/messages/a").status == 404)
    #expect(mta.log.count == 0)
    await mta.tearDown()
    dns.stop()
    await clean.stop()
  }
}
