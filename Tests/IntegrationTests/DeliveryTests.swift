import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

@Suite(.serialized) struct DeliveryTests {
  static let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? ".build-venv/bin/python"

  /// 2,000 messages over 20 domains and 3 IPs arrive exactly once, each from an IP of its pool, signed, and told.
  @Test func everyMessageArrivesOnceFromItsPoolSignedAndTold() async throws {
    let dns = try await NameServer(zones: Zones.separate(20))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22", "127.0.0.23"]]
    let mta = try await MTAFixture(options)
    try await mta.start()
    let record = try await mta.registerDKIM("sender.example")
    let messages = (0..<2000).map { index in
      (
        id: "m-\(index)", to: "u\(index)@\(Zones.domain(index % 20))", org: "org\(index % 3)",
        pool: index % 3 == 0 ? "transactional" : "campaign"
      )
    }
    try await mta.sendAll(messages)
    try await eventually("2,000 webhooks", within: .seconds(60)) { mta.receiver.messageIDs("sent").count >= 2000 }

    let taken = mta.log.all
    #expect(taken.count == 2000)
    #expect(Set(taken.map(\.messageID)).count == 2000)
    let pools = Dictionary(uniqueKeysWithValues: messages.map { ($0.id, $0.pool) })
    for message in taken {
      let isTransactional = pools[message.messageID] == "transactional"
      #expect(isTransactional == (message.peer == "127.0.0.21"))
    }
    #expect(Set(taken.map(\.peer)) == ["127.0.0.21", "127.0.0.22", "127.0.0.23"])
    // Ids matched one to one with `sent`.
    #expect(mta.receiver.messageIDs("sent").sorted() == taken.map(\.messageID).sorted())
    #expect(Set(taken.map { $0.field("Message-ID") ?? "" }).count == 2000)
    // The Message-ID's left part is signed, and is not the return-path's token.
    for message in taken.prefix(50) {
      let token = message.returnPath.split(separator: "@")[0].dropFirst("bounce+".count)
      let id = try #require(message.field("Message-ID"))
      #expect(id.wholeMatch(of: /<[a-z2-7]{37}@sender\.example>/) != nil && !id.contains(token), "\(id)")
      #expect(message.returnPath.split(separator: "@")[0].utf8.count <= 64)
      #expect(message.ehloName == "e" + message.peer.replacingOccurrences(of: ".", with: "-") + ".mta.example")
    }

    let folder = mta.scratch.file("eml")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (index, message) in taken.enumerated() { try Data(message.octets).write(to: URL(fileURLWithPath: "\(folder)/\(index).eml")) }
    let verified = try run(Self.python, ["Tests/Fixtures/verify.py", "dkim", record, folder])
    #expect(verified.output.trimmingCharacters(in: .whitespacesAndNewlines) == "2000", "\(verified.errors.prefix(500))")

    let hooks = mta.receiver.all.map { ["headers": $0.headers, "body": $0.body] as [String: Any] }
    let file = mta.scratch.file("hooks.json")
    try JSONSerialization.data(withJSONObject: hooks).write(to: URL(fileURLWithPath: file))
    let signed = try run(Self.python, ["Tests/Fixtures/verify.py", "webhook", MTAFixture.webhookSecret, file])
    #expect(signed.output.trimmingCharacters(in: .whitespacesAndNewlines) == "\(hooks.count)", "\(signed.errors.prefix(500))")
    #expect(try await mta.stop() == 0)
    await mta.tearDown()
  }

