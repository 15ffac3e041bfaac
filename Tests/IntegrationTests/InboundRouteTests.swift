import Foundation
import TestSupport
import Testing

/// Mail for routes: nothing is dropped after 250.
@Suite(.serialized) struct InboundRouteTests {
  @Test func routesTakeHoldAndRefuse() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await FeedbackLoopTests.start(0, dns: dns) { $0.bounce += ", postmaster: \(PostmasterTests.boss)" }
    let endpoint = try WebhookReceiver()
    try await endpoint.start()
    defer { endpoint.stop() }
    func add(_ address: String, _ mode: String, _ more: String = "") async throws -> MTAFixture.Answer {
      try await mta.call(
        "POST", "/inbound/routes",
        body: "{\"domain\":\"In.example\",\"address\":\"\(address)\",\"mode\":\"\(mode)\",\"organizationId\":\"acme\"\(more)}")
    }
    #expect(try await add("support", "endpoint", ",\"endpointUrl\":\"\(endpoint.url)\",\"secret\":\"0123456789abcdef\"").status == 200)
    for mode in ["accept", "hold", "bounce", "reject"] { #expect(try await add(mode, mode).json["success"] as? Bool == true) }
    let listed = try await mta.get("/inbound/routes")
    #expect((listed.json["routes"] as? [Any])?.count == 5 && !listed.body.contains("0123456789abcdef"))
    for (body, text) in [
      ("{}", "domain, address, and mode are required"),
      ("{\"domain\":\"a.example\",\"address\":\"a\",\"mode\":\"zz\"}", "mode must be one of: endpoint, accept, hold, bounce, reject"),
      ("{\"domain\":\"a.example\",\"address\":\"a\",\"mode\":\"endpoint\"}", "endpointUrl is required for endpoint mode"),
      (
        "{\"domain\":\"a.example\",\"address\":\"a\",\"mode\":\"endpoint\",\"endpointUrl\":\"file:///etc/passwd\"}",
        "endpointUrl must be an http or https URL"
      ),
      ("{\"domain\":\"a.example\",\"address\":\"a b\",\"mode\":\"accept\"}", "address must be a local part or *"),
      (
        "{\"domain\":\"a.example\",\"address\":\"a\",\"mode\":\"accept\",\"organizationId\":\"*\"}",
        "organizationId must not be *: a route is of one organization, or of none"
      ),
    ] {
      let answer = try await mta.call("POST", "/inbound/routes", body: body)
      #expect(answer.status == 400 && answer.json["error"] as? String == text, "\(body): \(answer.body)")
    }

    let mail = """
      From: Someone <someone@remote.example>
      Subject: Hello =?utf-8?q?gr=C3=BC=C3=9Fe?=
      Message-ID: <in1@remote.example>
      Date: Tue, 24 Nov 2026 12:00:00 +0000
      MIME-Version: 1.0
      Content-Type: multipart/mixed; boundary=b

      --b
      Content-Type: text/plain

      Hello there.
      --b
      Content-Type: application/pdf; name="a.pdf"
      Content-Transfer-Encoding: base64

      JVBERg==
      --b--

      """.replacingOccurrences(of: "\n", with: "\r\n")
    func deliver(_ recipient: String) throws -> String {
      try FeedbackLoopTests.deliver(mail, to: recipient, from: "someone@remote.example", port: port, mta).last ?? ""
    }
    // The endpoint is down at first: the mail waits, and comes once though its sender sent it twice.
    endpoint.answer(503)
    for _ in 0..<2 { #expect(try deliver("support+x@in.example").hasPrefix("data 250")) }
    endpoint.answer(200)
    try await eventually("the endpoint has it") { endpoint.all.count == 1 }
    let posted = try #require(endpoint.all.first)
    #expect(
      posted.fields["subject"] == "Hello grüße" && posted.fields["from"] == "someone@remote.example"
        && posted.fields["to"] == "support+x@in.example")
    #expect(posted.fields["messageId"] == "<in1@remote.example>" && posted.fields["date"] == "2026-11-24T12:00:00.000Z")
    #expect(posted.body.contains("\"filename\":\"a.pdf\",\"contentType\":\"application/pdf\",\"size\":4,\"content\":\"JVBERg==\""))
    let body = try mta.scratch.write("posted", "\(posted.headers["x-mta-timestamp"] ?? "").\(posted.body)")
    let mac = try run("/usr/bin/openssl", ["dgst", "-sha256", "-hmac", "0123456789abcdef", "-r", body])
    #expect(mac.output.hasPrefix(posted.headers["x-mta-signature"] ?? "none"))

    #expect(try deliver("accept@in.example").hasPrefix("data 250"))
    try await eventually("it is told") { mta.receiver.all.contains { $0.event == "inbound.received" } }
    let event = try #require(mta.receiver.all.first { $0.event == "inbound.received" })
    #expect(
      event.fields["organizationId"] == "acme" && event.fields["message"] == "Inbound from someone@remote.example to accept@in.example")

