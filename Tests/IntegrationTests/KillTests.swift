import Foundation
import Glibc
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// `kill -9` of the release programs, at each named place and at random: nothing lost, nothing twice.
@Suite(.serialized) struct KillTests {
  struct Rig {
    let dns: NameServer
    let mta: MTAFixture
    let dots: DotLog

    init(
      failPoint: String? = nil, replyAfter: Int64 = 20, ips: [String] = ["127.0.0.21", "127.0.0.22"], isChunked: Bool = false,
      redis: String? = nil, providers: String? = nil
    ) async throws {
      dns = try await NameServer(zones: Zones.separate(5))
      let dots = DotLog()
      self.dots = dots
      var options = MTAFixture.Options()
      options.dns = dns
      options.pools = ["transactional": ips]
      if let providers { options.providers = providers }
      if isChunked { options.sinkOptions.extensions.append("CHUNKING") }
      options.extra = "retry: { delays: [500ms, 1s], jitter: 0 }\n"
      if let redis { options.extra += "redis: { url: \"\(redis)\" }\n" }
      options.script = { moment in
        guard case .message(let message) = moment else { return nil }
        dots.note(message)
        return .reply("250 2.0.0 ok", after: .milliseconds(replyAfter))
      }
      mta = try await MTAFixture(options, failPoint: failPoint)
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
    }

    func messages(_ count: Int, _ prefix: String = "k") -> [(id: String, to: String, org: String, pool: String)] {
      (0..<count).map { (id: "\(prefix)\($0)", to: "u\($0)@\(Zones.domain($0 % 5))", org: "o", pool: "transactional") }
    }

    /// Connections and keys are there, and nothing is under way, before anything is killed.
    func warmUp() async throws {
      try await mta.sendAll(messages(20, "warm"))
      try await eventually("the first 20 are told") { mta.receiver.messageIDs("sent").count == 20 }
    }

    func exactness(_ ids: [String]) -> Exactness { Exactness(accepted: ids, receiver: mta.receiver, dots: dots) }
  }

  @Test(arguments: [
    "worker-before-begin", "worker-before-dot", "worker-after-dot-journal", "worker-after-dot", "worker-after-reply",
    "worker-before-settle", "worker-after-settle",
  ])
  func workerAtEachFailPoint(place: String) async throws {
    // Where the dot is counts: at every other place the message travels by BDAT.
    let rig = try await Rig(failPoint: place, isChunked: place.hasSuffix("journal") || place.hasSuffix("reply") || place.hasSuffix("begin"))
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let pids = try rig.mta.workerPIDs()
    rig.mta.armFailPoint()
    let messages = rig.messages(60)
    try await rig.mta.sendAll(messages)
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    #expect(!rig.mta.isFailPointArmed, "the place was never passed")
    let after = try rig.mta.workerPIDs()
    #expect(pids.values.sorted() != after.values.sorted(), "no worker was killed")
    check.check(rig.dots.all, unseenUncertain: place == "worker-after-dot-journal" ? 1 : 0)
    let uncertain = rig.mta.receiver.messageIDs("uncertain")
    switch place {
    case "worker-after-dot-journal": #expect(uncertain.count >= 1)
    case "worker-before-begin", "worker-before-dot": #expect(uncertain.count <= 4)
    default: break
    }
    await rig.end()
  }

  @Test(arguments: [
    "supervisor-before-accept", "supervisor-after-accept", "supervisor-before-dispatch", "supervisor-after-dispatch",
    "supervisor-before-effects", "supervisor-after-effects", "supervisor-after-outbox",
  ])
  func supervisorAtEachFailPoint(place: String) async throws {
    let rig = try await Rig(failPoint: place)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    rig.mta.armFailPoint()
    let answered = Locked<[String]>([])
    let messages = rig.messages(40)
    await withTaskGroup(of: Void.self) { group in
      for message in messages {
        group.addTask {
          if (try? await rig.mta.send(message.id, to: message.to, org: "o")) != nil { answered.change { $0.append(message.id) } }
        }
      }
    }
    try await eventually("the supervisor was killed") { !rig.mta.isRunning && !rig.mta.isFailPointArmed }
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    // What was answered is there; the rest is posted again, as a client would: what was accepted is not accepted twice.
    let known = Set(answered.value)
    try await rig.mta.sendAll(messages.filter { !known.contains($0.id) })
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    #expect(Set(answered.value).isSubset(of: check.ended))
    await rig.end()
  }