  /// Replies of every kind end as the reducer says, and `explain`, `message show` and the events agree.
  @Test func refusalsDeferralsAndFullMailboxes() async throws {
    let dns = try await NameServer(
      zones: [
        "test-zone.example": ["d0 IN MX 10 mx0", "mx0 IN A 127.0.0.1", "null IN MX 0 .", "dead IN MX 10 nohost", "implicit IN A 127.0.0.1"]
      ])
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.extra = "retry: { delays: [1s, 1h], jitter: 0 }\n"
    let tried = Locked<[String: Int]>([:])
    options.script = { moment in
      guard case .rcpt(let recipient) = moment else { return nil }
      tried.change { $0[recipient, default: 0] += 1 }
      if recipient.hasPrefix("unknown") { return SinkAction(.reply(["550-5.1.1 no such", "550 5.1.1 user here"])) }
      if recipient.hasPrefix("policy") { return .reply("550 5.7.1 we do not like you") }
      if recipient.hasPrefix("full") { return .reply("452 4.2.2 full") }
      if recipient.hasPrefix("once"), tried.value[recipient] == 1 { return .reply("451 4.7.1 greylisted, come back") }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for name in ["ok", "unknown", "policy", "full", "once"] { try await mta.send(name, to: "\(name)@d0.test-zone.example") }
    try await mta.send("null", to: "x@null.test-zone.example")
    try await mta.send("gone", to: "x@nothing.test-zone.example")
    try await mta.send("dead", to: "x@dead.test-zone.example")
    try await mta.send("implicit", to: "x@implicit.test-zone.example")
    try await eventually("all have ended or wait") {
      mta.receiver.messageIDs("sent").sorted() == ["implicit", "ok", "once"] && mta.receiver.messageIDs("bounced").count == 5
        && mta.receiver.messageIDs("deferred").sorted() == ["full", "once"]
    }
    #expect(mta.receiver.messageIDs("bounced").sorted() == ["dead", "gone", "null", "policy", "unknown"])
    let full = mta.receiver.all.first { $0.event == "deferred" && $0.messageID == "full" }?.fields
    #expect(full?["smtpCode"] == "452" && full?["enhancedCode"] == "4.2.2" && full?["category"] == "mailbox_full")
    #expect(
      mta.receiver.all.filter { $0.event == "smtp.classified" }.map { $0.fields["smtpCategory"] ?? "" }.sorted() == [
        "greylisted", "mailbox_full",
      ])
    let unknown = mta.receiver.all.first { $0.messageID == "unknown" }?.fields["message"]
    #expect(unknown == "550 5.1.1 no such 5.1.1 user here")

    // Only the address-level refusal suppresses; the next message to it ends without an attempt.
    let before = tried.value["unknown@d0.test-zone.example"]
    try await mta.send("unknown-again", to: "UNKNOWN@d0.test-zone.example")
    try await mta.send("policy-again", to: "policy@d0.test-zone.example")
    try await mta.send("unknown-other", to: "unknown@d0.test-zone.example", org: "another")
    try await eventually("suppression is told") { mta.receiver.all.contains { $0.messageID == "unknown-again" } }
    let again = mta.receiver.all.first { $0.messageID == "unknown-again" }?.fields
    #expect(again?["event"] == "failed" && again?["errorCode"] == "RECIPIENT_SUPPRESSED")
    try await eventually("others are tried") {
      mta.receiver.messageIDs("bounced").filter { ["policy-again", "unknown-other"].contains($0) }.count == 2
    }
    #expect(tried.value["unknown@d0.test-zone.example"] == (before ?? 0) + 1)

    let explained = try await mta.get("/v1/messages/full/explain").json
    #expect(explained["state"] as? String == "deferred")
    let gates = explained["gates"] as? [[String: Any]] ?? []
    #expect(gates.contains { $0["reason"] as? String == "deferred" && $0["until"] as? String == explained["nextAttemptAt"] as? String })
    let shown = try mta.command("message", "show", "unknown", "--json")
    #expect(shown.code == 0 && shown.output.contains("\"state\":\"bounced\"") && shown.output.contains("\"enhancedCode\":\"5.1.1\""))
    #expect(try mta.command("message", "show", "nobody-knows").code == 1)
    #expect(try mta.command("queue", "explain", "full", "--json").output.contains("\"state\":\"deferred\""))
    #expect(try mta.command("queue", "explain").code == 2)
    await mta.tearDown()
  }

