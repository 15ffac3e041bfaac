import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// Processes and clocks that misbehave for a while, under load (DESIGN section 9).
@Suite(.serialized) struct BreakageTests {
  /// redis-server killed twenty times, then stopped for 20 s with requests in flight: every message answered 2xx is delivered once,
  /// none answered 503 is.
  @Test func redisIsKilledAndStoppedUnderLoad() async throws {
    let rig = try await KillTests.Rig(replyAfter: 10)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let accepted = Locked<[String]>([])
    let refused = Locked<[String]>([])
    let isOver = Locked(false)
    let load = Task {
      await withTaskGroup(of: Void.self) { group in
        for lane in 0..<8 {
          group.addTask {
            var number = 0
            while !isOver.value {
              let id = "l\(lane)-\(number)"
              number += 1
              let body = MTAFixture.body(id, to: "u@\(Zones.domain(number % 5))")
              guard let answer = try? await rig.mta.call("POST", "/send", body: body) else { continue }
              switch answer.status {
              case 200: accepted.change { $0.append(id) }
              case 503:
                refused.change { $0.append(id) }
                // As a client would; the load must not be all refusals.
                try? await Task.sleep(for: .milliseconds(30))
              // 409: still not known. Asked again it says which it was.
              default:
                if await Self.isAccepted(rig.mta, id, body) { accepted.change { $0.append(id) } } else { refused.change { $0.append(id) } }
              }
              try? await Task.sleep(for: .milliseconds(5))
            }
          }
        }
      }
    }
    func flows() async throws {
      let before = accepted.value.count
      try await eventually("mail is accepted again", within: .seconds(30)) { accepted.value.count >= before + 20 }
    }
    for _ in 0..<20 {
      try await flows()
      kill(try rig.mta.redisPID(), SIGKILL)
      try await Task.sleep(for: .milliseconds(Int64.random(in: 50...300)))
    }
    try await flows()
    let pid = try rig.mta.redisPID()
    kill(pid, SIGSTOP)
    try await Task.sleep(for: .seconds(20))
    kill(pid, SIGCONT)
    try await flows()
    isOver.change { $0 = true }
    await load.value
    let check = rig.exactness(accepted.value)
    do { try await check.waitUntilEnded(within: .seconds(60)) } catch {
      Issue.record("\(rig.mta.describe(accepted.value.first { !check.ended.contains($0) } ?? ""))")
    }
    check.check(rig.dots.all)
    #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
    #expect(!refused.value.isEmpty, "nothing was refused while Redis was away")
    let wrong = Set(refused.value).intersection(rig.dots.all)
    #expect(wrong.isEmpty, "refused and delivered: \(wrong.sorted().prefix(5))")
    print("Redis killed and stopped: \(accepted.value.count) accepted, \(refused.value.count) refused")
    await rig.end()
  }

  private static func isAccepted(_ mta: MTAFixture, _ id: String, _ body: String) async -> Bool {
    for _ in 0..<300 {
      if let receipt = try? await mta.get("/send/receipt/\(id)"), receipt.status == 200, !receipt.body.contains("pending") {
        return receipt.body.contains("accepted")
      }
      try? await Task.sleep(for: .milliseconds(100))
    }
    return false
  }

  /// A worker that hangs is ended within 6 heartbeats' time and another takes its place; what it held is sent once.
  @Test func aWorkerHangs() async throws {
    let rig = try await KillTests.Rig(replyAfter: 300, ips: ["127.0.0.21"])
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let messages = rig.messages(60)
    let load = Task { try await rig.mta.sendAll(messages) }
    let before = rig.dots.all.count
    try await eventually("mail flows") { rig.dots.all.count > before + 10 }
    let pid = try #require(try rig.mta.workerPIDs()["127.0.0.21"])
    kill(pid, SIGSTOP)
    try await eventually("it is ended", within: .seconds(15)) { !MTAFixture.isAlive(pid) }
    #expect(rig.mta.logText().contains("worker gives no life sign"))
    try await load.value
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    await rig.end()
  }

