import Foundation
import SMTPServer
import TestSupport
import Testing

/// `POST /send/batch`, both forms.
@Suite(.serialized) struct BatchTests {
  func json(_ object: Any) -> String { String(decoding: (try? JSONSerialization.data(withJSONObject: object)) ?? Data(), as: UTF8.self) }

  static var template: [String: Any] {
    [
      "from": "News <news@sender.example>", "subject": "For {{name}}", "html": "<p>{{name}} {{{link}}}</p>", "text": "{{name}}: {{link}}",
      "headers": ["List-Unsubscribe": "<https://u.example/{{id}}>"], "ipPool": "transactional", "organizationId": "acme",
      "dkimDomain": "sender.example",
    ]
  }

  /// Written by hand: a dictionary has no order, and the template must come first.
  func body(_ template: [String: Any], _ recipients: [[String: Any]]) -> String {
    "{\"template\":\(json(template)),\"recipients\":\(json(recipients))}"
  }

  @Test func aTemplateIsFilledForEachRecipient() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    func recipient(_ index: Int, _ values: [String: Any]) -> [String: Any] {
      ["to": "u\(index)@\(Zones.domain(index % 2))", "messageId": "t\(index)", "values": values]
    }
    let recipients: [[String: Any]] = [
      recipient(0, ["name": "Ann & Bob", "link": "<a href=x>y</a>", "id": 7]),
      recipient(1, ["name": "Zoë", "link": "z", "id": "8", "unused": "x"]),
      recipient(2, ["name": "no link", "id": 9]),
      recipient(3, ["name": "a\r\nBcc: evil@x.example", "link": "z", "id": 10]),
      ["to": "nonsense", "messageId": "t4", "values": ["name": "n", "link": "l", "id": 1]],
      recipient(5, ["name": "n", "link": "two\r\nlines", "id": 1]),
    ]
    let answer = try await mta.call("POST", "/send/batch", body: body(Self.template, recipients))
    #expect(answer.status == 200)
    #expect(
      answer.body
        == "{\"success\":false,\"results\":[{\"success\":true,\"id\":\"t0\",\"workAttemptId\":\"t0\"},"
        + "{\"success\":true,\"id\":\"t1\",\"workAttemptId\":\"t1\"},"
        + "{\"success\":false,\"id\":\"t2\",\"status\":400,\"error\":\"values.link is missing\"},"
        + "{\"success\":false,\"id\":\"t3\",\"status\":400,\"error\":\"values.name must not contain line breaks or control characters\"},"
        + "{\"success\":false,\"id\":\"t4\",\"status\":400,\"error\":\"Invalid \\\"to\\\" email address format\"},"
        + "{\"success\":true,\"id\":\"t5\",\"workAttemptId\":\"t5\"}]}")
    try await eventually("three arrive") { mta.receiver.messageIDs("sent").count == 3 }
    let first = try #require(mta.log.all.first { $0.messageID == "t0" })
    #expect(first.field("Subject") == "For Ann & Bob")
    #expect(first.field("List-Unsubscribe") == "<https://u.example/7>")
    let text = String(decoding: first.octets, as: UTF8.self)
    #expect(text.contains("Ann & Bob: <a href=x>y</a>"))
    #expect(text.contains("<p>Ann &amp; Bob <a href=x>y</a></p>"))
    // Posting it again is safe.
    let again = try await mta.call("POST", "/send/batch", body: body(Self.template, [recipients[0], recipients[1]])).json
    #expect(again["success"] as? Bool == true)
    #expect((again["results"] as? [[String: Any]])?.allSatisfy { $0["deduplicated"] as? Bool == true } == true)
    #expect(mta.log.count == 3)
    // Stored once, gone with the last message that used it.
    try await eventually("no content is left") { try mta.redis("KEYS", "*:c:*").isEmpty }
    await mta.tearDown()
  }

  @Test func manyBodiesInOneRequest() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let bodies = (0..<40).map { MTAFixture.body("b\($0)", to: "u@\(Zones.domain($0 % 2))", org: $0 % 2 == 0 ? "acme" : "other") }
    let request = "{\"messages\":[\(bodies.joined(separator: ",")),{\"messageId\":\"bad\"}]}"
    let key = try #require(
      try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"k\"}").json["apiKey"] as? String)
    let scoped = try await mta.call("POST", "/send/batch", body: request, key: key).json["results"] as? [[String: Any]] ?? []
    #expect(scoped.count == 41)
    #expect(scoped.prefix(40).enumerated().allSatisfy { ($1["success"] as? Bool == true) == ($0 % 2 == 0) })
    #expect(scoped.prefix(40).filter { $0["success"] as? Bool == false }.allSatisfy { $0["status"] as? Int == 403 })
    #expect(scoped.last?["status"] as? Int == 400 && scoped.last?["id"] as? String == "bad")
    let all = try await mta.call("POST", "/send/batch", body: request).json["results"] as? [[String: Any]] ?? []
    #expect(all.prefix(40).enumerated().allSatisfy { ($1["deduplicated"] as? Bool == true) == ($0 % 2 == 0) })
    try await eventually("all 40 arrive once") { mta.receiver.messageIDs("sent").count == 40 }
    #expect(mta.log.count == 40)
    await mta.tearDown()
  }

  /// A malformed batch changes nothing, however far into it the fault lies.
  @Test func malformedBatchesChangeNothing() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let one: [String: Any] = ["to": "u@b.example", "messageId": "x", "values": ["name": "n", "link": "l", "id": 1]]
    func many(_ count: Int) -> [[String: Any]] {
      (0..<count).map { ["to": "u@b.example", "messageId": "x\($0)", "values": ["name": "n", "link": "l", "id": 1]] }
    }
    let good = body(Self.template, many(1200))
    let before = try mta.redis("DBSIZE")
    let table: [(String, String)] = [
      (String(good.dropLast(1)), "Invalid JSON body"), (String(good.dropLast(2)) + ",]}", "Invalid JSON body"), ("[]", "Invalid JSON body"),
      ("", "Invalid JSON body"), ("{}", "Give messages, or template and recipients"),
      ("{\"recipients\":\(json([one])),\"template\":\(json(Self.template))}", "template must precede recipients"),
      (body(Self.template, []), "recipients must be 1 to 50000"), (body(Self.template, many(50_001)), "recipients must be 1 to 50000"),
      ("{\"messages\":[]}", "messages must be 1 to 1000"),
      ("{\"messages\":[\(Array(repeating: "{}", count: 1001).joined(separator: ","))]}", "messages must be 1 to 1000"),
      ("{\"messages\":{}}", "messages must be a list of objects"),
      (body(Self.template.merging(["to": "a@b.example"]) { $1 }, [one]), "template must not have to: it is each recipient's"),
      (body(Self.template.merging(["ipPool": "x"]) { $1 }, [one]), "template: ipPool must be \"transactional\""),
      (body(Self.template.merging(["dkimDomain": "nokey.example"]) { $1 }, [one]), "template: No DKIM key"),
    ]
    for (text, error) in table {
      let answer = try await mta.call("POST", "/send/batch", body: text)
      #expect(answer.status == 400, "\(text.prefix(80)): \(answer.body)")
      #expect((answer.json["error"] as? String ?? "").hasPrefix(error), "\(text.prefix(80)): \(answer.body)")
    }
    #expect(try mta.redis("DBSIZE") == before)
    await mta.tearDown()
  }

  /// 50,000 recipients in one request: accepted, in order, without the supervisor holding the body.
  @Test func fiftyThousandRecipients() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    let filler = String(repeating: "v", count: 400)
    let rows = (0..<50_000).map {
      "{\"to\":\"u\($0)@\(Zones.domain(0))\",\"messageId\":\"f\($0)\",\"values\":{\"name\":\"n\($0)\",\"link\":\"l\",\"id\":\($0),\"more\":\"\(filler)\"}}"
    }
    let request = "{\"template\":\(json(Self.template)),\"recipients\":[\(rows.joined(separator: ","))]}"
    // Once before, so that what a first request costs is not counted.
    _ = try await mta.call(
      "POST", "/send/batch",
      body: body(Self.template, [["to": "w@\(Zones.domain(0))", "messageId": "warm", "values": ["name": "n", "link": "l", "id": 1]]]))
    let before = try mta.peakMemoryMiB(reset: true)
    let answer = try await mta.call("POST", "/send/batch", body: request)
    let peak = try mta.peakMemoryMiB() - before
    let results = answer.json["results"] as? [[String: Any]] ?? []
    #expect(answer.json["success"] as? Bool == true)
    #expect(results.count == 50_000 && results.enumerated().allSatisfy { $1["id"] as? String == "f\($0)" })
    // The body alone is 25 MiB.
    #expect(request.utf8.count > 25_000_000)
    #expect(peak <= 48, "\(peak) MiB more")
    print("50,000 recipients, \(request.utf8.count >> 20) MiB: peak memory of the supervisor +\(peak) MiB")
    #expect(try mta.redis("KEYS", "*:c:*").split(separator: "\n").count == 1, "the template is stored once")
    await mta.tearDown()
  }
}
