import Foundation
import MailFormat
import Glibc
import SMTPServer
import TestSupport
import Testing

/// Backup, restore and move, with the real programs and a real Redis.
@Suite(.serialized) struct BackupTests {
  private func options(_ dns: NameServer, deferrals: Locked<Int> = Locked(0)) -> MTAFixture.Options {
    var options = MTAFixture.Options()
    options.dns = dns
    // What goes to the second domain waits (a full mailbox shuts no gate); the first is delivered.
    options.script = { moment in
      guard case .rcpt(let recipient) = moment, recipient.hasSuffix(Zones.domain(1)) else { return nil }
      deferrals.change { $0 += 1 }
      return .reply("452 4.2.2 <\(recipient)>: mailbox is full")
    }
    options.extra = "retry: { delays: [10m], jitter: 0 }\n"
    return options
  }

  private func json(_ text: String) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any] ?? [:]
  }

  private func mode(_ path: String) throws -> Int {
    (try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int ?? 0) & 0o777
  }

  @Test func aBackupOfARunningInstallationIsRestoredPaused() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let deferrals = Locked(0)
    let mta = try await MTAFixture(options(dns, deferrals: deferrals))
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for index in 0..<5 {
      try await mta.send("now-\(index)", to: "u@\(Zones.domain(0))", org: "swift")
      try await mta.send("late-\(index)", to: "u@\(Zones.domain(1))", org: "patient")
    }
    #expect(try mta.command("ip", "pull", "127.0.0.21", "--reason", "test").code == 0)
    #expect(try mta.command("ip", "restore", "127.0.0.21").code == 0)
    try await eventually("five are delivered, five deferred") {
      mta.receiver.messageIDs("sent").count == 5 && mta.receiver.messageIDs("deferred").count == 5
    }
    let archive = mta.scratch.file("backup.tar")
    let made = try mta.command("backup", archive, "--json")
    #expect(made.code == 0, "\(made.errors)")
    #expect(json(made.output)["final"] as? Bool == false && (json(made.output)["files"] as? Int ?? 0) > 5)
    #expect(try mode(archive) == 0o600 && !FileManager.default.fileExists(atPath: archive + ".partial"))
    #expect(try mta.command("backup", archive).code == 1, "nothing is written over")
    // What happens after the backup, the restored installation cannot know.
    try await mta.send("after-backup", to: "u@\(Zones.domain(0))", org: "swift")
    try await eventually("delivered") { mta.receiver.messageIDs("sent").count == 6 }
    let highest = Int(try mta.redis("GET", "{mta}:numbers")) ?? 0
    try await mta.stop()

    #expect(try mta.command("restore", archive).code == 1, "a state_dir that is not empty is refused")
    #expect(FileManager.default.fileExists(atPath: mta.scratch.file("s/history.db")), "and left as it is")
    #expect(try String(contentsOfFile: mta.scratch.file("s/audit.jsonl"), encoding: .utf8).contains("\"backup\""))
    try FileManager.default.moveItem(atPath: mta.scratch.file("s"), toPath: mta.scratch.file("old"))
    // A damaged backup is refused in a moment, and leaves nothing.
    let folder = mta.scratch.file("unpacked")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    #expect(try run("/bin/tar", ["-C", folder, "-xf", archive]).code == 0)
    for (file, fault) in [("redis.rdb", "damaged"), ("secret", "has no secret"), ("backup.json", "no backup")] {
      try FileManager.default.moveItem(atPath: folder + "/" + file, toPath: mta.scratch.file("aside"))
      if file == "redis.rdb" {
        try Data(contentsOf: URL(fileURLWithPath: mta.scratch.file("aside"))).dropLast(60).write(
          to: URL(fileURLWithPath: folder + "/" + file))
      }
      let refused = try mta.command("restore", folder)
      #expect(refused.code == 1 && refused.errors.contains(fault), "\(refused.errors)")
      #expect((try? FileManager.default.contentsOfDirectory(atPath: mta.scratch.file("s"))) ?? [] == [], "\(file)")
      try? FileManager.default.removeItem(atPath: folder + "/" + file)
      try FileManager.default.moveItem(atPath: mta.scratch.file("aside"), toPath: folder + "/" + file)
    }
    let manifest = URL(fileURLWithPath: folder + "/backup.json")
    let written = try Data(contentsOf: manifest)
    try Data("{\"version\": 99, \"other\": 1}".utf8).write(to: manifest)
    #expect(try mta.command("restore", folder).errors.contains("has form 99"))
    try written.write(to: manifest)
    let restored = try mta.command("restore", archive, "--json")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(json(restored.output)["messages"] as? Int == 5 && json(restored.output)["paused"] as? [String] == ["patient"])
    #expect(try mode(mta.scratch.file("s/secret")) == 0o600)
    try await mta.start()
    #expect(try Int(mta.redis("GET", "{mta}:numbers")) ?? 0 > highest, "numbers are not given out twice")
    #expect(try mta.command("queue", "pauses").output.contains("restored from a backup"))
    #expect(try mta.command("message", "show", "now-3").output.contains("delivered"))
    #expect(try mta.command("message", "show", "after-backup").code == 1)
    // New mail of others flows, signed with the restored key; the restored mail waits for the operator's word.
    try await mta.send("fresh", to: "u@\(Zones.domain(0))", org: "other")
    try await eventually("new mail flows") { mta.receiver.messageIDs("sent").contains("fresh") }
    #expect(mta.log.all.last?.field("DKIM-Signature")?.contains("d=sender.example") == true)
    #expect(deferrals.value == 5)
    #expect(try mta.command("queue", "retry", "--org", "patient", "--yes").code == 0)
    #expect(try mta.command("queue", "explain", "late-0").output.contains("org_paused"))
    #expect(deferrals.value == 5, "paused mail is not tried")
    #expect(try mta.command("org", "resume", "patient").code == 0)
    try await eventually("the restored mail is tried", within: .seconds(30)) { deferrals.value == 10 }
    #expect(mta.log.all.filter { $0.messageID.hasPrefix("now-") }.count == 5, "nothing that was delivered before goes again")
    await mta.tearDown()
  }

  @Test func aFinalBackupMovesAnInstallation() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let mta = try await MTAFixture(options(dns))
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("late", to: "u@\(Zones.domain(1))", org: "patient")
    try await eventually("deferred") { mta.receiver.messageIDs("deferred").count == 1 }
    try await mta.stop()
    let folder = mta.scratch.file("backup")
    let made = try mta.command("backup", folder, "--json")
    #expect(made.code == 0 && json(made.output)["final"] as? Bool == true, "\(made.errors)")
    #expect(try mode(folder) == 0o700)
    try FileManager.default.moveItem(atPath: mta.scratch.file("s"), toPath: mta.scratch.file("old"))
    // Whoever starts meanwhile, by its socket unit, is told so and spoils nothing.
    let said = mta.scratch.file("restore.log")
    let restore = try TestProcess(
      MTAFixture.binaries + "/supervisor", ["restore", folder, "--config", mta.config], environment: ProcessInfo.processInfo.environment,
      output: said)
    let deadline = ContinuousClock.now + .seconds(20)
    func isLocked() -> Bool {
      (try? String(contentsOfFile: mta.scratch.file("s/lock"), encoding: .utf8)) == "\(restore.pid)\n"
    }
    while !isLocked(), ContinuousClock.now < deadline {
      try await Task.sleep(for: .microseconds(200))
    }
    restore.send(SIGSTOP)
    #expect(restore.isRunning && isLocked(), "it was stopped on its way")
    let names = try FileManager.default.contentsOfDirectory(atPath: mta.scratch.file("s")).sorted()
    let early = try mta.command("run")
    #expect(early.code == 1 && early.errors.contains("\(restore.pid)"), "\(early)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: mta.scratch.file("s")).sorted() == names, "it leaves nothing behind")
    restore.send(SIGCONT)
    #expect(try await restore.waitUntilExit() == 0)
    #expect(try String(contentsOfFile: said, encoding: .utf8).contains("1 messages"))
    try await mta.start()
    #expect(try mta.command("queue", "pauses", "--json").output.trimmingCharacters(in: .whitespacesAndNewlines) == "[]")
    #expect(try mta.command("queue", "explain", "late").output.contains("deferred"))
    // What is no backup leaves the directory empty.
    let nothing = try mta.scratch.write("no.tar", "no archive")
    #expect(try mta.command("restore", nothing, "--into", mta.scratch.file("fresh")).code == 1)
    #expect(try FileManager.default.contentsOfDirectory(atPath: mta.scratch.file("fresh")).isEmpty)
    await mta.tearDown()
  }

  /// A backup that is interrupted, or whose queue a newer version wrote, is none, and leaves nothing behind.
  @Test func aBackupThatCannotBeIsNone() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    // While Redis is silent.
    kill(try mta.redisPID(), SIGSTOP)
    let archive = mta.scratch.file("half.tar")
    let backup = try TestProcess(
      MTAFixture.binaries + "/supervisor", ["backup", archive, "--config", mta.config], environment: ProcessInfo.processInfo.environment,
      output: mta.scratch.file("half.log"))
    try await eventually("it has begun") { FileManager.default.fileExists(atPath: archive + ".partial") }
    try await eventually("it is interrupted") {
      backup.send(SIGINT)
      return backup.exitCode == 1
    }
    #expect(try String(contentsOfFile: mta.scratch.file("half.log"), encoding: .utf8) == "interrupted: there is no backup\n")
    for name in [archive, archive + ".partial"] { #expect(!FileManager.default.fileExists(atPath: name)) }
    kill(try mta.redisPID(), SIGCONT)
    try await eventually("Redis is there again") { (try? mta.redis("PING")) == "PONG" }
    _ = try mta.redis("SET", "{mta}:format", "99")
    let folder = mta.scratch.file("newer")
    #expect(try mta.command("backup", folder).code == 0)
    try await mta.stop()
    let refused = try mta.command("restore", folder, "--into", mta.scratch.file("fresh"))
    #expect(refused.code == 1 && refused.errors.contains("has format 99"), "\(refused)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: mta.scratch.file("fresh")).isEmpty)
    await mta.tearDown()
  }

  /// As upstream seals; its own form, which `UpstreamBoxTests` opens too, sealed by others.
  private static func sealed(_ text: String, _ secret: String) throws -> String {
    let key = Digest.hkdfSHA256(
      Array(secret.utf8), salt: Array("owlat:mta-secrets:salt:v1".utf8), info: Array("owlat:mta-secrets:secrets:v1".utf8))
    let octets = try AES256GCM.seal(Array(text.utf8), key: key, owner: [])
    let parts = [octets.prefix(12), octets.suffix(16), octets.dropFirst(12).dropLast(16)]
    return "mtasealed:v1:" + parts.map { Data($0).base64EncodedString() }.joined(separator: ".")
  }

  @Test func settingsOfAnUpstreamInstallationAreImported() async throws {
    let upstream = try await RedisFixture()
    defer { upstream.stop() }
    let pem = try run("/usr/bin/openssl", ["genrsa", "-traditional", "2048"]).output
    let ed25519 = try run("/usr/bin/openssl", ["genpkey", "-algorithm", "ed25519"]).output
    let key = "owlat_" + String(repeating: "0123456789abcdef", count: 2)
    let secret = String(repeating: "upstream's secret ", count: 3)
    func dkim(_ name: String, _ selector: String, _ key: String, _ more: String...) throws {
      let words = [
        "HSET", "mta:dkim:\(name)", "selector", selector, "privateKey", key, "addedAt", "1750000000000", "rotatedAt", "1750000000000",
      ]
      #expect(try upstream.cli(words + more).contains("ERR") == false)
    }
    try dkim("sender.example", "up1", pem, "returnPathHost", "rp.sender.example")
    try dkim("Sender.Example", "old", pem)
    try dkim("sealed.example", "up2", try Self.sealed(pem, secret), "organizationId", "acme")
    try dkim("other.example", "up4", try Self.sealed(pem, "another secret"), "organizationId", "acme", "returnPathHost", "rp.other.example")
    try dkim("aaa.example", "up5", ed25519)
    try upstream.cli("HSET", "mta:dkim:pending:sender.example", "selector", "up3", "privateKey", pem)
    try upstream.cli("HSET", "mta:dkim:rotation:sender.example", "activeSelector", "up1", "pendingSelector", "up3")
    let (gone, over, until, bare) = (
      "gone@\(Zones.domain(0))", "over@\(Zones.domain(0))", "until@\(Zones.domain(0))", "bare@\(Zones.domain(0))"
    )
    try upstream.cli("SADD", "mta:suppressed", gone, over, until, bare, "swept@\(Zones.domain(0))", "no address")
    try upstream.cli("SET", "mta:suppressed-meta:\(gone)", "{\"reason\":\"hard_bounce\",\"source\":\"dsn\",\"suppressedAt\":1750000000000}")
    try upstream.cli("SET", "mta:suppressed-meta:\(over)", "{\"reason\":\"manual\",\"suppressedAt\":1,\"expiresAt\":1750000000000}")
    try upstream.cli("SET", "mta:suppressed-meta:\(until)", "{\"reason\":\"manual\",\"suppressedAt\":1,\"expiresAt\":4000000000000}")
    try upstream.cli(
      "ZADD", "mta:suppressed-expiring", "1750000000000", over, "4000000000000", until, "1750000000000", "swept@\(Zones.domain(0))")
    try upstream.cli(
      "SET", "mta:cred:\(key)", "{\"organizationId\":\"acme\",\"name\":\"app\",\"createdAt\":1750000000000,\"lastUsedAt\":1750000000001}")
    try upstream.cli("SADD", "mta:cred-index:acme", key)
    try upstream.cli("SET", "mta:cred:short", "{\"organizationId\":\"acme\",\"name\":\"\",\"createdAt\":1}")
    let limited = "owlat_" + String(repeating: "fedcba9876543210", count: 2)
    try upstream.cli(
      "SET", "mta:cred:\(limited)",
      "{\"organizationId\":\"acme\",\"name\":\"x\",\"createdAt\":1,\"allowedDomains\":[\"sealed.example\",\"b.example\"]}")
    try upstream.cli(
      "SET", "mta:cred:owlat_" + String(repeating: "0", count: 32),
      "{\"organizationId\":\"acme\",\"name\":\"x\",\"createdAt\":1,\"allowedDomains\":[5]}")
    try upstream.cli("HSET", "mta:pool-rules:acme:sender.example", "pool", "campaign", "fromDomain", "sender.example")
    try upstream.cli("HSET", "mta:pool-rules:acme", "pool", "nowhere")
    // Without an author's domain upstream looks at no recipient's; it names an IP as others see it.
    try upstream.cli("HSET", "mta:pool-rules:beta", "dedicatedIp", "203.0.113.5", "toDomain", "gmail.com")
    func warming(_ name: String, _ fields: String...) throws { _ = try upstream.cli(["HSET", "mta:warming:\(name)"] + fields) }
    func date() -> String { String(ISO8601DateFormatter().string(from: Date()).prefix(10)) }
    let today = date()
    try warming(
      "{warming:127.0.0.22}:state", "startedAt", "1750000000000", "currentDay", "12", "dailyCap", "2100", "phase", "ramp", "sentToday",
      "2099",
      "sentTodayReset", today)
    try warming("{warming:127.0.0.22}:provider:gmail:state", "capMultiplier", "0.25", "cleanStreak", "1", "codecVersion", "1")
    // Before a provider's first decision there is none.
    try warming("{warming:127.0.0.22}:provider:yahoo:state", "cleanStreak", "0", "codecVersion", "1")
    try warming("127.0.0.22", "currentDay", "3", "dailyCap", "200", "phase", "ramp")
    // The form of older releases, and what stands beside it.
    try warming("127.0.0.21", "currentDay", "18", "dailyCap", "15000", "phase", "plateau", "sentToday", "7", "sentTodayReset", "2025-01-01")
    try warming("daily:127.0.0.21:2026-07-10", "sent", "5")
    try warming("{warming:192.0.2.9}:state", "currentDay", "3", "phase", "ramp")
    try upstream.cli("HSET", "mta:org-config:acme", "dailyLimit", "5")
    try upstream.cli("HSET", "mta:outbound-tls:overrides", "bank.example", "require-verified")
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22"]]
    options.publicAddress = { $0 == "127.0.0.21" ? "203.0.113.5" : nil }
    options.isWarmed = false
    let mta = try await MTAFixture(options)
    try await mta.start()
    // Ours ends tomorrow, upstream's never.
    let own = "{\"emails\":[\"\(gone)\"],\"reason\":\"manual\"}"
    #expect(try await mta.call("POST", "/suppression", body: own).status == 200)

    let secretFile = try mta.scratch.write("upstream-secret", secret + "\n")
    func bring(_ words: String...) throws -> (report: [String: [String: Any]], left: [[String: Any]], text: String) {
      let result = try run(
        MTAFixture.binaries + "/supervisor",
        ["import", "upstream", "--redis", upstream.url, "--secret-file", secretFile, "--json", "--config", mta.config] + words)
      #expect(result.code == 0, "\(result.errors)")
      let kinds = json(result.output)["kinds"] as? [[String: Any]] ?? []
      let report = Dictionary(
        kinds.compactMap { kind in (kind["kind"] as? String).map { ($0, kind) } }, uniquingKeysWith: { first, _ in first })
      return (report, json(result.output)["left"] as? [[String: Any]] ?? [], result.output)
    }
    func figures(_ report: [String: [String: Any]], _ kind: String) -> [Int] {
      ["found", "imported", "skipped"].map { report[kind]?[$0] as? Int ?? -1 } + [(report[kind]?["faults"] as? [String])?.count ?? -1]
    }
    for words in [["--dry-run"], []] {
      let (report, left, text) = words.isEmpty ? try bring() : try bring("--dry-run")
      #expect(figures(report, "dkim") == [4, 2, 0, 2], "\(report)")
      #expect(figures(report, "suppression") == [6, 3, 2, 1], "\(report)")
      #expect(figures(report, "credentials") == [4, 2, 0, 2], "\(report)")
      #expect(figures(report, "poolRules") == [3, 2, 0, 1], "\(report)")
      #expect(figures(report, "warming") == [3, 2, 0, 1], "\(report)")
      #expect(left.map { "\($0["count"] ?? 0) \($0["what"] ?? "")".prefix(9) } == ["1 DKIM ke", "1 organis", "1 TLS dem"], "\(left)")
      #expect(text.contains("dkim add other.example --selector up4 --key FILE --org acme`, and its returnPathHost rp.other.example"))
      #expect(text.contains("stands beside an RSA key"))
      if !words.isEmpty { #expect(try mta.command("dkim", "list", "--json").output.hasPrefix("[]"), "a dry run changes nothing") }
    }
    func warmings() throws -> [JSONValue] {
      (try JSONValue(try mta.command("ip", "list", "--json").output).list ?? []).map { $0["warming"] ?? .null }
    }
    let warmed = try warmings()
    for (ip, parts) in [("127.0.0.22", ["ramp 12 2100", "gmail 250"]), ("127.0.0.21", ["plateau 18 15000"])] {
      let row = try mta.redis("HGET", "{mta}:policy", "warm:\(ip)")
      for part in parts { #expect(row.contains(part), "\(ip): \(row)") }
    }
    let again = try bring().report
    for (kind, figures) in [
      ("dkim", [4, 0, 2]), ("suppression", [6, 0, 5]), ("credentials", [4, 0, 2]), ("poolRules", [3, 0, 2]), ("warming", [3, 0, 2]),
    ] {
      let found = ["found", "imported", "skipped"].map { again[kind]?[$0] as? Int ?? -1 }
      #expect(found == figures, "\(kind): a second time finds its work done")
    }
    #expect(try warmings() == warmed)
    let domains = try await mta.get("/dkim").json["domains"] as? [[String: Any]] ?? []
    #expect(
      domains.map { $0["selector"] as? String } == ["up2", "up1"] && domains.map { $0["organizationId"] as? String } == ["acme", nil])
    let rules = try await mta.get("/pool-rules/beta/all").body
    #expect(rules == "{\"rules\":[{\"organizationId\":\"beta\",\"dedicatedIp\":\"127.0.0.21\"}]}", "\(rules)")
    for address in [gone, until, bare] {
      let check = try await mta.get("/suppression/check/\(address)").json
      #expect(check["suppressed"] as? Bool == true && (check["reason"] as? String == "hard_bounce") == (address == gone), "\(check)")
    }
    // Upstream's key sends, by its rules; who is suppressed gets nothing; the day's cap is one cap.
    func send(_ id: String, _ to: String, from: String = "sender.example", key: String) async throws -> Int {
      let body = MTAFixture.body(id, to: "\(to)", org: "acme", ["from": "N <n@\(from)>", "dkimDomain": from])
      return try await mta.call("POST", "/send", body: body, key: key).status
    }
    #expect(try await send("imported", "u@\(Zones.domain(0))", key: key) == 200)
    #expect(try await send("gone", gone, key: key) == 200)
    #expect(try await send("beyond", "u@\(Zones.domain(0))", key: limited) == 403, "from its own domains only")
    try await eventually("one is sent, one not") {
      mta.receiver.messageIDs("sent") == ["imported"] && mta.receiver.messageIDs("failed") == ["gone"]
    }
    #expect(mta.log.all.first?.peer == "127.0.0.22" && mta.log.all.first?.field("DKIM-Signature")?.contains("s=up1") == true)
    #expect(try await send("capped", "u@\(Zones.domain(0))", key: key) == 200)
    try await eventually("it waits for tomorrow") {
      try mta.command("queue", "explain", "capped").output.contains("warming_cap") || date() != today
    }
    #expect(try await send("own", "u@\(Zones.domain(0))", from: "sealed.example", key: limited) == 200)
    try await eventually("signed by its own key") {
      mta.log.all.contains { $0.messageID == "own" && $0.field("DKIM-Signature")?.contains("s=up2") == true }
    }
    await mta.tearDown()
  }
}

extension CommandTests {
  /// What moves an installation, or brings one over.
  func backups(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    let folder = mta.scratch.file("backup")
    #expect(try asker.ask("backup", folder)["final"] == .bool(false))
    #expect(try asker.ask("restore", folder, "--into", mta.scratch.file("again"))["into"]?.text == mta.scratch.file("again"))
    let upstream = try await RedisFixture()
    defer { upstream.stop() }
    #expect(try asker.ask("import upstream", "--redis", upstream.url, "--dry-run")["applied"] == .bool(false))
  }
}
