import Foundation
import Glibc
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Intake, operators' commands, webhooks, memory: the running product from outside.
@Suite(.serialized) struct OperationTests {
  /// 200 concurrent sends share writes; one invalid among them changes no other's answer.
  @Test func concurrentSendsShareTheirWrites() async throws {
    let dns = try await NameServer(zones: Zones.separate(5))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    // Connections are made first: the figure is about writes, not about handshakes.
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<200 { group.addTask { _ = try? await mta.get("/health") } }
    }
    func writes() async throws -> Int {
      let line = try await mta.get("/metrics").body.split(separator: "\n").first { $0.hasPrefix("mta_accept_writes_total ") }
      return Int(line?.split(separator: " ").last ?? "") ?? -1
    }
    let before = try await writes()
    let statuses = try await withThrowingTaskGroup(of: (Int, Int).self) { group in
      for index in 0..<200 {
        group.addTask {
          let to = index == 77 ? "not an address" : "u\(index)@\(Zones.domain(index % 5))"
          return (index, try await mta.call("POST", "/send", body: MTAFixture.body("c\(index)", to: to)).status)
        }
      }
      var statuses: [Int: Int] = [:]
      for try await (index, status) in group { statuses[index] = status }
      return statuses
    }
    let used = try await writes() - before
    #expect(statuses.count == 200 && statuses[77] == 400)
    #expect(statuses.filter { $0.key != 77 }.values.allSatisfy { $0 == 200 })
    #expect(used >= 1 && used <= 20, "\(used) accept calls")
    try await eventually("all 199 are told") { mta.receiver.messageIDs("sent").count == 199 }
    await mta.tearDown()
  }

  /// Malformed requests get their status and text and leave Redis as it was.
  @Test func malformedRequestsChangeNothing() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22"]]
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let before = try mta.redis("DBSIZE")
    let good = MTAFixture.body("x", to: "u@\(Zones.domain(0))")
    let table: [(method: String, path: String, body: String?, key: String?, status: Int, text: String)] = [
      ("POST", "/send", good, nil, 401, "{\"error\":\"Unauthorized\"}"),
      ("POST", "/send", good, "wrong", 401, "{\"error\":\"Unauthorized\"}"),
      ("POST", "/send", "{x", MTAFixture.key, 400, "{\"error\":\"Invalid JSON body\"}"),
      ("POST", "/send", "", MTAFixture.key, 400, "{\"error\":\"Invalid JSON body\"}"),
      ("POST", "/send", "[]", MTAFixture.key, 400, "{\"error\":\"Invalid JSON body\"}"),
      ("POST", "/send", "\"x\"", MTAFixture.key, 400, "{\"error\":\"Invalid JSON body\"}"),
      ("POST", "/send", "{}", MTAFixture.key, 400, "{\"error\":\"Missing required fields: messageId, to, from, subject, html\"}"),
      (
        "POST", "/send", MTAFixture.body("x", to: "a@b.example\r\nDATA"), MTAFixture.key, 400,
        "{\"error\":\"Invalid \\\"to\\\" email address format\"}"
      ),
      (
        "POST", "/send", MTAFixture.body("x", to: "u@b.example", ["subject": "a\nb"]), MTAFixture.key, 400,
        "{\"error\":\"subject must not contain line breaks or control characters\"}"
      ),
      (
        "POST", "/send", MTAFixture.body("x", to: "u@b.example", ["ipPool": "x"]), MTAFixture.key, 400,
        "{\"error\":\"ipPool must be \\\"transactional\\\" or \\\"campaign\\\"\"}"
      ),
      ("POST", "/send/system", good, MTAFixture.key, 403, "{\"error\":\"System intake requires the master credential\"}"),
      ("POST", "/send/postbox", good, MTAFixture.key, 403, "{\"error\":\"Postbox intake requires the master credential\"}"),
      ("GET", "/send", nil, MTAFixture.key, 405, "{\"error\":\"Method Not Allowed\"}"),
      ("GET", "/nope", nil, MTAFixture.key, 404, "{\"error\":\"Not Found\"}"),
      ("GET", "/mailboxes/cache", nil, MTAFixture.key, 404, "{\"error\":\"Not Found\"}"),
      ("GET", "/send/receipt/x", nil, nil, 401, "{\"error\":\"Unauthorized\"}"),
      ("POST", "/dkim", "{\"domain\":\"x.example\"}", MTAFixture.key, 400, "{\"error\":\"domain, selector, and privateKey are required\"}"),
      ("POST", "/dkim", "{x", MTAFixture.key, 400, "{\"error\":\"Request body must be valid JSON\"}"),
      (
        "POST", "/dkim/sender.example/register", "{\"returnPathHost\":\"not a host\"}", MTAFixture.key, 400,
        "{\"error\":\"returnPathHost must be a valid DNS hostname (RFC 1123 FQDN)\"}"
      ),
      ("DELETE", "/dkim/none.example", nil, MTAFixture.key, 404, "{\"error\":\"DKIM key not found\"}"),
    ]
    for row in table {
      let answer = try await mta.call(row.method, row.path, body: row.body, key: row.key)
      #expect(answer.status == row.status, "\(row.method) \(row.path) \(row.body ?? "")")
      #expect(answer.body == row.text, "\(row.method) \(row.path) \(row.body ?? "")")
    }
    #expect(try await mta.call("GET", "/send", body: nil).headers["allow"] == "POST")
    let large = MTAFixture.body("x", to: "u@b.example", ["text": String(repeating: "x", count: 41 << 20)])
    #expect(try await mta.call("POST", "/send", body: large).status == 413)
    #expect(try mta.redis("DBSIZE") == before)
    // The same twice is accepted once.
    #expect(try await mta.call("POST", "/send", body: good).body == "{\"success\":true,\"id\":\"x\",\"workAttemptId\":\"x\"}")
    #expect(
      try await mta.call("POST", "/send", body: good).body
        == "{\"success\":true,\"id\":\"x\",\"workAttemptId\":\"x\",\"deduplicated\":true}")
    #expect(try await mta.get("/send/receipt/x").body.hasPrefix("{\"state\":\"accepted\",\"messageId\":\"x\",\"acceptedAt\":"))
    await mta.tearDown()
  }

  /// Pull drains and stops the process and its mail leaves by the others; restore starts it. Orders outlive a restart.
  @Test func pullAndRestore() async throws {
    let dns = try await NameServer(zones: Zones.separate(4))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21", "127.0.0.22"], "elsewhere": ["192.0.2.55"]]
    options.script = { if case .message = $0 { .reply("250 ok", after: .milliseconds(20)) } else { nil } }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    // An address that the host lacks is a state, not a crash of the rest.
    try await eventually("the missing address is told") {
      try mta.command("ip", "list", "--json").output.contains("address not on this host")
    }
    try await mta.sendAll((0..<200).map { (id: "p\($0)", to: "u@\(Zones.domain($0 % 4))", org: "o", pool: "transactional") })
    let pid = try #require(try mta.workerPIDs()["127.0.0.21"])
    #expect(try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8).contains("127.0.0.21"))
    #expect(try mta.command("ip", "pull", "127.0.0.21", "--reason", "blocklisted").code == 0)
    try await eventually("the worker is gone") { !MTAFixture.isAlive(pid) }
    try await eventually("the IP is pulled") { try mta.command("ip", "list", "--json").output.contains("\"reason\":\"blocklisted\"") }
    try await eventually("everything is delivered") { mta.receiver.messageIDs("sent").count == 200 }
    #expect(Set(mta.log.all.map(\.messageID)).count == 200 && mta.log.count == 200)
    let before = mta.log.count
    try await mta.sendAll((0..<40).map { (id: "q\($0)", to: "u@\(Zones.domain($0 % 4))", org: "o", pool: "transactional") })
    try await eventually("40 more") { mta.log.count == before + 40 }
    #expect(Set(mta.log.all.dropFirst(before).map(\.peer)) == ["127.0.0.22"])
    #expect(try await mta.stop() == 0)
    try await mta.start()
    #expect(try mta.command("ip", "list", "--json").output.contains("\"reason\":\"blocklisted\""))
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("its worker runs again") { try mta.workerPIDs()["127.0.0.21"] != nil }
    #expect(try mta.command("ip", "pull", "10.9.9.9").code == 1)
    await mta.tearDown()
  }

  /// A host that accepts nothing and says nothing: a drain cuts it before its dot, counts no attempt, and does not wait.
  @Test func aDrainCutsWhatIsNotAtItsDot() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let hanging = Locked(0)
    let atDot = Locked(0)
    options.script = { moment in
      switch moment {
      case .mail where hanging.value < 3:
        hanging.change { $0 += 1 }
        return SinkAction(.hang)
      case .message:
        atDot.change { $0 += 1 }
        return .reply("250 ok", after: .milliseconds(1200))
      default: return nil
      }
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for index in 0..<3 { try await mta.send("hang\(index)", to: "u@\(Zones.domain(0))") }
    try await eventually("three sessions hang") { hanging.value == 3 }
    try await mta.send("late", to: "u@\(Zones.domain(1))")
    try await eventually("one is at its dot") { atDot.value == 1 }
    let pid = try #require(try mta.workerPIDs()["127.0.0.21"])
    let began = ContinuousClock.now
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await eventually("the worker is gone") { !MTAFixture.isAlive(pid) }
    #expect(ContinuousClock.now - began < .seconds(6))
    try await eventually("what was at its dot has its reply") { mta.receiver.messageIDs("sent") == ["late"] }
    #expect(mta.receiver.all.count == 1, "a cut session is no attempt")
    #expect(try await mta.get("/v1/messages/hang0/explain").json["state"] as? String == "queued")
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("all are delivered") { mta.receiver.messageIDs("sent").count == 4 }
    #expect(atDot.value == 4)
    await mta.tearDown()
  }

  /// While the receiver is down events wait on disk, over a restart too, and leave after it; a refused one ends by itself.
  @Test func eventsWaitForTheirReceiver() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    mta.receiver.answer(503)
    try await mta.sendAll((0..<50).map { (id: "w\($0)", to: "u@\(Zones.domain($0 % 2))", org: "o", pool: "transactional") })
    try await eventually("the sink has them") { mta.log.count == 50 }
    try await eventually("they wait on disk") { try mta.command("status", "--json").output.contains("\"webhooksPending\":50") }
    #expect(try await mta.stop() == 0)
    try await mta.start()
    #expect(mta.receiver.all.isEmpty)
    mta.receiver.answer(200)
    try await eventually("all are told", within: .seconds(30)) { Set(mta.receiver.messageIDs("sent")).count == 50 }
    #expect(Set(mta.receiver.all.compactMap { $0.headers["webhook-id"] }).count == 50)
    await mta.tearDown()
  }

  /// Sixteen workers start in under 3 s; an idle one costs at most 6 MiB PSS, the idle supervisor at most 80.
  @Test func sixteenWorkersAreCheap() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": (1...16).map { "127.0.1.\($0)" }]
    let mta = try await MTAFixture(options)
    let clock = ContinuousClock()
    let started = clock.now
    try await mta.start()
    #expect(clock.now - started < .seconds(3))
    let workers = try mta.workerPIDs()
    #expect(workers.count == 16)
    func pss(_ pid: Int32) throws -> Int {
      let text = try String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8)
      let line = text.split(separator: "\n").first { $0.hasPrefix("Pss:") }
      return Int(line?.split(separator: " ").dropFirst().first ?? "") ?? .max
    }
    let sizes = try workers.values.map(pss)
    #expect(sizes.max() ?? .max <= 6 * 1024, "\(sizes.sorted()) KiB")
    let own = try pss(mta.pid)
    #expect(own <= 80 * 1024, "\(own) KiB")
    await mta.tearDown()
  }

  /// A message leaves when `explain` said it would.
  @Test func scheduledMailWaitsAndExplainSaysSo() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.providers = "other: {defaultRate: 12, ceiling: 12, floor: 1}"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let at = Int64(Date().timeIntervalSince1970 * 1000) + 3000
    try await mta.send("later", to: "u@\(Zones.domain(0))", ["sendAt": at])
    #expect(try await mta.get("/v1/messages/later/explain").json["state"] as? String == "scheduled")
    try await eventually("it leaves at its time") { mta.log.count == 1 }
    #expect(mta.log.all[0].receivedAt >= at)
    // 12 a minute: the next waits 5 s, and `explain` says until when.
    try await mta.send("second", to: "u@\(Zones.domain(0))")
    try await eventually("the throttle shows") { try await mta.get("/v1/messages/second/explain").body.contains("\"reason\":\"throttle\"") }
    let gates = try await mta.get("/v1/messages/second/explain").json["gates"] as? [[String: Any]]
    let until = try #require(gates?.first?["until"] as? String)
    let format = ISO8601DateFormatter()
    format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    let promised = try #require(format.date(from: until)).timeIntervalSince1970 * 1000
    try await eventually("it left") { mta.log.count == 2 }
    #expect(abs(Double(mta.log.all[1].receivedAt) - promised) < 400)
    #expect(try await mta.get("/v1/gates").status == 200)
    // A pool whose every IP is pulled.
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await mta.send("third", to: "u@\(Zones.domain(0))")
    try await eventually("no IP is told") { try await mta.get("/v1/messages/third/explain").body.contains("\"reason\":\"no_eligible_ip\"") }
    await mta.tearDown()
  }

  /// What expires behind a shut gate ends all the same.
  @Test func expiryHoldsBehindShutGates() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.smtp = "max_age: 3s"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await mta.send("old", to: "u@\(Zones.domain(0))")
    try await eventually("it expires") { mta.receiver.messageIDs("bounced") == ["old"] }
    #expect(mta.receiver.all[0].fields["bounceType"] == "soft")
    #expect(try mta.command("message", "show", "old", "--json").output.contains("\"state\":\"expired\""))
    #expect(mta.log.count == 0)
    await mta.tearDown()
  }
}
