import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// The configuration changes while mail flows: all of it, or nothing.
@Suite(.serialized) struct ReloadTests {
  private func edit(_ mta: MTAFixture, _ changes: (String, String)...) throws {
    var text = try String(contentsOfFile: mta.config, encoding: .utf8)
    for (old, new) in changes {
      #expect(text.contains(old), "\(old)")
      text = text.replacing(old, with: new)
    }
    try text.write(toFile: mta.config, atomically: true, encoding: .utf8)
  }

  private func state(_ mta: MTAFixture, _ address: String) throws -> String? {
    let rows = try JSONValue(try mta.command("ip", "list", "--json").output).list ?? []
    return rows.first { $0["address"] == .text(address) }?["state"]?.text
  }

  private func reload(_ mta: MTAFixture, code: Int32 = 0) throws -> [String] {
    let result = try mta.command("reload")
    #expect(result.code == code, "\(result)")
    return (code == 0 ? result.output : result.errors).split(separator: "\n").map(String.init)
  }

  @Test func aReloadChangesWhatItSays() async throws {
    let dns = try await NameServer(zones: Zones.separate(3))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21", "127.0.0.22"], "campaign": ["127.0.0.24"]]
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let pids = try mta.workerPIDs()
    #expect(try reload(mta) == ["nothing changed"])

    // An IP comes; the others' workers stay.
    let row = "{address: \"127.0.0.22\", ehlo: e127-0-0-22.mta.example, warmed: true}"
    try edit(
      mta, (row, row + ", " + row.replacing("22", with: "23")), ("org_daily: 100000000", "org_daily: 777"),
      ("defaultRate: 600000", "defaultRate: 500000"))
    #expect(
      try reload(mta) == ["limits.org_daily: 100000000 → 777", "providers.other: changed", "pools.transactional: 127.0.0.23 added"])
    try await eventually("the new IP is active") { try state(mta, "127.0.0.23") == "active" }
    #expect(try mta.workerPIDs().filter { $0.key != "127.0.0.23" } == pids)
    #expect(try await mta.get("/org-limits/acme").body.contains("\"dailyLimit\":777"))
    #expect(try await mta.get("/isp-profiles/other").body.contains("500000"))
    try await mta.sendAll((0..<60).map { (id: "m\($0)", to: "u@\(Zones.domain($0 % 3))", org: "acme", pool: "transactional") })
    try await eventually("all are told") { mta.receiver.messageIDs("sent").count == 60 }
    #expect(Set(mta.log.all.map(\.peer)) == ["127.0.0.21", "127.0.0.22", "127.0.0.23"])

    // A fault: every problem with its line, and nothing changes, not even what is right.
    let good = try String(contentsOfFile: mta.config, encoding: .utf8)
    try edit(
      mta, ("org_daily: 777", "org_daily: 778"), ("org_hourly: 100000000", "org_hourly: many"), ("hostname:", "nonsense: 1\nhostname:"))
    let problems = try reload(mta, code: 1)
    #expect(problems.count == 2 && problems.first == "line 1: nonsense is not a key of this configuration", "\(problems)")
    #expect(problems.last?.contains(#/^line \d+: limits.org_hourly must be a whole number/#) == true, "\(problems)")
    let document = try JSONValue(try mta.command("reload", "--json").output)
    #expect(document["applied"] == .bool(false) && document["problems"]?.list?.count == 2)
    #expect(try await mta.get("/org-limits/acme").body.contains("\"dailyLimit\":777"))
    // What needs a restart is told with the rest.
    try edit(mta, ("port: \(mta.sinkPort)", "port: 25"))
    #expect(try reload(mta, code: 1).count == 3 && reload(mta, code: 1).contains { $0.contains("smtp.port cannot change") })
    // Not even YAML.
    try (good + "\n] {").write(toFile: mta.config, atomically: true, encoding: .utf8)
    #expect(try reload(mta, code: 1).first?.contains("is not YAML") == true)
    // What needs a restart is named.
    try good.replacing("state_dir: ", with: "state_dir: /tmp/").replacing("org_daily: 777", with: "org_daily: 778")
      .write(toFile: mta.config, atomically: true, encoding: .utf8)
    #expect(try reload(mta, code: 1) == ["line 2: state_dir cannot change while the supervisor runs: it needs a restart"])
    #expect(try await mta.get("/org-limits/acme").body.contains("\"dailyLimit\":777"))
    try good.write(toFile: mta.config, atomically: true, encoding: .utf8)

    // Whether there is room is judged by what is in force now.
    for (least, status) in [(1_000_000, 503), (1, 200)] {
      try good.replacing(#/min_free_mib: \d+/#, with: "min_free_mib: \(least)").write(toFile: mta.config, atomically: true, encoding: .utf8)
      _ = try reload(mta)
      try await eventually("intake answers \(status)") {
        try await mta.call("POST", "/send", body: MTAFixture.body("room-\(least)", to: "u@\(Zones.domain(0))")).status == status
      }
    }
    try good.write(toFile: mta.config, atomically: true, encoding: .utf8)
    _ = try reload(mta)
    try await eventually("it is told") { mta.receiver.messageIDs("sent").contains("room-1") }

    // A pool for which mail waits cannot go.
    #expect(try mta.command("queue", "pause", "--pool", "campaign").code == 0)
    try await mta.send("held", to: "u@\(Zones.domain(0))", pool: "campaign")
    let campaign = try #require(good.split(separator: "\n").first { $0.hasPrefix("  campaign:") })
    try edit(mta, (campaign + "\n", ""))
    // Its line is gone with it.
    #expect(try reload(mta, code: 1) == ["pools.campaign cannot go or be empty: 1 message waits for it"])
    #expect(try mta.command("queue", "cancel", "--pool", "campaign").code == 0)
    try await eventually("it can go now") { try mta.command("reload").code == 0 }
    #expect(try await mta.call("POST", "/send", body: MTAFixture.body("x", to: "u@a.example", pool: "campaign")).status == 400)
    #expect(try state(mta, "127.0.0.24") == nil)
    try await eventually("its worker ends") { pids["127.0.0.24"].map { !MTAFixture.isAlive($0) } ?? false }

    // Webhooks and the master key, by SIGHUP.
    let second = try WebhookReceiver()
    try await second.start()
    defer { second.stop() }
    try edit(mta, (mta.receiver.url, second.url), (MTAFixture.key, "another-master-key"))
    kill(mta.pid, SIGHUP)
    try await eventually("the key is another") { try await mta.get("/v1/gates", key: "another-master-key").status == 200 }
    #expect(try await mta.get("/v1/gates").status == 401)
    let answer = try await mta.call(
      "POST", "/send", body: MTAFixture.body("late", to: "u@\(Zones.domain(1))"), key: "another-master-key")
    #expect(answer.status == 200)
    try await eventually("the new endpoint is told") { second.messageIDs("sent") == ["late"] }
    #expect(mta.receiver.messageIDs("sent").count { !$0.hasPrefix("room-") } == 60)
    #expect(try mta.workerPIDs()["127.0.0.21"] == pids["127.0.0.21"])
    #expect(!mta.logText().contains("another-master-key"))
    // Each with how it ended.
    let audit = try String(contentsOfFile: mta.scratch.file("s/audit.jsonl"), encoding: .utf8).split(separator: "\n").filter {
      $0.contains("\"reload\"")
    }
    #expect(audit.contains { $0.contains("refused: ") } && audit.contains { $0.contains("\"done\"") && $0.contains("SIGHUP") })
    await mta.tearDown()
  }
}
