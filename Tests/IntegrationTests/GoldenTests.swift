import Foundation
import SMTPServer
import TestSupport
import Testing

/// Upstream's recorded exchanges, replayed against the running product: same status, same JSON but for ids and times.
@Suite(.serialized, .enabled(if: GoldenRecordings.isThere, "the recordings are not beside this repository"))
struct GoldenTests {
  @Test func everyRecordingHasItsPlace() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: GoldenRecordings.folder).filter { $0.hasSuffix(".json") }.map {
      $0.dropLast(5)
    }
    #expect(Set(files.map(String.init)) == Set(GoldenRecordings.replayed).union(GoldenRecordings.notReplayed.keys))
    for family in files.map(String.init) {
      for exchange in try GoldenRecordings.exchanges(family) {
        #expect(!GoldenRecordings.unrecorded.contains { exchange.request.path.hasPrefix($0) }, "\(family)/\(exchange.note)")
      }
    }
  }

  /// A server that says what upstream's bed said, by the first label of the recipient's domain.
  static func script(_ moment: SinkMoment) -> SinkAction? {
    switch moment {
    case .rcpt(let recipient):
      let replies = [
        "hard": "550 5.1.1 No such user", "full": "452 4.2.2 Mailbox full", "soft": "451 4.0.0 Come back", "grey": "451 4.7.1 Greylisted",
        "policy": "550 5.7.1 Not wanted", "blocked": "550 5.7.1 Blocked", "ratelimit": "421 4.7.0 Too many messages",
      ]
      return replies[label(recipient)].map { .reply($0) }
    case .message(let message):
      switch label(message.recipients.first ?? "") {
      case "datahard": return .reply("554 5.6.0 Not this")
      case "datasoft": return .reply("451 4.3.0 Later")
      case "drop": return SinkAction(.close)
      default: return .reply("250 OK queued as GOLD1")
      }
    default: return nil
    }
  }

  /// `hard3` is as hard as `hard`.
  private static func label(_ recipient: String) -> String {
    String((recipient.split(separator: "@").last?.split(separator: ".").first ?? "").filter { !$0.isNumber })
  }

  static let zone =
    ((0..<10).map { "hard\($0)" } + [
      "ok", "hard", "full", "soft", "grey", "policy", "blocked", "ratelimit", "datahard", "datasoft", "drop",
    ]).map { "\($0) IN MX 10 mx" }
    + ["mx IN A 127.0.0.1", "nullmx IN MX 0 .", "refused IN MX 10 nobody", "nobody IN A 127.0.0.99"]

  @Test func theProductAnswersAsUpstreamDid() async throws {
    let names = ["alpha", "beta", "gamma", "delta"]
    let dns = try await NameServer(zones: [
      "golden.test": Self.zone, "bl.example.org": ["2.0.0.127 IN A 127.0.0.2"],
      "mta.example": names.enumerated().map { "\($0.element) IN A 127.0.1.\($0.offset + 1)" },
      "0.127.in-addr.arpa": names.enumerated().map { "\($0.offset + 1).1 IN PTR \($0.element).mta.example." },
    ])
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.1.1", "127.0.1.2"], "campaign": ["127.0.1.3", "127.0.1.4"]]
    options.providers = "other: {defaultRate: 100000, ceiling: 100000, floor: 100000, maxConnections: 20}"
    options.extra = "retry: { delays: [1h], jitter: 0 }\n"
    options.reputation = "dnsbl: { zones: [ {zone: bl.example.org, severity: critical} ] }\nidentity: { require: true }"
    options.ehlo = { names[(Int($0.suffix(1)) ?? 1) - 1] + ".mta.example" }
    options.script = Self.script
    let mta = try await MTAFixture(options)
    try await mta.start()
    let pem = try run("/usr/bin/openssl", ["genrsa", "2048"]).output
    // The bed had this key from its environment.
    let key = JSONValue.object(["domain": .text("sender.test"), "selector": .text("s1"), "privateKey": .text(pem)])
    #expect(try await mta.call("POST", "/dkim", body: key.json).status == 200)
    try await eventually("the IPs were looked at") {
      let answer = try await mta.get("/ip-reputation").body
      return answer.components(separatedBy: "\"dnsbl\":\"clean\"").count == 5 && !answer.contains("\"fcrdns\":null")
    }
    let replay = GoldenReplay(mta: mta, pem: pem)

    for family in ["root-health-metrics", "isp-profiles", "queue", "dkim", "outbound-tls", "send-validation", "send-outcomes"] {
      try await replay.run(family, try GoldenRecordings.exchanges(family))
    }
    try await replay.logs(try GoldenRecordings.exchanges("delivery-logs"))
    try await replay.events(try JSONValue(String(contentsOfFile: GoldenRecordings.folder + "/webhooks.json", encoding: .utf8)))
    try await replay.metrics(try GoldenRecordings.exchanges("root-health-metrics"))
    mta.receiver.answer(500)
    let deadLetters = try GoldenRecordings.exchanges("dlq")
    try await replay.run("dlq", deadLetters) { exchange in
      // Our dead letters are events that were refused for six minutes: this is one such, with upstream's event.
      guard exchange.note == "dlq", let event = exchange.answer["entries"]?.list?.first?["event"] else { return }
      try bury(event, mta)
    }
    let breakers = try GoldenRecordings.exchanges("circuit-breaker")
    try await replay.run("circuit-breaker", breakers) { exchange in
      guard exchange.note == "decision for breaker 50" else { return }
      // The recording leaves out those between.
      for index in 2..<49 {
        try await mta.send(
          "between\(index)", to: "b\(index)@hard\(index % 10).golden.test", org: "org_break",
          ["from": "n@sender.test", "dkimDomain": "sender.test"])
      }
      try await eventually("the breaker opened") { try await mta.get("/breakers").body.contains("\"state\":\"open\"") }
    }
    for family in ["scan", "inbound-mailboxes", "ip-reputation", "send-decision"] {
      try await replay.run(family, try GoldenRecordings.exchanges(family))
    }
    replay.finish()
    await mta.tearDown()
  }

  func bury(_ event: JSONValue, _ mta: MTAFixture) throws {
    let at = Int64(Date().timeIntervalSince1970 * 1000) - 60_000
    let sql =
      "INSERT INTO dead(endpoint,id,kind,json,created_at,died_at,status,attempts) "
      + "VALUES('\(mta.receiver.url)','buried','sent','\(event.json)',\(at),\(at),NULL,0)"
    let program = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=10)\nc.execute(sys.argv[2])\nc.commit()"
    let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? "python3"
    #expect(try run(python, ["-c", program, mta.scratch.file("s/outbox.db"), sql]).code == 0)
  }
}