  /// Behind one connection to a slow sink, 300 queued in random band order leave in band order, apart from the window.
  @Test func bandsLeaveInOrder() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers = "other: {defaultRate: 600000, ceiling: 600000, maxConnections: 1, maxDeliveriesPerConnection: 1000}"
    let open = Locked(false)
    options.script = { moment in
      if case .message = moment { return .reply("250 2.0.0 ok", after: .milliseconds(open.value ? 10 : 1500)) }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let scores: [(Int, Double)] = (0..<300).map { ($0, [90, 60, 30, 5][Int.random(in: 0..<4)]) }
    for (index, score) in scores {
      try await mta.send("b\(index)-\(Int(score))", to: "u@\(Zones.domain(0))", ["engagementScore": score])
    }
    open.change { $0 = true }
    try await eventually("all 300 are there", within: .seconds(60)) { mta.log.count == 300 }
    // Those sent while the queue was still filling were in the window already.
    let order = mta.log.all.dropFirst(24).map { Int($0.messageID.split(separator: "-")[1]) ?? 0 }
    #expect(order == order.sorted(by: >))
    await mta.tearDown()
  }

  /// One IP, 20 domains of one connection each, 250 ms after each dot: 80 a second are possible. One domain that hangs leaves
  /// the other 19 their rate.
  @Test func lanesDoNotWaitForEachOther() async throws {
    let dns = try await NameServer(zones: Zones.separate(20))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers = "other: {defaultRate: 600000, ceiling: 600000, maxConnections: 1, maxDeliveriesPerConnection: 10000}"
    let hanging = Locked(false)
    options.script = { moment in
      if case .rcpt(let recipient) = moment, hanging.value, recipient.hasSuffix("@" + Zones.domain(7)) { return SinkAction(.hang) }
      if case .message = moment { return .reply("250 2.0.0 ok", after: .milliseconds(250)) }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.sendAll((0..<800).map { (id: "a\($0)", to: "u@\(Zones.domain($0 % 20))", org: "o", pool: "transactional") })
    try await eventually("800 are there", within: .seconds(40)) { mta.log.count >= 800 }
    let times = mta.log.all.map(\.receivedAt).sorted()
    // From the 100th to the 700th: start and end left out.
    let rate = 600.0 / (Double(times[700] - times[100]) / 1000)
    #expect(rate >= 70, "\(rate) messages/s")

    hanging.change { $0 = true }
    let before = mta.log.count
    try await mta.sendAll((0..<800).map { (id: "b\($0)", to: "u@\(Zones.domain($0 % 20))", org: "o", pool: "transactional") })
    try await eventually("760 more are there", within: .seconds(40)) { mta.log.count >= before + 760 }
    let later = mta.log.all.dropFirst(before).map(\.receivedAt).sorted()
    let otherRate = 560.0 / (Double(later[660] - later[100]) / 1000)
    #expect(otherRate >= 70 * 0.95, "\(otherRate) messages/s beside a hanging domain")
    await mta.tearDown()
  }

  /// A has 10,000 queued over 200 domains of one provider, B adds 100: B's last leaves before A's 300th after it.
  @Test func fairnessBetweenOrganisations() async throws {
    let dns = try await NameServer(zones: Zones.hosted(201, mx: "mx1.provider-zone.example"))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers =
      "yahoo: {mx: [provider-zone.example], defaultRate: 12000, ceiling: 12000, maxConnections: 5, maxDeliveriesPerConnection: 10000}"
    options.webhooks = false
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.sendAll(
      (0..<10_000).map { (id: "A-\($0)", to: "u\($0)@\(Zones.domain($0 % 200))", org: "A", pool: "transactional") }, parallel: 64)
    let queued = (try? JSONSerialization.jsonObject(with: Data(mta.command("status", "--json").output.utf8))) as? [String: Any]
    try #require((queued?["queued"] as? Int ?? 0) > 2000, "A must still be waiting when B comes")
    let before = mta.log.count
    try await mta.sendAll((0..<100).map { (id: "B-\($0)", to: "u\($0)@\(Zones.domain(200))", org: "B", pool: "transactional") })
    try await eventually("B is through", within: .seconds(60)) { mta.log.all.count { $0.messageID.hasPrefix("B-") } == 100 }
    let order = mta.log.all.dropFirst(before).map(\.messageID)
    let lastB = order.lastIndex { $0.hasPrefix("B-") } ?? order.endIndex
    #expect(order[..<lastB].count { $0.hasPrefix("A-") } < 300)
    await mta.tearDown()
  }
}