  /// redis-server killed between two steps of either side: nothing acknowledged is missing, nothing goes twice.
  @Test(arguments: [
    "supervisor-before-accept", "supervisor-after-accept", "supervisor-before-dispatch", "supervisor-after-dispatch",
    "supervisor-before-effects", "supervisor-after-effects", "worker-before-begin", "worker-before-dot", "worker-after-dot",
    "worker-after-reply", "worker-before-settle", "worker-after-settle",
  ])
  func redisAtEachFailPoint(place: String) async throws {
    let rig = try await Rig(failPoint: place)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    try rig.mta.armFailPoint(killing: try rig.mta.redisPID())
    let messages = rig.messages(60)
    // Refused or unanswered requests are posted again, as a client would.
    for message in messages {
      try await eventually("\(message.id) is accepted", within: .seconds(30)) {
        (try? await rig.mta.send(message.id, to: message.to, org: "o")) != nil
      }
    }
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    #expect(!rig.mta.isFailPointArmed, "the place was never passed")
    check.check(rig.dots.all)
    #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
    await rig.end()
  }

  /// Redis did it, and the answer was lost with its connection: nothing is forgotten, nothing is done again.
  @Test(arguments: ["accept", "dispatch", "settle", "effects"])
  func anAnswerOfRedisIsLost(function: String) async throws {
    let redis = try await RedisFixture()
    let link = try await LinkCutter.start(path: redis.scratch.file("link.sock"), redis: redis.socket)
    let rig = try await Rig(redis: link.url)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let messages = rig.messages(200)
    for (index, message) in messages.enumerated() {
      if index % 50 == 25 { link.loseAnswer(to: "_\(function)") }
      try await eventually("\(message.id) is accepted", within: .seconds(30)) {
        (try? await rig.mta.send(message.id, to: message.to, org: "o")) != nil
      }
    }
    let check = rig.exactness(messages.map(\.id))
    do { try await check.waitUntilEnded() } catch { Issue.record("\(rig.mta.describe(messages[0].id))") }
    #expect(!link.isArmed, "the function was never called")
    check.check(rig.dots.all)
    #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
    await rig.end()
    await link.stop()
    redis.stop()
  }

  /// The answer that said "accepted" is lost, and Redis is full when it is asked again: its refusal says nothing of the first time, so the
  /// client is not told that nothing was accepted.
  @Test func redisIsFullAfterALostAnswer() async throws {
    let redis = try await RedisFixture()
    let link = try await LinkCutter.start(path: redis.scratch.file("link.sock"), redis: redis.socket)
    let rig = try await Rig(redis: link.url)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let message = rig.messages(1)[0]
    link.loseAnswer(to: "_accept")
    let answer = Task { try await rig.mta.call("POST", "/send", body: MTAFixture.body(message.id, to: message.to)).status }
    while link.isArmed { await Task.yield() }
    try redis.cli("CONFIG", "SET", "maxmemory", "1")
    try await eventually("it is asked again") { try redis.cli("INFO", "errorstats").contains("errorstat_OOM") }
    try redis.cli("CONFIG", "SET", "maxmemory", "0")
    #expect(try await answer.value == 200)
    try await eventually("delivered") { rig.mta.receiver.messageIDs("sent").contains(message.id) }
    #expect(rig.dots.all.count { $0 == message.id } == 1)
    await rig.end()
    await link.stop()
    redis.stop()
  }

