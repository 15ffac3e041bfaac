import Foundation
import MailModel
import NIOCore
import NIOPosix
import Observability
import Redis
import RedisFunctions
import TestSupport
import Testing

/// Every Function against a real server, with its refusals.
@Suite(.serialized) struct QueueStoreTests {
  final class World {
    let redis: RedisFixture
    let store: QueueStore
    let client: RedisClient
    let task: Task<Void, Never>
    var now: Milliseconds = 1_000_000

    init() async throws {
      redis = try await RedisFixture()
      let endpoint = try #require(RedisEndpoint(url: redis.url, username: "", password: ""))
      let client = RedisClient(
        endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: true, clock: SystemClock.now)
      self.client = client
      store = QueueStore(client: client, keys: RedisKeys(prefix: "mta"))
      task = Task { await client.run() }
      try await eventually("connected") { client.session != nil }
    }

    func stop() {
      task.cancel()
      redis.stop()
    }

    func item(
      _ number: UInt64, id: String? = nil, org: String = "o", domain: String = "b.example", score: Int64 = 5, due: Int64? = nil,
      hash: String = "h", expires: Int64 = 9_000_000, address: String = "u@b.example"
    ) -> AcceptItem {
      AcceptItem(
        number: MessageNumber(number),
        record: MessageRecord(
          messageID: id ?? "m\(number)", workAttemptID: nil, organisation: org, recipient: "u@b.example", pool: "p", dkimDomain: "d",
          returnPathLocal: "l", returnPathHost: "h", acceptedAt: now, expiresAt: expires, deliveryDomain: "production", contentSize: 1),
        identity: id ?? "m\(number)", group: Group(set: "pool:p", domain: domain), score: score, due: due, contentHash: hash,
        receiptUntil: SystemClock.now() + 60_000, address: address)
    }

    func accept(
      _ items: [AcceptItem], contents: [String: [UInt8]] = ["h": [1, 2, 3]], nonce: String = "n", deadline: Int64 = .max / 2,
      max: Int = 1000
    ) async throws -> [AcceptAnswer] {
      try await store.accept(
        host: "host", now: SystemClock.now(), deadline: deadline, nonce: nonce, maxMessages: max, suppressedOutcome: [7],
        contents: contents, items: items
      ).answers
    }

    func claim(_ entries: [(entry: HeldEntry, stage: HoldingStage)]) async throws -> [Bool] {
      try await store.claim(ip: "ip1", entries)
    }

    func part(_ domain: String = "b.example", _ org: String = "o") -> GroupPart {
      GroupPart(group: Group(set: "pool:p", domain: domain), organisation: org)
    }

    func dispatch(_ count: Int, counters: [SharedCounter] = []) async throws -> (answers: [PickAnswer], heads: [QueueHead]) {
      try await store.dispatch(
        host: "host", now: now, suppressedOutcome: [7],
        picks: [
          Pick(
            part: part(), count: count, sourceIP: "ip1", lane: "ip1/x", route: [4], firstAt: 100, step: 10, nextPermitAt: 500,
            counters: counters)
        ])
    }

    func outcomes() async throws -> [StoredOutcome] {
      var found = try await store.readOutcomes(
        host: "host", ips: ["ip1", "ip2"], after: OutcomePlaces(), wakeAfter: "0-0", limit: 100, block: 1
      ).outcomes
      try await store.addRecords(&found)
      return found
    }

    func effect(_ outcome: StoredOutcome, _ fate: MessageFate, suppression: SuppressionRow? = nil) async throws -> [String?] {
      try await store.effects(
        host: "host", trimDoneTo: nil,
        [
          EffectItem(
            source: outcome.source, number: outcome.number, serial: outcome.serial, fate: fate, done: [5], suppression: suppression)
        ]
      ).doneIDs
    }
  }

  @Test func namesAgreeWithTheFunctions() async throws {
    let world = try await World()
    defer { world.stop() }
    let flat = try #require(try await world.client.send(RedisCommand("FCALL_RO", RedisLibrary.own.function("mta1_names"), "0")).array)
    var names: [String: String] = [:]
    for index in stride(from: 0, to: flat.count, by: 2) { names[flat[index].string ?? ""] = flat[index + 1].string }
    #expect(names == RedisKeys.suffixes)
  }

