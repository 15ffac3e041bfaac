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
      (nil, nil), ("1", nil), ("2", "the queue in Redis has format 2, and this version knows formats up to 1"),
      ("0", "the queue in Redis has format 0, which this version (format 1) cannot migrate"), ("x", "is no format number: x"),
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
      #expect(try redis.cli("GET", "{mta}:format") == "1")
    }
  }
}
