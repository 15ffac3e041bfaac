import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// The links to Redis break while everything else lives: what was lost with them is found again, and nothing stands still.
@Suite(.serialized) struct LinkTests {
  /// A rig whose programs reach Redis over a cutter. Every message is of an organisation of its own: no later one wakes the
  /// queue of one that was forgotten.
  struct World {
    let redis: RedisFixture
    let link: LinkCutter
    let rig: KillTests.Rig

    init(failPoint: String? = nil) async throws {
      redis = try await RedisFixture()
      link = try await LinkCutter.start(path: redis.scratch.file("link.sock"), redis: redis.socket)
      rig = try await KillTests.Rig(failPoint: failPoint, replyAfter: 10, redis: link.url)
      try await rig.mta.start()
      try await rig.mta.registerDKIM("sender.example")
      try await rig.warmUp()
    }

    func messages(_ count: Int) -> [(id: String, to: String, org: String, pool: String)] {
      rig.messages(count).map { (id: $0.id, to: $0.to, org: "org-\($0.id)", pool: $0.pool) }
    }

    /// Until it is accepted, as a client would.
    func send(_ message: (id: String, to: String, org: String, pool: String)) async throws {
      try await eventually("\(message.id) is accepted", within: .seconds(30)) {
        (try? await rig.mta.send(message.id, to: message.to, org: message.org)) != nil
      }
    }

    func end(_ ids: [String]) async throws {
      let check = rig.exactness(ids)
      do { try await check.waitUntilEnded(within: .seconds(30)) } catch {
        let missing = ids.first { !check.ended.contains($0) } ?? ""
        Issue.record("\(rig.mta.describe(missing))")
      }
      check.check(rig.dots.all)
      #expect(rig.mta.receiver.messageIDs("uncertain").isEmpty)
      #expect(!rig.mta.logText().contains("the index lacks queues"), "it was found by the check that should find nothing")
      await rig.end()
      await link.stop()
      redis.stop()
    }
  }

  /// A process whose end tells that a fail point was passed.
  private static func cutWhenPassed(_ world: World, _ isMeant: @escaping @Sendable (Int32) -> Bool) async throws {
    try await eventually("there is something to cut") { world.link.count(isMeant) > 0 }
    let bell = try TestProcess("/bin/sleep", ["60"])
    try world.rig.mta.armFailPoint(killing: bell.pid)
    while bell.isRunning { try await Task.sleep(for: .microseconds(200)) }
    #expect(world.link.cut(isMeant) > 0)
  }

  @Test(arguments: [
    "worker-after-dot-journal", "worker-before-settle", "supervisor-after-dispatch", "supervisor-after-effects",
  ])
  func cutAtEachFailPoint(place: String) async throws {
    let world = try await World(failPoint: place)
    let supervisor = world.rig.mta.pid
    let isOver = Locked(false)
    let load = Task {
      var ids: [String] = []
      for message in world.messages(2000) where !isOver.value {
        try await world.send(message)
        ids.append(message.id)
      }
      return ids
    }
    // The worker's link, the supervisor's, both.
    for who in 0..<3 {
      try await Self.cutWhenPassed(world) { pid in who == 2 || (pid == supervisor) == (who == 1) }
    }
    isOver.change { $0 = true }
    try await world.end(try await load.value)
  }

  /// Again and again, at no place in particular.
  @Test func cutAtRandomUnderLoad() async throws {
    let world = try await World()
    let supervisor = world.rig.mta.pid
    let messages = world.messages(150)
    let isLoaded = Locked(false)
    let load = Task {
      for message in messages { try await world.send(message) }
      isLoaded.change { $0 = true }
    }
    var round = 0
    while !isLoaded.value {
      try await Task.sleep(for: .milliseconds(Int64.random(in: 20...250)))
      let who = round % 3
      world.link.cut { pid in who == 2 || (pid == supervisor) == (who == 1) }
      round += 1
    }
    try await load.value
    try await world.end(messages.map(\.id))
  }

  /// A fail-over that a worker missed altogether: it lives on beside a server that nobody else is at, and is ended for it.
  @Test func aWorkerThatMissedAFailOver() async throws {
    let world = try await World()
    let next = try await RedisFixture()
    try await Self.copy(world.redis, to: next)
    world.link.move(to: next.socket)
    let supervisor = world.rig.mta.pid
    #expect(world.link.cut { $0 == supervisor } == 2)
    let messages = world.messages(20)
    try await eventually("it is noticed", within: .seconds(60)) { world.rig.mta.logText().contains("has not met the supervisor's Redis") }
    for message in messages { try await world.send(message) }
    try await world.end(messages.map(\.id))
    next.stop()
  }

  /// As a fail-over does; both go on.
  private static func copy(_ redis: RedisFixture, to next: RedisFixture) async throws {
    let port = try freePort()
    #expect(try redis.cli("CONFIG", "SET", "port", "\(port)") == "OK")
    #expect(try next.cli("REPLICAOF", "127.0.0.1", "\(port)") == "OK")
    try await eventually("it follows") { try next.cli("INFO", "replication").contains("master_link_status:up") }
    #expect(try next.cli("REPLICAOF", "NO", "ONE") == "OK")
  }

  /// A fail-over that one of a process's two connections missed: the server of before lives on, and it stays there.
  @Test(arguments: [false, true], [0, 1]) func aConnectionThatMissedAFailOver(supervisors: Bool, place: Int) async throws {
    let world = try await World()
    let next = try await RedisFixture()
    let supervisor = world.rig.mta.pid
    let rows = try await world.rig.mta.get("/v1/ips").json["ips"] as? [[String: Any]] ?? []
    let workers = Set(rows.compactMap { $0["pid"] as? Int32 })
    #expect(workers.count == 2)
    try await Self.copy(world.redis, to: next)
    world.link.move(to: next.socket)
    // Of each process meant the connection at that place stays; all others go.
    var seen: [Int32: Int] = [:]
    world.link.cut { pid in
      defer { seen[pid, default: 0] += 1 }
      return (pid == supervisor) != supervisors || seen[pid, default: 0] != place
    }
    #expect(seen[supervisor] == 2 && workers.allSatisfy { seen[$0] == 2 }, "\(seen)")
    let messages = world.messages(20)
    // Whoever is still at the server of before would write into what nobody reads: only what is accepted by the next one counts.
    try await eventually("all have met the next server", within: .seconds(30)) {
      try world.redis.cli("CLIENT", "LIST", "TYPE", "NORMAL").split(separator: "\n").count == 1
    }
    for message in messages { try await world.send(message) }
    try await world.end(messages.map(\.id))
    next.stop()
  }

  /// The answer that told of a queue is lost, the connection is back within moments, and no other mail comes for it.
  @Test func theOnlyAnswerThatToldOfAQueueIsLost() async throws {
    let world = try await World()
    let messages = world.messages(3)
    for message in messages {
      world.link.loseAnswer(to: "_accept")
      try await world.send(message)
      #expect(!world.link.isArmed)
      do {
        try await eventually("it is sent", within: .seconds(6)) { world.rig.mta.receiver.messageIDs("sent").contains(message.id) }
      } catch { Issue.record("\(error) \(world.rig.mta.describe(message.id))") }
    }
    try await world.end(messages.map(\.id))
  }
}