  @Test func acceptIsIdempotentAndKnowsItsOwnRepeat() async throws {
    let world = try await World()
    defer { world.stop() }
    #expect(try await world.accept([world.item(1), world.item(2, id: "m1")]).map(\.status) == [.accepted, .duplicate])
    #expect(try await world.accept([world.item(1)], nonce: "n").map(\.status) == [.accepted])
    #expect(try await world.accept([world.item(3, id: "m1")], nonce: "other").map(\.status) == [.duplicate])
    #expect(try await world.accept([world.item(4, id: "m1", org: "other")]).map(\.status) == [.accepted])
    #expect(try await world.store.liveCount() == 2)
    #expect(try await world.store.numbers(messageID: "m1").count == 2)
    #expect(try await world.store.receipts(identity: "m1", now: SystemClock.now())["o"]?.messageID == "m1")
  }

  @Test func acceptRefusesWithoutATrace() async throws {
    let world = try await World()
    defer { world.stop() }
    #expect(try await world.accept([world.item(1)], deadline: 1).map(\.status) == [.late])
    #expect(try await world.accept([world.item(1)], contents: [:]).map(\.status) == [.needsContent])
    #expect(try await world.accept([world.item(1)], max: 0).map(\.status) == [.queueFull])
    #expect(try world.redis.cli("KEYS", "*") == "")
    #expect(try await world.accept([world.item(1), world.item(2)], contents: ["h": [1]]).map(\.status) == [.accepted, .accepted])
    #expect(try world.redis.cli("HGET", "{mta}:c:h", "n") == "2")
    #expect(try await world.accept([world.item(3)], contents: [:]).map(\.status) == [.accepted])
    #expect(try await world.accept([world.item(1, id: "m1")], nonce: "n", deadline: 1).map(\.status) == [.accepted])
  }