    #expect(try deliver("hold@in.example").hasPrefix("data 250"))
    let held = try #require((try await mta.get("/v1/inbound/held").json["mails"] as? [[String: Any]])?.first)
    #expect(held["recipient"] as? String == "hold@in.example" && held["subject"] as? String == "Hello grüße")
    let id = try #require(held["id"] as? String)
    #expect(try await mta.call("POST", "/v1/inbound/held/\(id)/release", body: nil).status == 200)
    try await eventually("it is told too") { mta.receiver.all.filter { $0.event == "inbound.received" }.count == 2 }
    #expect(try await mta.call("DELETE", "/v1/inbound/held/\(id)", body: nil).status == 404)

    for recipient in ["bounce@in.example", "reject@in.example", "nobody@in.example"] {
      #expect(try deliver(recipient).hasPrefix("rcpt 550"), "\(recipient)")
    }
    // RFC 5321 §4.5.1: a domain that mail is taken in for has a postmaster, ours unless a route says otherwise.
    try await eventually("its postmaster is ours") { try deliver("postmaster@in.example").hasPrefix("data 250") }
    #expect(try deliver("postmaster@other.example").hasPrefix("rcpt 550"))
    #expect(try await add("*", "reject").status == 200)
    #expect(try deliver("Postmaster@in.example").hasPrefix("data 250") && deliver("abuse@in.example").hasPrefix("rcpt 550"))
    #expect(try await add("*", "hold").status == 200)
    // What looks like a token of ours is none at a tenant's domain; with a route called bounce it is that one's subaddress.
    #expect(try await mta.call("DELETE", "/inbound/routes/in.example/bounce", body: nil).json["success"] as? Bool == true)
    for recipient in ["bounce+zg+aaaaaaaaaaaaaa@in.example", "fbl+zg@in.example", "bounce+sales@in.example"] {
      #expect(try deliver(recipient).hasPrefix("data 250"), "\(recipient)")
    }
    #expect(try deliver("bounce+zg+aaaaaaaaaaaaaa@bounces.test.example").hasPrefix("rcpt 550 5.1.1 This address was not made by us"))
    #expect(try deliver("nobody@in.example").hasPrefix("data 250"))
    #expect(try await mta.call("DELETE", "/inbound/routes/in.example/*", body: nil).json["success"] as? Bool == true)
    #expect(try await mta.call("DELETE", "/inbound/routes/in.example/*", body: nil).status == 404)
    #expect(try deliver("nobody@in.example").hasPrefix("rcpt 550"))
    await mta.tearDown()
  }

  /// However a tenant's URL spells this host: it is not called, the mail waits, and the log says why.
  @Test func anEndpointInsideIsNotCalled() async throws {
    var zones = Zones.separate(1)
    zones["test-zone.example"]?.append("inside IN A 127.0.0.1")
    let dns = try await NameServer(zones: zones)
    defer { dns.stop() }
    let (mta, port) = try await FeedbackLoopTests.start(0, dns: dns) { $0.allowsLoopback = false }
    let endpoint = try WebhookReceiver()
    try await endpoint.start()
    defer { endpoint.stop() }
    let hosts = ["127.0.0.1", "[::ffff:127.0.0.1]", "inside.test-zone.example", "INSIDE.test-zone.example"]
    for (index, host) in hosts.enumerated() {
      let added = try await mta.call(
        "POST", "/inbound/routes",
        body: """
          {"domain":"in.example","address":"a\(index)","mode":"endpoint","organizationId":"acme","secret":"0123456789abcdef",\
          "endpointUrl":"http://\(host):\(endpoint.port)/hook"}
          """)
      #expect(added.status == 200, "\(host): \(added.body)")
      let mail = "From: a@remote.example\r\nMessage-ID: <in\(index)@remote.example>\r\nSubject: s\r\n\r\nHello.\r\n"
      let answer = try FeedbackLoopTests.deliver(mail, to: "a\(index)@in.example", from: "a@remote.example", port: port, mta).last ?? ""
      #expect(answer.hasPrefix("data 250"))
      try await eventually("\(host) is refused") {
        mta.logText().components(separatedBy: "its endpoint may not be used: ").count == index + 2
      }
    }
    #expect(mta.logText().contains("inside.test-zone.example leads to 127.0.0.1"))
    #expect(endpoint.all.isEmpty)
    await mta.tearDown()
  }
}
