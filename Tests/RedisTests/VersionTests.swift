import MailModel
import NIOPosix
import Observability
import Redis
import RedisFunctions
import TestSupport
import Testing

/// Two versions of the program on one Redis: Functions side by side, and a format that one of them cannot read.
@Suite struct VersionTests {
  /// A connection of its own, with what it met.
  private func connect(_ redis: RedisFixture, check: Bool = false) async throws -> (client: RedisClient, run: Task<Void, Never>) {
    let client = RedisClient(
      endpoint: try #require(RedisEndpoint(url: redis.url, username: "", password: "")),
      eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: true, clock: SystemClock.now)
    let run = Task {
      await client.run { _, sender in if check { try await QueueFormat.check(RedisKeys(prefix: "mta"), sender) } }
    }
    try await eventually("it has met Redis") { client.session != nil || (check && client.lastFault != nil) }
    return (client, run)
  }

  @Test func twoVersionsShareARedis() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    let other = RedisLibrary(written: RedisLibrary.written + Array("\n-- another version\n".utf8))
    #expect(other.name != RedisLibrary.own.name)
    let (client, run) = try await connect(redis)
    defer { run.cancel() }
    var load = RedisCommand("FUNCTION", "LOAD")
    load.add(other.source)
    _ = try await client.send(load)
    for library in [RedisLibrary.own, other] {
      let names = try await client.send(RedisCommand("FCALL_RO", library.function("mta1_names"), "0")).array
      #expect((names?.count ?? 0) > 20, "\(library.name)")
    }
    // Our own once more, from a second process of this version: nothing is replaced, nothing fails.
    let (second, secondRun) = try await connect(redis)
    defer { secondRun.cancel() }
    #expect(second.session != nil)
    let listed = try redis.cli("FUNCTION", "LIST")
    #expect(listed.contains(RedisLibrary.own.name) && listed.contains(other.name))
    // What the documented clean-up removes leaves the other alone.
    #expect(try redis.cli("FUNCTION", "DELETE", other.name) == "OK")
    #expect(try await client.send(RedisCommand("FCALL_RO", RedisLibrary.own.function("mta1_names"), "0")).array != nil)
  }

  @Test(
    arguments: [
      (nil, nil), ("1", nil), ("2", nil), ("3", "the queue in Redis has format 3, and this version knows formats up to 2"),
      ("0", "the queue in Redis has format 0, which this version (format 2) cannot migrate"), ("x", "is no format number: x"),
    ] as [(String?, String?)])
  func formatsAreReadOrRefused(found: String?, refusal: String?) async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    if let found { try redis.cli("SET", "{mta}:format", found) }
    let (client, run) = try await connect(redis, check: true)
    defer { run.cancel() }
    if let refusal {
      #expect(client.session == nil && client.lastFault?.contains(refusal) == true, "\(client.lastFault ?? "-")")
      #expect(try redis.cli("GET", "{mta}:format") == found)
    } else {
      #expect(client.session != nil)
      #expect(try redis.cli("GET", "{mta}:format") == "2")
    }
  }

  /// A queue of format 1, as that version left it: what waits goes on from where it was.
  @Test func aQueueOfFormatOneIsMigrated() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    try redis.cli("SET", "{mta}:format", "1")
    let record = MessageRecord(
      messageID: "old", workAttemptID: nil, organisation: "o", recipient: "u@b.example", pool: "p", dkimDomain: "d", returnPathLocal: "l",
      returnPathHost: "h", acceptedAt: 1, expiresAt: 9_000_000, deliveryDomain: "production", contentSize: 1)
    let number = MessageNumber(7)
    let (client, run) = try await connect(redis)
    var old = RedisCommand(
      "HSET", "{mta}:m:\(number)", "s", "q", "n", "1", "f", "1", "r", "2", "g", "pool:p b.example", "o", "o", "z", "5", "c", "h")
    for word in ["x", "9000000", "d", "u@b.example", "m"] { old.add(word) }
    old.add(record.encoded())
    _ = try await client.send(old)
    run.cancel()
    for _ in 1...2 {
      let (client, run) = try await connect(redis, check: true)
      defer { run.cancel() }
      #expect(try redis.cli("GET", "{mta}:format") == "2")
      let found = try #require(try await QueueStore(client: client, keys: RedisKeys(prefix: "mta")).snapshot(number))
      #expect(found.record.messageID == "old" && found.state == .queued && found.deferrals == 2 && found.serial == 1)
      #expect(try redis.cli("HKEYS", "{mta}:m:\(number)").split(separator: "\n").sorted() == ["f", "n", "r", "s"])
      // Cut off before it was marked, it is begun again.
      try redis.cli("SET", "{mta}:format", "1")
    }
  }
}