  /// The host loses power: every process ends at once, and the last step in the append-only file is torn. It is never done, also
  /// when Redis ends once more.
  @Test func theHostLosesPower() async throws {
    let rig = try await KillTests.Rig(replyAfter: 30)
    try await rig.mta.start()
    // No killed process takes the page cache with it: that what is answered is on the disk is a setting, and asked for.
    #expect(try rig.mta.redis("CONFIG", "GET", "appendfsync").contains("always"))
    #expect(try rig.mta.redis("CONFIG", "GET", "appendonly").contains("yes"))
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let accepted = Locked<[String]>([])
    let messages = rig.messages(400)
    let load = Task {
      for message in messages {
        if (try? await rig.mta.send(message.id, to: message.to)) != nil { accepted.change { $0.append(message.id) } }
      }
    }
    try await eventually("mail flows") { rig.dots.all.count > 60 }
    let victims = try Array(rig.mta.workerPIDs().values) + [rig.mta.redisPID(), rig.mta.pid]
    for pid in victims { kill(pid, SIGSTOP) }
    for pid in victims { kill(pid, SIGKILL) }
    try await rig.mta.killSupervisor()
    load.cancel()
    await load.value
    let folder = rig.mta.scratch.file("s/redis/appendonlydir")
    let last = try #require(
      try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".incr.aof") }.sorted().last)
    let handle = try #require(FileHandle(forWritingAtPath: folder + "/" + last))
    // What was being written when the light went out; nobody was told of it.
    try handle.seekToEnd()
    let set = "*3\r\n$3\r\nSET\r\n"
    try handle.write(contentsOf: Data("*1\r\n$5\r\nMULTI\r\n\(set)$4\r\ntorn\r\n$1\r\n1\r\n\(set)$1\r\na\r\n$100\r\nhalf".utf8))
    try handle.close()
    try await rig.mta.start()
    let check = rig.exactness(accepted.value)
    try await check.waitUntilEnded()
    // The page cache outlives killed processes, so even the transactions that were open are not sent again here.
    check.check(rig.dots.all, unseenUncertain: 4)
    #expect(accepted.value.count > 40)
    #expect(rig.mta.logText().contains("half a step was cut off"))
    kill(try rig.mta.redisPID(), SIGKILL)
    try await eventually("mail is accepted again", within: .seconds(20)) { (try? await rig.mta.send("again", to: messages[0].to)) != nil }
    #expect(try rig.mta.redis("EXISTS", "torn") == "0")
    await rig.end()
  }

  /// A Redis of the user's own that nobody mends ends in the middle of a step: its file is written anew, so that the half is not
  /// done at its next start but one. What it lacks to keep accepted mail is told.
  @Test func aForeignRedisEndsInAStep() async throws {
    let redis = try await RedisFixture()
    redis.mend = { _ in }
    let rig = try await KillTests.Rig(redis: redis.url)
    try redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try redis.cli("CONFIG", "SET", "appendfsync", "everysec")
    try await rig.mta.start()
    func renewed() throws -> Bool {
      let state = try redis.cli("INFO", "persistence")
      return state.contains("aof_rewrites:1\r") && state.contains("aof_rewrite_in_progress:0")
    }
    try await eventually("the first run's file is written anew") { try renewed() }
    let log = rig.mta.logText()
    #expect(log.contains("set maxmemory-policy noeviction") && log.contains("set appendfsync always"))
    let step = "for _, key in ipairs(KEYS) do redis.call('SET', key, string.rep('x', 100)) end"
    try redis.cli("EVAL", step, "2", "torn", "half")
    redis.kill()
    let file = try redis.appendedFile()
    // Within the second SET.
    let value = try #require(
      try Data(contentsOf: URL(fileURLWithPath: file)).range(of: Data(repeating: UInt8(ascii: "x"), count: 100), options: .backwards))
    #expect(truncate(file, off_t(value.lowerBound + 30)) == 0)
    try await redis.start()
    #expect(try redis.cli("EXISTS", "torn") == "0")
    try await eventually("the second run's file is written anew", within: .seconds(20)) { try renewed() }
    // Without that, Redis would do the half of the first step with this one, or forget what it took before it.
    try redis.cli("EVAL", step, "2", "a", "b")
    redis.kill()
    try await redis.start()
    #expect(try redis.cli("EXISTS", "torn", "half") == "0" && redis.cli("EXISTS", "a", "b") == "2")
    try await eventually("mail is accepted again", within: .seconds(20)) {
      guard (try? await rig.mta.registerDKIM("sender.example")) != nil else { return false }
      return (try? await rig.mta.send("again", to: "u@\(Zones.domain(0))")) != nil
    }
    await rig.end()
    redis.stop()
  }

  /// Redis comes back as it was a while before, as one that syncs its file once a second does after a power failure: what workers did
  /// since is known from their journals, and what they hold goes once.
  @Test func redisForgetsWhatItAnswered() async throws {
    let redis = try await RedisFixture()
    let rig = try await KillTests.Rig(
      replyAfter: 400, redis: redis.url, providers: "other: {defaultRate: 300, floor: 300, ceiling: 300, maxConnections: 4}")
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await eventually("its file was written anew") {
      let state = try redis.cli("INFO", "persistence")
      return state.contains("aof_rewrites:1\r") && state.contains("aof_rewrite_in_progress:0")
    }
    try await rig.warmUp()
    let messages = rig.messages(300)
    #expect(try rig.mta.command("queue", "pause", "--pool", "transactional").code == 0)
    try await rig.mta.sendAll(messages)
    let (folder, older) = (redis.scratch.file("appendonlydir"), redis.scratch.file("older"))
    try FileManager.default.copyItem(atPath: folder, toPath: older)
    // All dispatches are forgotten.
    func resume() throws -> Bool { try rig.mta.command("queue", "resume", "--pool", "transactional").code == 0 }
    #expect(try resume())
    let then = rig.dots.all.count
    try await eventually("mail flows") { rig.dots.all.count >= then + 60 }
    redis.kill()
    try FileManager.default.removeItem(atPath: folder)
    try FileManager.default.moveItem(atPath: older, toPath: folder)
    try await redis.start()
    try await eventually("the resumption that it forgot is ordered again") { try resume() }
    let check = rig.exactness(messages.map(\.id))
    do { try await check.waitUntilEnded() } catch {
      Issue.record("\(error)\n\(rig.mta.describe(messages.map(\.id).first { !check.ended.contains($0) } ?? ""))")
    }
    check.check(rig.dots.all)
    #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
    await rig.end()
    redis.stop()
  }

  /// An operator removes every Function from Redis, three times, under load: they are brought back within moments.
  @Test func theFunctionsAreRemoved() async throws {
    let rig = try await KillTests.Rig(replyAfter: 20)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let messages = rig.messages(600)
    let accepted = Locked<[String]>([])
    let load = Task {
      for message in messages {
        var isIn = false
        while !isIn {
          isIn = (try? await rig.mta.send(message.id, to: message.to)) != nil
          if !isIn { try? await Task.sleep(for: .milliseconds(20)) }
        }
        accepted.change { $0.append(message.id) }
      }
    }
    for _ in 0..<3 {
      let before = (rig.dots.all.count, accepted.value.count)
      try await eventually("mail flows", within: .seconds(20)) {
        rig.dots.all.count > before.0 + 60 && accepted.value.count > before.1 + 60
      }
      #expect(try rig.mta.redis("FUNCTION", "FLUSH") == "OK")
    }
    try await eventually("all are accepted", within: .seconds(30)) { accepted.value.count == messages.count }
    await load.value
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
    #expect(try rig.mta.redis("FUNCTION", "LIST").contains("owlatmta_"))
    await rig.end()
  }

  /// A Redis that an earlier supervisor started and that nothing tells of, since that one was killed right then: the next one finds it
  /// by its socket. While one is being born or ends, none is started beside it.
  @Test func thereIsNeverASecondRedis() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    func servers() -> [Int32] {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return names.compactMap { Int32($0) }.filter { pid in
        let line = (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
        return line.contains("redis-server") && line.contains(mta.scratch.path) && MTAFixture.isAlive(pid)
      }
    }
    let first = servers()
    #expect(first.count == 1)
    let file = mta.scratch.file("s/redis/redis.pid")
    try FileManager.default.removeItem(atPath: file)
    try await mta.killSupervisor()
    try await mta.start()
    #expect(servers() == first)
    // Its child, of whatever kind, still has the lock.
    let holder = try TestProcess("/usr/bin/flock", [mta.scratch.file("s/redis/lock"), "/bin/sleep", "60"])
    for pid in first { kill(pid, SIGKILL) }
    try await eventually("the lock is taken") {
      try run("/usr/bin/flock", ["-n", mta.scratch.file("s/redis/lock"), "/bin/true"]).code != 0
    }
    try await eventually("the supervisor knows") { try !mta.command("status", "--json").output.contains("\"redis\":\"connected\"") }
    #expect(servers().isEmpty)
    holder.destroy()
    try await eventually("one is started", within: .seconds(20)) { servers().count == 1 }
    try await eventually("it is used", within: .seconds(20)) {
      try mta.command("status", "--json").output.contains("\"redis\":\"connected\"")
    }
    await mta.tearDown()
  }

  /// The clock is set an hour ahead, back, and back an hour more, in supervisor and workers and not in Redis: mail flows,
  /// retries come in their time, nothing expires, receipts hold, and events are signed with the clock's time.
  @Test func theClockIsSet() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let path = scratch.file("clock")
    func set(_ milliseconds: Int64) throws {
      let file = try #require(FileHandle(forWritingAtPath: path))
      try file.write(contentsOf: withUnsafeBytes(of: milliseconds) { Data($0) })
      try file.close()
    }
    _ = FileManager.default.createFile(atPath: path, contents: Data(count: 8))
    let dns = try await NameServer(zones: Zones.separate(5))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.environment["OWLAT_CLOCK_FILE"] = path
    options.extra = "retry: { delays: [3s, 20m], jitter: 0 }\n"
    options.smtp = "max_age: 30m"
    let tries = Locked<[String: [ContinuousClock.Instant]]>([:])
    options.script = { moment in
      guard case .rcpt(let recipient) = moment, recipient.hasPrefix("late") else { return nil }
      tries.change { $0[recipient, default: []].append(.now) }
      return tries.value[recipient]?.count == 1 || recipient.hasPrefix("later@") ? .reply("450 4.2.1 later") : nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    // One that is due in twenty minutes, by its second deferral.
    try await mta.send("later", to: "later@\(Zones.domain(1))")
    try await eventually("it is deferred twice") { tries.value.first { $0.key.hasPrefix("later@") }?.value.count == 2 }
    for (round, offset) in [3_600_000, 0, -3_600_000].enumerated() {
      // One that is due in three seconds.
      try await mta.send("late\(round)", to: "late\(round)@\(Zones.domain(0))")
      try await eventually("it is deferred") { tries.value.keys.contains { $0.hasPrefix("late\(round)@") } }
      try set(Int64(offset))
      // At once, by a new connection or an old one: accepted, sent, told.
      for number in 0..<5 { try await mta.send("now\(round)-\(number)", to: "u@\(Zones.domain(2 + number % 3))") }
      try await eventually("mail flows", within: .seconds(8)) {
        mta.receiver.messageIDs("sent").count { $0.hasPrefix("now\(round)-") } == 5
      }
      try await eventually("the retry comes in its time", within: .seconds(8)) { mta.receiver.messageIDs("sent").contains("late\(round)") }
      let times = try #require(tries.value.first { $0.key.hasPrefix("late\(round)@") }?.value)
      #expect(times.count == 2 && times[1] - times[0] > .milliseconds(2500), "neither at once nor never")
      // The same again is known.
      let body = MTAFixture.body("now\(round)-0", to: "u@\(Zones.domain(2))")
      #expect(try await mta.call("POST", "/send", body: body).body.contains("deduplicated"))
      let told = try #require(mta.receiver.all.last { $0.event == "sent" })
      let signedAt = (told.headers["x-mta-timestamp"].flatMap { Int64($0) } ?? 0)
      let clock = Int64(Date().timeIntervalSince1970) + Int64(offset) / 1000
      #expect(abs((signedAt > 10_000_000_000 ? signedAt / 1000 : signedAt) - clock) < 30)
    }
    let twenty = try #require(tries.value.first { $0.key.hasPrefix("later@") }?.value)
    #expect(twenty.count == 2, "what is due in twenty minutes is not due yet")
    #expect(mta.receiver.messageIDs("bounced").isEmpty, "nothing expired")
    #expect(mta.logText().contains("the clock was set"))
    await mta.tearDown()
  }

  /// No name server answers at all: mail of every domain waits for that reason, nobody is bounced or suppressed, and all of it
  /// leaves when DNS is back.
  @Test func DNSIsDead() async throws {
    let dns = try await NameServer(zones: Zones.separate(3))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    dns.pause()
    try await mta.sendAll((0..<12).map { (id: "d\($0)", to: "u@\(Zones.domain($0 % 3))", org: "o", pool: "transactional") })
    try await eventually("it waits for DNS", within: .seconds(30)) {
      try await mta.get("/v1/messages/d0/explain").body.contains("\"reason\":\"dns\"")
    }
    #expect(mta.receiver.all.isEmpty && mta.log.count == 0)
    #expect(try mta.redis("KEYS", "*:sup:*").isEmpty)
    dns.resume()
    try await eventually("all leave", within: .seconds(60)) { mta.receiver.messageIDs("sent").count == 12 }
    #expect(mta.log.count == 12 && mta.receiver.messageIDs("bounced").isEmpty)
    await mta.tearDown()
  }

  /// What waited for a receiver that was down leaves oldest first.
  @Test func eventsLeaveOldestFirst() async throws {
    let dns = try await NameServer(zones: Zones.separate(5))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    mta.receiver.answer(503)
    for batch in 0..<4 {
      try await mta.sendAll((0..<40).map { (id: "w\(batch)-\($0)", to: "u@\(Zones.domain($0 % 5))", org: "o", pool: "transactional") })
      try await eventually("they wait on disk") {
        try mta.command("status", "--json").output.contains("\"webhooksPending\":\(40 * (batch + 1))")
      }
    }
    mta.receiver.answer(200)
    try await eventually("all are told", within: .seconds(30)) { Set(mta.receiver.messageIDs("sent")).count == 160 }
    let batches = mta.receiver.messageIDs("sent").map { Int($0.dropFirst().prefix(1)) ?? 0 }
    #expect(batches.first == 0)
    // Some are on their way side by side; none overtakes those of two batches before.
    var newest = 0
    for batch in batches {
      #expect(batch >= newest - 1)
      newest = max(newest, batch)
    }
    await mta.tearDown()
  }
}
