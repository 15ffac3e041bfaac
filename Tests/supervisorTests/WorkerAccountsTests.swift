import ControlProtocol
import Foundation
import Journal
import Logging
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import NIOPosix
import Observability
import Redis
import TestSupport
import Testing

@testable import supervisor

/// What a worker may do at Redis and which keys it is given, against a real server with the worker's own credentials.
@Suite(.serialized) struct WorkerAccountsTests {
  final class World {
    let redis: RedisFixture
    let store: QueueStore
    let accounts: WorkerAccounts
    private var tasks: [Task<Void, Never>] = []

    init() async throws {
      redis = try await RedisFixture()
      let endpoint = try #require(RedisEndpoint(url: redis.url, username: "", password: ""))
      store = QueueStore(client: Self.client(endpoint, loadsFunctions: true), keys: RedisKeys(prefix: "mta"))
      var config = MTAConfig()
      config.redis.url = redis.url
      config.sourceIPs = [MTAConfig.SourceIP(address: "10.0.0.1", publicAddress: "10.0.0.1", ehloName: "a.example", isWarmed: true)]
      let accounts = WorkerAccounts(config: config, store: store, host: "host", own: endpoint, log: Self.quiet)
      self.accounts = accounts
      let client = store.client
      tasks.append(Task { await client.run { _, sender in try await accounts.meet(sender) } })
      try await eventually("connected") { client.session != nil }
    }

    static var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    static func client(_ endpoint: RedisEndpoint, loadsFunctions: Bool = false) -> RedisClient {
      RedisClient(
        endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: loadsFunctions, clock: SystemClock.now)
    }

    /// A store as the worker of an IP has it.
    func worker(_ ip: String) async throws -> QueueStore {
      let access = try await accounts.admit(ip)
      let endpoint = try #require(RedisEndpoint(url: redis.url, username: access.username, password: access.password))
      let client = Self.client(endpoint)
      tasks.append(Task { await client.run() })
      try await eventually("the worker is connected") { client.session != nil }
      return QueueStore(client: client, keys: store.keys)
    }

    /// Accepted and given to an IP, or left waiting in another way.
    func accept(_ number: UInt64, domain: String = "sender.example", due: Milliseconds? = nil, to ip: String? = nil) async throws {
      let record = MessageRecord(
        messageID: "m\(number)", workAttemptID: nil, organisation: "o", recipient: "u@b.example", pool: "p", dkimDomain: domain,
        returnPathLocal: "l", returnPathHost: "h", acceptedAt: 1, expiresAt: 9_000_000, deliveryDomain: "production", contentSize: 1)
      let group = Group(set: "pool:p", domain: "b.example")
      _ = try await store.accept(
        host: "host", now: SystemClock.now(), deadline: .max / 2, nonce: "n", maxMessages: 1000, suppressedOutcome: [7],
        contents: ["h": [1, 2, 3]],
        items: [
          AcceptItem(
            number: MessageNumber(number), record: record, identity: "m\(number)", group: group, score: 5, due: due, contentHash: "h",
            receiptUntil: SystemClock.now() + 60_000, address: "u@b.example")
        ])
      guard let ip else { return }
      _ = try await store.dispatch(
        host: "host", now: 1, suppressedOutcome: [7],
        picks: [
          Pick(
            part: GroupPart(group: group, organisation: "o"), count: 1, sourceIP: ip, lane: "\(ip)/x", route: [4], firstAt: 1, step: 1,
            nextPermitAt: 1, counters: [])
        ])
    }

    /// Messages of which an outcome waits to be reduced: the host's own first.
    func said() async throws -> [UInt64] {
      try await store.readOutcomes(
        host: "host", ips: ["10.0.0.1"], after: OutcomePlaces(), wakeAfter: "0-0", limit: 100, block: 1
      ).outcomes.map(\.number.value)
    }

    func stop() {
      for task in tasks { task.cancel() }
      redis.stop()
    }
  }

  private func isForbidden(_ body: () async throws -> Void) async -> Bool {
    do { try await body() } catch let error as RedisError { return error.isForbidden } catch {}
    return false
  }