  @Test func oneMessageStartToEnd() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1, score: 9), world.item(2, score: 3)])
    try await world.store.prepareStream(ip: "ip1")
    let (answers, heads) = try await world.dispatch(5)
    #expect(answers == [PickAnswer(numbers: [MessageNumber(2), MessageNumber(1)], stoppedBy: nil)])
    #expect(heads.map(\.count) == [0])
    let work = try await world.store.readWork(ip: "ip1", limit: 10, block: 1)
    #expect(work.map(\.earliest) == [100, 110])
    #expect(work.map(\.serial) == [1, 1])
    // Two share the content: it does not travel in the entry.
    #expect(work[0].content == nil)
    #expect(try await world.store.content("h") == [1, 2, 3])
    let settlements = work.map { Settlement(entryID: $0.entryID, number: $0.number, serial: $0.serial, outcome: [8]) }
    // Said again, since the answer was lost.
    for _ in 0..<2 { try await world.store.settle(ip: "ip1", host: "host", journalPosition: 77, settlements) }
    #expect(try await world.store.unsettledWork(ip: "ip1").isEmpty)
    let outcomes = try await world.outcomes()
    #expect(outcomes.count == 4)
    #expect(outcomes.map(\.source.journalPosition) == [nil, 77, nil, 77])
    #expect(try await world.store.journalPosition(ip: "ip1", host: "host") == nil)
    #expect(try MessageRecord(decoding: outcomes[0].record).messageID == "m2")
    let row = SuppressionRow(scope: "o", address: "u@b.example", until: 0, reason: "hard_bounce", since: 1, source: "smtp")
    #expect(try await world.effect(outcomes[0], .final, suppression: row)[0] != nil)
    #expect(try await world.effect(outcomes[0], .final)[0] == nil)
    #expect(try await world.effect(outcomes[1], .retry(at: 2_000_000))[0] != nil)
    #expect(try await world.store.journalPosition(ip: "ip1", host: "host") == 77)
    for again in outcomes[2...] { #expect(try await world.effect(again, .final)[0] == nil) }
    #expect(try await world.outcomes().isEmpty)
    #expect(try await world.store.liveCount() == 1)
    #expect(try await world.store.snapshot(MessageNumber(1))?.state == .waiting)
    let early = try await world.store.ready(host: "host", now: 1_999_999, limit: 10)
    #expect(early.moved == 0 && early.nextDue == 2_000_000)
    // Suppressed meanwhile: it ends at dispatch without an attempt.
    #expect(try await world.store.ready(host: "host", now: 2_000_000, limit: 10).moved == 1)
    #expect(try await world.dispatch(5).answers[0].numbers == [])
    #expect(try await world.outcomes().map(\.outcome) == [[7]])
    #expect(try await world.effect(world.outcomes()[0], .final)[0] != nil)
    #expect(try await world.store.liveCount() == 0)
    #expect(try world.redis.cli("EXISTS", "{mta}:c:h") == "0")
    #expect(try world.redis.cli("HLEN", "{mta}:dir") == "0")
    #expect(try await world.accept([world.item(9)]).map(\.status) == [.accepted])
    #expect(try await world.outcomes().map(\.outcome) == [[7]])
  }

  /// Two hosts, three sessions: never a fourth, who has wanted longer comes first, and a lease that runs out frees its part.
  @Test func sessionsAreSharedByHosts() async throws {
    let world = try await World()
    defer { world.stop() }
    /// So that one wish is older than the next.
    func tick() async throws {
      func time() async throws -> Int64 {
        let parts = try await world.client.send(RedisCommand("TIME")).array?.compactMap { $0.string.flatMap { Int64($0) } } ?? []
        return parts.count == 2 ? parts[0] * 1000 + parts[1] / 1000 : 0
      }
      let start = try await time()
      try await eventually("a millisecond has passed") { try await time() > start }
    }
    func claim(_ host: String, held: Int, wanted: Int, limit: Int = 3, lease: Int64 = 60_000) async throws -> SessionGrant? {
      try await world.store.claimSessions(
        host: host, lease: lease, [SessionClaim(key: "gmail", limit: limit, held: held, wanted: wanted)]
      ).first
    }
    #expect(try await claim("a", held: 0, wanted: 2) == SessionGrant(granted: 2, wantedElsewhere: 0))
    #expect(try await claim("b", held: 0, wanted: 2) == SessionGrant(granted: 1, wantedElsewhere: 0))
    try await tick()
    #expect(try await claim("a", held: 2, wanted: 1) == SessionGrant(granted: 0, wantedElsewhere: 1))
    // What `a` gives up is not its own again while `b`, who has wanted longer, has not got it.
    #expect(try await claim("a", held: 1, wanted: 1) == SessionGrant(granted: 0, wantedElsewhere: 1))
    #expect(try await claim("b", held: 1, wanted: 1) == SessionGrant(granted: 1, wantedElsewhere: 1))
    // A process that begins again holds nothing, whatever the one before it said.
    #expect(try await claim("b", held: 0, wanted: 0) == SessionGrant(granted: 0, wantedElsewhere: 1))
    #expect(try await claim("a", held: 1, wanted: 5) == SessionGrant(granted: 2, wantedElsewhere: 0))
    // A lower limit takes nothing away, and gives nothing.
    #expect(try await claim("b", held: 0, wanted: 1, limit: 2) == SessionGrant(granted: 0, wantedElsewhere: 3))
    // A host that died.
    #expect(try await claim("a", held: 3, wanted: 0, lease: 50) == SessionGrant(granted: 0, wantedElsewhere: 1))
    try await eventually("its lease is over") { try await claim("b", held: 0, wanted: 3) == SessionGrant(granted: 3, wantedElsewhere: 0) }
  }

  @Test func countersStopAndComeBack() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...5).map { world.item($0) })
    try await world.store.prepareStream(ip: "ip1")
    let counters = [SharedCounter(key: "a", limit: 100, secondsToLive: 60), SharedCounter(key: "b", limit: 2, secondsToLive: 60)]
    let (answers, _) = try await world.dispatch(5, counters: counters)
    #expect(answers[0].numbers.count == 2 && answers[0].stoppedBy == 1)
    #expect(try await world.dispatch(5, counters: counters).answers[0] == PickAnswer(numbers: [], stoppedBy: 1))
    let work = try await world.store.readWork(ip: "ip1", limit: 10, block: 1)
    try await world.store.settle(
      ip: "ip1", host: "host", journalPosition: nil,
      work.map { Settlement(entryID: $0.entryID, number: $0.number, serial: $0.serial, outcome: [1]) })
    for outcome in try await world.outcomes() { _ = try await world.effect(outcome, .queue(addingCrashMarks: 1)) }
    #expect(try world.redis.cli("GET", "{mta}:n:b") == "0")
    let (again, _) = try await world.dispatch(5, counters: counters)
    // Back at its old place, one mark, the serial raised, no deferral counted.
    #expect(again[0].numbers == [MessageNumber(1), MessageNumber(2)])
    let entries = try await world.store.readWork(ip: "ip1", limit: 10, block: 1)
    #expect(entries.map(\.serial) == [2, 2] && entries.map(\.crashMarks) == [1, 1])
  }

  /// Replay: lower serial or the same and open acts, from wherever the message is; all else does nothing.
  @Test func replayActsOnceAndOnlyOnOpenSerials() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...3).map { world.item($0) })
    func replay(_ number: UInt64, _ serial: Int) async throws -> Int {
      try await world.store.replay(ip: "ip1", host: "host", [ReplayedLine(number: MessageNumber(number), serial: serial, outcome: [9])])
    }
    // The dispatch itself was lost: the record still stands at serial 0, in its queue.
    #expect(try await replay(1, 1) == 1)
    #expect(try await replay(1, 1) == 0)
    // Dispatched and open.
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(1)
    #expect(try await replay(2, 1) == 1)
    #expect(try await world.store.unsettledWork(ip: "ip1").isEmpty)
    for outcome in try await world.outcomes() { _ = try await world.effect(outcome, .retry(at: 5)) }
    // Settled and deferred: the same line is old news.
    #expect(try await replay(2, 1) == 0)
    _ = try await world.store.ready(host: "host", now: 10, limit: 10)
    _ = try await world.dispatch(3)
    #expect(try await replay(2, 1) == 0)
    #expect(try await replay(99, 1) == 0)
  }

  /// A journal that knows two attempts of a message that Redis forgot: the newer one stands, in whichever order they are told, and also
  /// over an attempt that was kept as uncertain.
  @Test(arguments: [[1, 2], [2, 1]]) func theNewestLineStands(order: [Int]) async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...2).map { world.item($0) })
    for number: UInt64 in 1...2 {
      for serial in order {
        _ = try await world.store.replay(
          ip: "ip1", host: "host", [ReplayedLine(number: MessageNumber(number), serial: serial, outcome: [UInt8(serial)])])
      }
    }
    let outcomes = try await world.outcomes()
    #expect(outcomes.filter { $0.serial == 2 }.map(\.outcome) == [[2], [2]])
    for outcome in outcomes where outcome.number == MessageNumber(1) { _ = try await world.effect(outcome, .final) }
    #expect(try await world.store.snapshot(MessageNumber(1)) == nil, "the older outcome does nothing")
    for outcome in outcomes where outcome.number == MessageNumber(2) { _ = try await world.effect(outcome, .keep(until: 9_000_000)) }
    #expect(try await world.store.snapshot(MessageNumber(2))?.state == .uncertain)
    #expect(try await world.store.replay(ip: "ip1", host: "host", [ReplayedLine(number: MessageNumber(2), serial: 2, outcome: [9])]) == 0)
    #expect(try await world.store.replay(ip: "ip1", host: "host", [ReplayedLine(number: MessageNumber(2), serial: 3, outcome: [9])]) == 1)
  }

  /// Whoever speaks in the name of an IP ends, delays or repeats nothing that this IP does not have by this very entry.
  @Test func aWorkersWordStandsForWhatItHasOnly() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...2).map { world.item($0) })
    for ip in ["ip1", "ip2"] { try await world.store.prepareStream(ip: ip) }
    _ = try await world.dispatch(1)
    let known = try #require(try await world.store.unsettledWork(ip: "ip1").first)
    func say(_ ip: String, _ entry: String, _ number: UInt64, _ serial: Int) async throws -> [StoredOutcome] {
      try await world.store.settle(
        ip: ip, host: "host", journalPosition: nil,
        [Settlement(entryID: entry, number: MessageNumber(number), serial: serial, outcome: [9])])
      return try await world.outcomes()
    }
    let waiting = MessageNumber(known.number.value == 1 ? 2 : 1)
    for (ip, entry, number, serial) in [
      ("ip2", known.entryID, known.number.value, known.serial), ("ip1", "1-1", known.number.value, known.serial),
      ("ip1", known.entryID, known.number.value, 2), ("ip1", known.entryID, waiting.value, 1), ("ip1", "1-1", waiting.value, 0),
      ("ip1", known.entryID, 77, 1),
    ] {
      let said = try #require(try await say(ip, entry, number, serial).first)
      #expect(said.record.isEmpty, "\(ip) \(entry) \(number) \(serial)")
      for fate in [MessageFate.final, .retry(at: 5), .queue(addingCrashMarks: 1), .hold(reason: "x"), .keep(until: 1)] {
        #expect(try await world.effect(said, fate)[0] == nil)
        _ = try await say(ip, entry, number, serial)
      }
      for left in try await world.outcomes() { _ = try await world.effect(left, .final) }
    }
    #expect(try await world.store.snapshot(known.number)?.state == .dispatched)
    #expect(try await world.store.snapshot(waiting)?.state == .queued)
    #expect(try await world.store.liveCount() == 2)
    let said = try #require(try await say("ip1", known.entryID, known.number.value, known.serial).first)
    #expect(!said.record.isEmpty)
    #expect(try await world.effect(said, .final)[0] != nil)
    #expect(try await world.store.liveCount() == 1)
  }

  /// A worker that was taken over may write an id that none can follow. What is settled meanwhile stays in its stream, and with that row
  /// reduced the outcomes' stream begins anew.
  @Test func anIDThatNoneCanFollowIsNotTheEnd() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1)])
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(1)
    let known = try #require(try await world.store.unsettledWork(ip: "ip1").first)
    let settlement = Settlement(entryID: known.entryID, number: known.number, serial: known.serial, outcome: [9])
    let last = "18446744073709551615-18446744073709551615"
    _ = try world.redis.cli("XADD", "{mta}:out:host:ip1", last, "n", "x")
    await #expect(throws: RedisError.self) {
      try await world.store.settle(ip: "ip1", host: "host", journalPosition: nil, [settlement])
    }
    #expect(try await world.store.unsettledWork(ip: "ip1").count == 1)
    let read = try await world.store.readOutcomes(
      host: "host", ips: ["ip1"], after: OutcomePlaces(), wakeAfter: "0-0", limit: 100, block: 1)
    #expect(read.places.isAhead(of: SystemClock.wall()) && read.outcomes.map(\.source.id) == [last])
    _ = try await world.effect(read.outcomes[0], .final)
    #expect(try world.redis.cli("EXISTS", "{mta}:out:host:ip1") == "0")
    // So does one that is empty, by whoever settles the journal.
    _ = try world.redis.cli("XADD", "{mta}:out:host:ip1", "MAXLEN", "0", last, "n", "x")
    try await world.store.mendOutcomes(ip: "ip1", host: "host", now: SystemClock.wall())
    try await world.store.settle(ip: "ip1", host: "host", journalPosition: nil, [settlement])
    try await world.store.mendOutcomes(ip: "ip1", host: "host", now: SystemClock.wall())
    let outcome = try #require(try await world.outcomes().first)
    #expect(!outcome.record.isEmpty)
    #expect(try await world.effect(outcome, .final)[0] != nil)
    #expect(try await world.store.liveCount() == 0)
  }

  /// Redis has lost a message's way from one IP to another: who has it under way by the newer attempt has it, and the older entry goes.
  @Test func theNewerAttemptIsClaimed() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1)])
    for ip in ["ip1", "ip2"] { try await world.store.prepareStream(ip: ip) }
    _ = try await world.dispatch(1)
    let newer = HeldEntry(entryID: "9999999999999-0", number: MessageNumber(1), serial: 2)
    // Before its dot it can be kept from it, which whoever has the older attempt cannot be told.
    for stage in [HoldingStage.waiting, .underWay] {
      #expect(try await world.store.claim(ip: "ip2", [(entry: newer, stage: stage)]) == [false])
    }
    let invented = HeldEntry(entryID: "9999999999999-1", number: MessageNumber(1), serial: 1_000_000)
    #expect(try await world.store.claim(ip: "ip2", [(entry: invented, stage: .atDot)]) == [false])
    #expect(try await world.store.claim(ip: "ip2", [(entry: newer, stage: .atDot)]) == [true])
    #expect(try await world.store.unsettledWork(ip: "ip1").isEmpty)
    #expect(try await world.store.claims(ip: "ip2").map(\.serial) == [2])
  }

  /// Redis has lost a dispatch: what its worker has under way stays that worker's, what it has not begun is the queue's.
  @Test func aWorkerClaimsWhatItHolds() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...4).map { world.item($0) })
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(1)
    let known = try #require(try await world.store.unsettledWork(ip: "ip1").first)
    func held(_ number: UInt64, _ serial: Int, _ entry: String) -> HeldEntry {
      HeldEntry(entryID: entry, number: MessageNumber(number), serial: serial)
    }
    let rows: [(entry: HeldEntry, stage: HoldingStage)] = [
      (HeldEntry(entryID: known.entryID, number: known.number, serial: known.serial), .waiting),
      // Lost dispatches: one under way, one not begun.
      (held(2, 1, "9999999999999-0"), .underWay), (held(3, 1, "9999999999999-1"), .waiting),
      // Another's now, and one whose acceptance Redis forgot.
      (held(known.number.value, known.serial, "9999999999999-2"), .underWay), (held(77, 1, "9999999999999-3"), .underWay),
    ]
    for _ in 0..<2 { #expect(try await world.claim(rows) == [true, true, false, false, true]) }
    // No stream has it: that it is out is remembered until it ends.
    #expect(try await world.store.claims(ip: "ip1").map(\.number) == [MessageNumber(2)])
    #expect(try await world.store.claims(ip: "ip2").isEmpty)
    #expect(try await world.dispatch(9).answers[0].numbers == [MessageNumber(3), MessageNumber(4)])
    // It ends as any other.
    let settlement = Settlement(entryID: "9999999999999-0", number: MessageNumber(2), serial: 1, outcome: [8])
    try await world.store.settle(ip: "ip1", host: "host", journalPosition: nil, [settlement])
    #expect(try await world.effect(world.outcomes()[0], .keep(until: 9_000_000))[0] != nil)
    #expect(try await world.store.claims(ip: "ip1").isEmpty)
    // Older news is none.
    #expect(try await world.claim([(held(2, 1, "9999999999999-0"), .underWay)]) == [false])
  }

  /// A message that is out and in no stream, so that nobody will ever say what came of it, ends an hour after its time; one that its worker has,
  /// by entry or by claim, does not, nor any of an IP whose host has not heard yet what was said.
  @Test func whatNobodyHasExpires() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...3).map { world.item($0, expires: 100) })
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(3)
    let work = try await world.store.unsettledWork(ip: "ip1")
    for entry in work[..<2] { _ = try await world.client.send(RedisCommand("XDEL", "{mta}:ip:ip1", entry.entryID)) }
    _ = try await world.client.send(RedisCommand("HSET", "{mta}:claims", work[1].number.description, "ip1 \(work[1].entryID) 1"))
    // Its owner, and the host that had it before.
    try await world.store.own(ip: "ip1", host: "owner")
    try await world.store.registerHost("before")
    for host in ["owner", "before"] {
      let said = try await world.client.send(RedisCommand("XADD", "{mta}:out:\(host):ip1", "*", "n", "x")).string ?? ""
      _ = try await world.store.expire(host: "host", now: 3_650_000, limit: 10, outcome: [3])
      #expect(try await world.outcomes().isEmpty)
      _ = try await world.client.send(RedisCommand("XDEL", "{mta}:out:\(host):ip1", said))
      _ = try await world.client.send(RedisCommand("ZADD", "{mta}:exp", "100", work[0].number.description))
    }
    for (now, numbers) in [(3_600_099, []), (3_700_000, [work[0].number])] as [(Milliseconds, [MessageNumber])] {
      _ = try await world.store.expire(host: "host", now: now, limit: 10, outcome: [3])
      #expect(try await world.outcomes().map(\.number) == numbers)
    }
    _ = try await world.effect(world.outcomes()[0], .final)
    #expect(try await world.store.liveCount() == 2)
  }

  @Test func concludeTakesFromWhereverItWaits() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1), world.item(2, due: 5_000_000), world.item(3), world.item(4)])
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(1)
    let (count, heads) = try await world.store.conclude(host: "host", outcome: [6], [1, 2, 3].map { MessageNumber($0) })
    // The dispatched one is in a worker's hands.
    #expect(count == 2)
    #expect(heads.map(\.count) == [1])
    #expect(try await world.store.conclude(host: "host", outcome: [6], part: world.part(), limit: 10).count == 1)
    #expect(try await world.outcomes().count == 3)
  }

  /// Held mail keeps its place: it comes back where it was.
  @Test func holdAndUnholdKeepTheOrder() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept((1...4).map { world.item($0, score: Int64($0)) })
    let (held, heads) = try await world.store.hold(host: "host", reason: "paused", [1, 3].map { MessageNumber($0) })
    #expect(held == 2 && heads.first?.count == 2 && heads.first?.score == 2)
    #expect(try await world.store.snapshot(MessageNumber(1))?.heldFor == "paused")
    // Held again, it is held for the newer reason.
    #expect(try await world.store.hold(host: "host", reason: "again", [MessageNumber(1)]).count == 1)
    #expect(try await world.store.snapshot(MessageNumber(1))?.heldFor == "again")
    #expect(try await world.store.unhold(host: "host", now: 0, [1, 3, 9].map { MessageNumber($0) }).count == 2)
    try await world.store.prepareStream(ip: "ip1")
    #expect(try await world.dispatch(9).answers[0].numbers == (1...4).map { MessageNumber($0) })
  }

  @Test func expiryHoldsBehindShutGatesAndFreesTheUncertain() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1, expires: 100), world.item(2, expires: 100), world.item(3, expires: 500)])
    try await world.store.prepareStream(ip: "ip1")
    _ = try await world.dispatch(1)
    let work = try await world.store.readWork(ip: "ip1", limit: 10, block: 1)
    #expect(try await world.store.expire(host: "host", now: 100, limit: 10, outcome: [3]).count == 2)
    #expect(try await world.outcomes().map(\.number) == [MessageNumber(2)])
    try await world.store.settle(
      ip: "ip1", host: "host", journalPosition: nil, [Settlement(entryID: work[0].entryID, number: work[0].number, serial: 1, outcome: [1])]
    )
    for outcome in try await world.outcomes() {
      _ = try await world.effect(outcome, outcome.number == MessageNumber(1) ? .keep(until: 400) : .final)
    }
    #expect(try await world.store.snapshot(MessageNumber(1))?.state == .uncertain)
    _ = try await world.store.expire(host: "host", now: 400, limit: 10, outcome: [3])
    #expect(try await world.store.snapshot(MessageNumber(1)) == nil)
    #expect(try await world.store.liveCount() == 1)
  }

  /// Functions are loaded again, and what was acknowledged is there, after Redis was killed.
  @Test func theClientComesBackByItself() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1)])
    let before = try #require(world.client.session?.runID)
    world.redis.kill()
    try await eventually("the loss is noticed") { world.client.session == nil }
    await #expect(throws: RedisError.notConnected) { try await world.store.liveCount() }
    try await world.redis.start()
    try await eventually("connected again") { world.client.session.map { $0.runID != before } ?? false }
    #expect(try await world.store.liveCount() == 1)
    #expect(try await world.accept([world.item(2)]).map(\.status) == [.accepted])
  }

  /// Somebody has removed the Functions: a new connection brings them again.
  @Test func theFunctionsComeBack() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1)])
    let before = try #require(world.client.session?.connection)
    try world.redis.cli("FUNCTION", "FLUSH")
    await #expect(throws: RedisError.self) { try await world.accept([world.item(2)]) }
    try await eventually("connected again") { world.client.session.map { $0.connection > before } ?? false }
    #expect(try await world.accept([world.item(2)]).map(\.status) == [.accepted])
    #expect(try await world.store.liveCount() == 2)
  }

  @Test func permitTimesOfThePastAreForgotten() async throws {
    let world = try await World()
    defer { world.stop() }
    var fill = RedisCommand("HSET", "{mta}:lanes")
    for lane in 0..<1200 {
      fill.add("ip/\(lane)")
      fill.add(lane % 2 == 0 ? 1000 : 3000)
    }
    _ = try await world.client.send(fill)
    try await world.store.pruneLanes(before: 2000)
    let left = try await world.store.readLanes()
    #expect(left.count == 600 && left.values.allSatisfy { $0 == 3000 })
  }

  /// A full Redis refuses accept and still drains.
  @Test func fullRedisDrains() async throws {
    let world = try await World()
    defer { world.stop() }
    _ = try await world.accept([world.item(1)])
    try await world.store.prepareStream(ip: "ip1")
    try world.redis.cli("CONFIG", "SET", "maxmemory", "1")
    await #expect(throws: RedisError.self) { try await world.accept([world.item(2)]) }
    #expect(try await world.dispatch(1).answers[0].numbers.count == 1)
    let work = try await world.store.readWork(ip: "ip1", limit: 1, block: 1)
    try await world.store.settle(
      ip: "ip1", host: "host", journalPosition: nil, [Settlement(entryID: work[0].entryID, number: work[0].number, serial: 1, outcome: [1])]
    )
    _ = try await world.effect(world.outcomes()[0], .final)
    #expect(try await world.store.liveCount() == 0)
  }
}