  /// Workers and the supervisor killed at random under load, and redis-server too.
  @Test func anythingAtRandomUnderLoad() async throws {
    let rig = try await Rig(replyAfter: 15, isChunked: true)
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    let messages = rig.messages(1500)
    let load = Task {
      for message in messages {
        try await eventually("\(message.id) is accepted", within: .seconds(60)) {
          (try? await rig.mta.send(message.id, to: message.to, org: "o")) != nil
        }
      }
    }
    for round in 0..<9 {
      let before = rig.dots.all.count
      try await eventually("mail flows in round \(round)", within: .seconds(30)) { rig.dots.all.count >= before + 40 }
      switch round % 3 {
      case 0:
        for pid in try rig.mta.workerPIDs().values { kill(pid, SIGKILL) }
      case 1: kill(try rig.mta.redisPID(), SIGKILL)
      default:
        try await rig.mta.killSupervisor()
        try await rig.mta.start()
      }
    }
    try await load.value
    let check = rig.exactness(messages.map(\.id))
    do {
      try await check.waitUntilEnded(within: .seconds(120))
    } catch {
      let missing = messages.map(\.id).first { !check.ended.contains($0) } ?? ""
      Issue.record("\(rig.dots.describe(missing))\n\(rig.mta.describe(missing))")
      throw error
    }
    check.check(rig.dots.all, unseenUncertain: 2)
    await rig.end()
  }

  /// Redis stops: 503 with Retry-After, nothing accepted, also not later; all resumes without a restart.
  @Test func aStalledRedisAcceptsNothing() async throws {
    let rig = try await Rig()
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.mta.send("before", to: "u@\(Zones.domain(0))")
    let pid = try rig.mta.redisPID()
    kill(pid, SIGSTOP)
    let answer = try await rig.mta.call("POST", "/send", body: MTAFixture.body("during", to: "u@\(Zones.domain(0))"))
    #expect([409, 503].contains(answer.status))
    #expect(answer.headers["retry-after"].flatMap { Int($0) } != nil)
    kill(pid, SIGCONT)
    try await eventually("Redis is back", within: .seconds(20)) {
      try await rig.mta.get("/health").body.contains("\"redis\":\"connected\"")
    }
    try await rig.mta.send("after", to: "u@\(Zones.domain(0))")
    do {
      try await eventually("mail flows again") { rig.mta.receiver.messageIDs("sent").contains("after") }
    } catch { Issue.record("\(error)\n\(rig.mta.describe("after"))") }
    #expect(try await rig.mta.get("/send/receipt/during").body == "{\"state\":\"absent\"}")
    #expect(!rig.dots.all.contains("during"))
    await rig.end()
  }

  /// One message that kills every worker that takes it up is given up after three, and pulls no IP.
  @Test func aHostileMessageIsGivenUp() async throws {
    let rig = try await Rig(failPoint: "worker-before-dot", ips: ["127.0.0.21"])
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    try rig.mta.armFailPoint(message: "hostile")
    var messages = rig.messages(60)
    messages.insert((id: "hostile", to: "x@\(Zones.domain(1))", org: "o", pool: "transactional"), at: 10)
    try await rig.mta.sendAll(messages)
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    let failed = rig.mta.receiver.all.filter { $0.event == "failed" }
    #expect(failed.map(\.messageID) == ["hostile"] && failed.first?.fields["errorCode"] == "INTERNAL_ERROR")
    #expect(rig.mta.logText().contains("message given up") && rig.mta.logText().contains("message.id=hostile"))
    #expect(try rig.mta.command("ip", "list", "--json").output.contains("\"state\":\"active\""))
    // What was at its dot beside it is uncertain; all others are delivered.
    #expect(Set(rig.mta.receiver.messageIDs("sent") + rig.mta.receiver.messageIDs("uncertain")).count == 60)
    check.check(rig.dots.all, unseenUncertain: 3)
    await rig.end()
  }

  /// Who is killed from outside was not killed by its message: that is sent in the end, however often it happens.
  @Test func aMessageIsNotBlamedForBlowsFromOutside() async throws {
    let rig = try await Rig(failPoint: "worker-before-dot", ips: ["127.0.0.21"])
    try await rig.mta.start()
    try await rig.mta.registerDKIM("sender.example")
    rig.mta.armFailPoint()
    try await rig.mta.send("struck", to: "x@\(Zones.domain(1))")
    for blow in 1...4 {
      try await eventually("blow \(blow)", within: .seconds(20)) { !rig.mta.isFailPointArmed }
      if blow < 4 { rig.mta.armFailPoint() }
    }
    try await eventually("it is sent", within: .seconds(20)) { rig.mta.receiver.messageIDs("sent") == ["struck"] }
    #expect(rig.dots.all.count == 1 && !rig.mta.logText().contains("given up"))
    await rig.end()
  }