  @Test func aWorkerReachesItsOwnStreamAndNothingElse() async throws {
    let world = try await World()
    defer { world.stop() }
    for ip in ["10.0.0.1", "10.0.0.2"] { try await world.store.prepareStream(ip: ip) }
    try await world.accept(1, to: "10.0.0.1")
    try await world.accept(2, to: "10.0.0.2")
    let worker = try await world.worker("10.0.0.1")

    // Its work.
    let entries = try await worker.readWork(ip: "10.0.0.1", limit: 10, block: 1000)
    #expect(entries.map(\.number) == [MessageNumber(1)])
    #expect(try await worker.readUnsettled(ip: "10.0.0.1", after: "0", limit: 10).count == 1)
    #expect(try await worker.content("h") == [1, 2, 3])
    let settlement = Settlement(entryID: entries[0].entryID, number: entries[0].number, serial: entries[0].serial, outcome: [9])
    try await worker.settle(ip: "10.0.0.1", host: "host", journalPosition: 5, [settlement])

    // Not another's.
    #expect(await isForbidden { _ = try await worker.readWork(ip: "10.0.0.2", limit: 1, block: 1) })
    let other = try await world.store.unsettledWork(ip: "10.0.0.2")[0]
    let foreign = Settlement(entryID: other.entryID, number: other.number, serial: other.serial, outcome: [9])
    #expect(await isForbidden { try await worker.settle(ip: "10.0.0.2", host: "host", journalPosition: nil, [foreign]) })
    #expect(try await world.store.unsettledWork(ip: "10.0.0.2").count == 1)

    // Nor what speaks to everybody or of the server.
    #expect(await isForbidden { _ = try await RedisHash(client: worker.client, key: worker.keys.dkim).all() })
    #expect(await isForbidden { _ = try await worker.policyRows() })
    #expect(await isForbidden { _ = try await worker.liveCount() })
    for words in [
      ["FLUSHALL"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["KEYS", "*"], ["SCAN", "0"], ["EVAL", "return 1", "0"], ["FUNCTION", "LIST"],
      ["MONITOR"], ["CLIENT", "LIST"], ["SHUTDOWN"], ["GET", "{mta}:live"], ["HGETALL", "{mta}:dkim"],
      ["HGETALL", "{mta}:cred"], ["HSET", "{mta}:c:h", "b", "x"], ["XADD", "{mta}:ip:10.0.0.1", "*", "n", "1"],
      ["XADD", "{mta}:done:host", "*", "d", "x"], ["XRANGE", "{mta}:ip:10.0.0.1", "-", "+"], ["HGET", "{mta}:m:2", "s"],
      ["HMGET", "{mta}:r:2", "m", "c"], ["HMGET", "{mta}:r:1", "m"], ["HSET", "{mta}:r:1", "m", "x"],
      ["HSET", "{mta}:r:2", "g", "pool:p evil.example"],
      ["ZREM", "{mta}:q:pool:p b.example o", "x"], ["ZRANGE", "{mta}:q:pool:p b.example o", "0", "-1"], ["HDEL", "{mta}:held", "x"],
      ["XADD", "{mta}:wake", "*", "h", "x"], ["XADD", "{mta}:out:elsewhere", "*", "n", "1"], ["HGET", "{mta}:dir", "x"],
      ["XADD", "{mta}:out:host", "*", "n", "1"], ["XADD", "{mta}:out:host:10.0.0.2", "*", "n", "1"], ["INCR", "{mta}:seq"],
      ["HSET", "{mta}:m:2", "s", "q"], ["HSET", "{mta}:m:1", "s", "q"], ["HMGET", "{mta}:m:1", "s"],
      ["HSET", "{mta}:journal", "host 10.0.0.2", "1"], ["XREAD", "STREAMS", "{mta}:out:host:10.0.0.1", "0"],
      ["HSET", "{mta}:owners", "10.0.0.2", "host"],
    ] {
      #expect(
        await isForbidden {
          var command = RedisCommand()
          for word in words { command.add(word) }
          _ = try await worker.client.send(command)
        }, "\(words)")
    }
    for function in [
      "mta1_accept", "mta1_dispatch", "mta1_effects", "mta1_feedback", "mta1_leave", "mta1_rejoin", "mta1_resend", "mta1_records",
      "mta1_migrate", "mta1_replay", "mta1_claim",
    ] {
      #expect(
        await isForbidden { _ = try await worker.client.send(RedisCommand.function(function, prefix: "{mta}")) }, "\(function)")
    }
  }

  /// Replay, which the supervisor does, ends a message wherever Redis remembers it. What is left of it there is stale, and dropped by
  /// whoever meets it.
  @Test func whatAJournalEndsIsStaleWhereItWaits() async throws {
    let world = try await World()
    defer { world.stop() }
    try await world.store.prepareStream(ip: "10.0.0.1")
    func replay(_ number: UInt64, _ serial: Int) async throws -> Int {
      try await world.store.replay(
        ip: "10.0.0.1", host: "host", [ReplayedLine(number: MessageNumber(number), serial: serial, outcome: [9])])
    }
    try await world.accept(4, to: "10.0.0.1")
    try await world.accept(1)
    try await world.accept(2, due: 8_000_000)
    try await world.accept(3)
    #expect(try await world.store.hold(host: "host", reason: "content", [MessageNumber(3)]).count == 1)
    #expect(try await replay(1, 1) == 1)
    #expect(try await replay(2, 1) == 1)
    #expect(try await replay(3, 1) == 1)
    #expect(try await replay(4, 1) == 1)
    #expect(try await world.store.unsettledWork(ip: "10.0.0.1").isEmpty)
    #expect(try await world.store.ready(host: "host", now: 9_000_000, limit: 10).moved == 1)
    #expect(try await world.store.unhold(host: "host", now: 1, [MessageNumber(3)]).count == 0)
    #expect(try world.redis.cli("HLEN", "{mta}:held") == "0")
  }

  /// A worker that was taken over writes its journal as it likes: within one run of Redis, which loses nothing, that is believed of its own
  /// entries alone.
  @Test func aForgedJournalEndsNobodysMail() async throws {
    let world = try await World()
    defer { world.stop() }
    let scratch = try Scratch()
    defer { scratch.remove() }
    try await world.store.prepareStream(ip: "10.0.0.1")
    try await world.accept(1, to: "10.0.0.1")
    try await world.accept(2)
    let recovery = JournalRecovery(store: world.store, host: "host", log: World.quiet)
    let run = try #require(world.store.client.session?.runID)
    func recover(on run: String) async throws {
      _ = try await recovery.run(ip: "10.0.0.1", directory: scratch.path, blames: false, on: run, now: 1)
    }
    try await recover(on: run)
    #expect(try await world.said() == [1], "what it had comes back")
    var writer = try JournalWriter(directory: scratch.path, now: 1)
    for kind in [JournalLine.Kind.begin, .dot, .reply] {
      try writer.append(JournalLine(kind: kind, number: MessageNumber(2), serial: 1, at: 1, body: kind == .reply ? [9] : []))
    }
    try await recover(on: run)
    #expect(try await world.said() == [1])
    #expect(try await world.store.snapshot(MessageNumber(2))?.state == .queued)
    // A run that may have lost the dispatch hears it.
    try await world.store.setToldRun(ip: "10.0.0.1", host: "host", "another")
    try await world.store.setJournalPosition(ip: "10.0.0.1", host: "host", 0)
    try await recover(on: run)
    #expect(try await world.said() == [2, 1])
    #expect(try await world.store.snapshot(MessageNumber(2))?.state == .settled)
  }

  /// An IP that moved to another host of the same Redis is settled there: its old host's journal knows nothing of that one's mail.
  @Test func anIPThatMovedIsItsNewHosts() async throws {
    let world = try await World()
    defer { world.stop() }
    let scratch = try Scratch()
    defer { scratch.remove() }
    try await world.store.prepareStream(ip: "10.0.0.1")
    try await world.store.own(ip: "10.0.0.1", host: "elsewhere")
    try await world.accept(1, to: "10.0.0.1")
    let recovery = JournalRecovery(store: world.store, host: "host", log: World.quiet)
    let run = try #require(world.store.client.session?.runID)
    _ = try await recovery.run(ip: "10.0.0.1", directory: scratch.path, blames: false, on: run, now: 1)
    #expect(try await world.said().isEmpty)
    #expect(try await world.store.unsettledWork(ip: "10.0.0.1").count == 1)
    // What its worker there had read may have been delivered: a later look, before the IP is owned or after, says the same.
    _ = try await world.store.readWork(ip: "10.0.0.1", limit: 1, block: 1)
    try await world.accept(2, to: "10.0.0.1")
    for _ in 0..<2 {
      _ = try await recovery.run(ip: "10.0.0.1", directory: scratch.path, blames: false, takesOver: true, on: run, now: 1)
      #expect(try await world.said() == [1, 2])
    }
    try await world.store.own(ip: "10.0.0.1", host: "host")
    _ = try await recovery.run(ip: "10.0.0.1", directory: scratch.path, blames: false, on: run, now: 1)
    let outcomes = try await world.store.readOutcomes(
      host: "host", ips: ["10.0.0.1"], after: OutcomePlaces(), wakeAfter: "0-0", limit: 100, block: 1
    ).outcomes
    #expect(try outcomes.map { try AttemptResult(decoding: $0.outcome[...]).kind } == [.uncertain, .unbegun])
    #expect(try JournalReader.read(directory: scratch.path).attempts[.init(number: MessageNumber(1), serial: 1)]?.outcome != nil)
  }

  /// Redis may be busy just then: its worker waits for a user of its own, and is never the supervisor.
  @Test func aBusyRedisIsNoRefusal() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try world.redis.cli("CONFIG", "SET", "busy-reply-threshold", "1")
    let busy = try TestProcess("/usr/bin/redis-cli", ["-s", world.redis.socket, "EVAL", "while true do end", "0"])
    defer { busy.destroy() }
    try await eventually("it is busy") { try world.redis.cli("GET", "x").hasPrefix("BUSY") }
    await #expect(throws: RedisError.self) { try await world.accounts.admit("10.0.0.1") }
    _ = try world.redis.cli("SCRIPT", "KILL")
    #expect(try await world.accounts.admit("10.0.0.1").username == "mta-worker-10.0.0.1@host")
  }

  /// What a worker says that it has is written where others read it.
  @Test func holdingsThatCannotBeAreNone() {
    func can(_ entry: String, _ serial: Int) -> Bool {
      WorkerLife.canBe(ControlHolding(entryID: entry, number: 1, serial: serial, stage: .atDot))
    }
    #expect(can("1796031430371-0", 1) && can("18446744073709551615-18446744073709551615", 7))
    for (entry, serial) in [("1-1", 0), ("1-1", .max), ("1-1", -1), ("1-1 2", 1), ("", 1), ("1", 1), ("x-1", 1), ("1-1\n", 1)] {
      #expect(!can(entry, serial), "\(entry) \(serial)")
    }
  }

  @Test func usersComeBackWithRedisAndGoWithTheirIP() async throws {
    let world = try await World()
    defer { world.stop() }
    let first = try await world.accounts.admit("10.0.0.1")
    let second = try await world.accounts.admit("10.0.0.1")
    #expect(first.username == "mta-worker-10.0.0.1@host" && first.username == second.username && first.password != second.password)
    _ = try world.redis.cli("ACL", "SETUSER", "mta-worker-10.0.0.9@host", "on", ">x")
    _ = try world.redis.cli("ACL", "SETUSER", "mta-worker-10.0.0.9@elsewhere", "on", ">x")
    let run = world.store.client.session?.runID
    // Users are no part of what Redis keeps on disk.
    world.redis.kill()
    try await world.redis.start()
    _ = try world.redis.cli("ACL", "SETUSER", "mta-worker-10.0.0.9@host", "on", ">x")
    _ = try world.redis.cli("ACL", "SETUSER", "mta-worker-10.0.0.9@elsewhere", "on", ">x")
    // Either the connection was made before those two, or it removes what is this host's.
    world.redis.kill()
    try await world.redis.start()
    try await eventually("connected again") { world.store.client.session.map { $0.runID != run } ?? false }
    try await eventually("the worker's user is there again") { try world.redis.cli("ACL", "USERS").contains("mta-worker-10.0.0.1@host") }
    await world.accounts.withdraw("10.0.0.1")
    #expect(try !world.redis.cli("ACL", "USERS").contains("mta-worker-10.0.0.1@host"))
  }

  /// A removed address's user goes, another host's stays.
  @Test func usersOfAddressesThatAreNoMoreAreRemoved() async throws {
    let world = try await World()
    defer { world.stop() }
    for user in ["mta-worker-10.0.0.9@host", "mta-worker-10.0.0.9@elsewhere", "mta-worker-10.0.0.1@host"] {
      _ = try world.redis.cli("ACL", "SETUSER", user, "on", ">x")
    }
    let run = try #require(
      try world.redis.cli("CLIENT", "LIST").split(separator: "\n").first { $0.contains("user=default") && !$0.contains("cmd=client") })
    let id = try #require(run.split(separator: " ").first.map { String($0.dropFirst(3)) })
    _ = try world.redis.cli("CLIENT", "KILL", "ID", id)
    try await eventually("the removed address has no user") { try !world.redis.cli("ACL", "USERS").contains("mta-worker-10.0.0.9@host") }
    let users = try world.redis.cli("ACL", "USERS")
    #expect(users.contains("mta-worker-10.0.0.9@elsewhere") && users.contains("mta-worker-10.0.0.1@host"))
  }

  @Test func whereUsersCannotBeMadeWorkersAreTheSupervisor() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try world.redis.cli("ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-acl")
    let endpoint = try #require(RedisEndpoint(url: world.redis.url, username: "limited", password: "pw"))
    let client = World.client(endpoint)
    let task = Task { await client.run() }
    defer { task.cancel() }
    try await eventually("connected") { client.session != nil }
    var config = MTAConfig()
    config.redis.url = world.redis.url
    let store = QueueStore(client: client, keys: world.store.keys)
    let accounts = WorkerAccounts(config: config, store: store, host: "host", own: endpoint, log: World.quiet)
    #expect(try await accounts.admit("10.0.0.1") == RedisAccess(username: "limited", password: "pw"))
    config.redis.hasWorkerUsers = false
    let unwanted = WorkerAccounts(config: config, store: world.store, host: "host", own: endpoint, log: World.quiet)
    #expect(try await unwanted.admit("10.0.0.1") == RedisAccess(username: "limited", password: "pw"))
  }

  /// A key for each entry that is signed with it, none for the asking; and no order holds what seals them.
  @Test func keysAreGivenForMailInOnesOwnStreamOnly() async throws {
    let world = try await World()
    defer { world.stop() }
    for ip in ["10.0.0.1", "10.0.0.2"] { try await world.store.prepareStream(ip: ip) }
    try await world.accept(1, domain: "sender.example", to: "10.0.0.1")
    let secret = "a-secret-of-at-least-thirty-two-octets"
    let keys = KeyStore(store: world.store, box: SecretBox(secret: secret))
    for domain in ["sender.example", "other.example"] { _ = try await keys.register(domain: domain, returnPathHost: nil) }
    let grants = KeyGrants(store: world.store, keys: keys, log: World.quiet)
    let entry = try await world.store.unsettledWork(ip: "10.0.0.1")[0].entryID
    let given = await grants.answer(ip: "10.0.0.1", domain: "sender.example", entryID: entry)
    guard case .keys("sender.example", let list) = given else {
      Issue.record("\(given)")
      return
    }
    #expect(list.map(\.domain) == ["sender.example"] && list[0].privateKeyPEM.contains("PRIVATE KEY"))
    #expect(await grants.answer(ip: "10.0.0.1", domain: "other.example", entryID: entry) == .keyRefused(domain: "other.example"))
    #expect(await grants.answer(ip: "10.0.0.2", domain: "sender.example", entryID: entry) == .keyRefused(domain: "sender.example"))
    #expect(await grants.answer(ip: "10.0.0.1", domain: "sender.example", entryID: "1-1") == .keyRefused(domain: "sender.example"))
    // Settled: over.
    let number = MessageNumber(1)
    try await world.store.settle(
      ip: "10.0.0.1", host: "host", journalPosition: nil, [Settlement(entryID: entry, number: number, serial: 1, outcome: [9])])
    #expect(await grants.answer(ip: "10.0.0.1", domain: "sender.example", entryID: entry) == .keyRefused(domain: "sender.example"))
    // What a worker can be told, case by case: a new one fails to compile here until it is looked at.
    let orders: [ControlOrder] = [given, .keyRefused(domain: "d"), .redis(username: "u", password: "p"), .status]
    for order in orders {
      switch order {
      case .hello, .status, .pause, .resume, .drain, .keys, .keyRefused, .forgetKey, .redis, .claimed, .told: break
      }
      let text = String(decoding: try JSONEncoder().encode(order), as: UTF8.self)
      #expect(!text.contains(secret) && !text.contains("mtasealed"))
    }
  }
}

extension RedisError {
  /// An access rule said no, to the command or to one inside a Function.
  fileprivate var isForbidden: Bool {
    guard case .refused(let text) = self else { return false }
    return text.hasPrefix("NOPERM") || text.contains("user executing the script can't") || text.contains("ACL failure in script")
  }
}
