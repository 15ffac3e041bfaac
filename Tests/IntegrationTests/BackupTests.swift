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
    while !FileManager.default.fileExists(atPath: mta.scratch.file("s/lock")), ContinuousClock.now < deadline {
      try await Task.sleep(for: .microseconds(200))
    }
    restore.send(SIGSTOP)
    #expect(restore.isRunning, "it was stopped on its way")
    let early = try mta.command("run")
    #expect(early.code == 1 && early.errors.contains("\(restore.pid)"), "\(early)")
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
    let key = "owlat_" + String(repeating: "0123456789abcdef", count: 2)
    try upstream.cli("HSET", "mta:dkim:sender.example", "selector", "up1", "privateKey", pem, "returnPathHost", "rp.sender.example")
    let secret = String(repeating: "upstream's secret ", count: 3)
    try upstream.cli("HSET", "mta:dkim:sealed.example", "selector", "up2", "privateKey", try Self.sealed(pem, secret))
    try upstream.cli("HSET", "mta:dkim:other.example", "selector", "up4", "privateKey", try Self.sealed(pem, "another secret"))
    try upstream.cli("HSET", "mta:dkim:pending:sender.example", "selector", "up3", "privateKey", pem)
    try upstream.cli("SADD", "mta:suppressed", "gone@\(Zones.domain(0))", "over@\(Zones.domain(0))", "no address")
    try upstream.cli(
      "SET", "mta:suppressed-meta:gone@\(Zones.domain(0))", "{\"reason\":\"hard_bounce\",\"source\":\"dsn\",\"suppressedAt\":1750000000000}"
    )
    try upstream.cli("SET", "mta:suppressed-meta:over@\(Zones.domain(0))", "{\"reason\":\"manual\",\"expiresAt\":1750000000000}")
    try upstream.cli("HSET", "mta:cred:\(key)", "organizationId", "acme", "name", "app", "createdAt", "1750000000000")
    try upstream.cli("SET", "mta:cred:short", "{\"organizationId\":\"acme\",\"name\":\"\",\"createdAt\":1}")
    let limited = "owlat_" + String(repeating: "fedcba9876543210", count: 2)
    try upstream.cli(
      "SET", "mta:cred:\(limited)", "{\"organizationId\":\"acme\",\"name\":\"x\",\"createdAt\":1,\"allowedDomains\":[\"a.example\"]}")
    try upstream.cli("HSET", "mta:pool-rules:acme:sender.example", "pool", "campaign", "fromDomain", "sender.example")
    try upstream.cli("HSET", "mta:pool-rules:acme", "pool", "nowhere")
    try upstream.cli("HSET", "mta:warming:{warming:127.0.0.22}:state", "currentDay", "12", "dailyCap", "3000", "phase", "ramp")
    try upstream.cli("HSET", "mta:warming:{warming:192.0.2.9}:state", "currentDay", "3", "phase", "ramp")
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22"]]
    options.isWarmed = false
    let mta = try await MTAFixture(options)
    try await mta.start()

    let secretFile = try mta.scratch.write("upstream-secret", secret + "\n")
    func report(_ words: String...) throws -> [String: [String: Any]] {
      let result = try run(
        MTAFixture.binaries + "/supervisor",
        ["import", "upstream", "--redis", upstream.url, "--secret-file", secretFile, "--json", "--config", mta.config] + words)
      #expect(result.code == 0, "\(result.errors)")
      let kinds = json(result.output)["kinds"] as? [[String: Any]] ?? []
      return Dictionary(kinds.compactMap { kind in (kind["kind"] as? String).map { ($0, kind) } }, uniquingKeysWith: { first, _ in first })
    }
    func figures(_ report: [String: [String: Any]], _ kind: String) -> [Int] {
      ["found", "imported", "skipped"].map { report[kind]?[$0] as? Int ?? -1 } + [(report[kind]?["faults"] as? [String])?.count ?? -1]
    }
    for words in [["--dry-run"], []] {
      let report = words.isEmpty ? try report() : try report("--dry-run")
      #expect(figures(report, "dkim") == [3, 2, 0, 1], "\(report)")
      #expect(figures(report, "suppression") == [3, 1, 1, 1])
      #expect(figures(report, "credentials") == [3, 1, 0, 2])
      #expect(figures(report, "poolRules") == [2, 1, 0, 1])
      #expect(figures(report, "warming") == [2, 1, 0, 1])
      if !words.isEmpty { #expect(try mta.command("dkim", "list", "--json").output.hasPrefix("[]"), "a dry run changes nothing") }
    }
    #expect(figures(try report(), "dkim") == [3, 0, 2, 1], "a second time finds its work done")
    for selector in ["up1", "up2"] { #expect(try mta.command("dkim", "list").output.contains(selector)) }
    #expect(try mta.command("ip", "list", "--json").output.contains("\"day\":12"))
    // Upstream's key sends, by its rules; who is suppressed gets nothing.
    let body = MTAFixture.body("imported", to: "u@\(Zones.domain(0))", org: "acme")
    #expect(try await mta.call("POST", "/send", body: body, key: key).status == 200)
    let gone = MTAFixture.body("gone", to: "gone@\(Zones.domain(0))", org: "acme")
    #expect(try await mta.call("POST", "/send", body: gone, key: key).status == 200)
    try await eventually("one is sent, one not") {
      mta.receiver.messageIDs("sent") == ["imported"] && mta.receiver.messageIDs("failed") == ["gone"]
    }
    #expect(mta.log.all.first?.peer == "127.0.0.22" && mta.log.all.first?.field("DKIM-Signature")?.contains("s=up1") == true)
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