  /// A worker that outlived its supervisor ends by a blow while the next one waits for it: what it had begun is not to blame either.
  @Test func aMessageIsNotBlamedForTheEndOfAnOrphan() async throws {
    let rig = try await Rig(failPoint: "worker-before-dot", ips: ["127.0.0.21"])
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try mta.armFailPointToHold()
    try await mta.send("struck", to: "x@\(Zones.domain(1))")
    var last: Int32?
    for blow in 1...4 {
      try await eventually("a worker is at the dot for blow \(blow)", within: .seconds(20)) { mta.heldPID.map { $0 != last } ?? false }
      let orphan = try #require(mta.heldPID)
      last = orphan
      try await mta.killSupervisor(leavingWorkers: true)
      if blow < 4 { try mta.armFailPointToHold() }
      if blow == 1 {
        // A worker that may still send: what is backed up now is not the last word.
        let backup = try mta.command("backup", mta.scratch.file("backup"), "--json")
        #expect(backup.code == 0 && backup.output.contains("\"final\":false"), "\(backup)")
      }
      async let started: Void = mta.start()
      try await eventually("the next supervisor waits for its end") {
        mta.logText().matches(of: /waiting for an earlier worker/).count == blow
      }
      kill(orphan, SIGKILL)
      try await started
    }
    try await eventually("it is sent", within: .seconds(20)) { mta.receiver.messageIDs("sent") == ["struck"] }
    #expect(rig.dots.all.count == 1 && !mta.logText().contains("given up"))
    await rig.end()
  }

  /// One that hangs is ended by the next supervisor, found by the file of its lock.
  @Test func anOrphanThatHangsIsKilled() async throws {
    let rig = try await Rig(failPoint: "worker-before-dot", ips: ["127.0.0.21"])
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try mta.armFailPointToHold()
    try await mta.send("held", to: "x@\(Zones.domain(1))")
    try await eventually("a worker is at the dot") { mta.heldPID != nil }
    let orphan = try #require(mta.heldPID)
    try await mta.killSupervisor(leavingWorkers: true)
    async let started: Void = mta.start()
    try await eventually("it is ended", within: .seconds(40)) { !MTAFixture.isAlive(orphan) }
    try await started
    #expect(mta.logText().contains("killing the holder of a journal"))
    try await eventually("it is sent", within: .seconds(20)) { mta.receiver.messageIDs("sent") == ["held"] }
    #expect(rig.dots.all.count == 1)
    await rig.end()
  }

  /// Nor is a message for an end that nobody saw, as when the host loses power again and again.
  @Test func aMessageIsNotBlamedForAnEndUnseen() async throws {
    let rig = try await Rig(failPoint: "worker-before-dot", ips: ["127.0.0.21"])
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try mta.armFailPointToHold()
    try await mta.send("struck", to: "x@\(Zones.domain(1))")
    var last: Int32?
    for blow in 1...4 {
      try await eventually("a worker is at the dot for blow \(blow)", within: .seconds(20)) { mta.heldPID.map { $0 != last } ?? false }
      let worker = try #require(mta.heldPID)
      last = worker
      try await mta.killSupervisor(leavingWorkers: true)
      kill(worker, SIGKILL)
      try await eventually("both are gone") { !MTAFixture.isAlive(worker) }
      if blow < 4 { try mta.armFailPointToHold() }
      try await mta.start()
    }
    try await eventually("it is sent", within: .seconds(20)) { mta.receiver.messageIDs("sent") == ["struck"] }
    #expect(rig.dots.all.count == 1 && !mta.logText().contains("ended on this message"))
    await rig.end()
  }

  @Test func aSecondSupervisorRefusesToStart() async throws {
    let rig = try await Rig()
    try await rig.mta.start()
    let second = try rig.mta.command("run")
    #expect(second.code == 1)
    #expect(second.errors.contains("another supervisor"))
    await rig.end()
  }
}
