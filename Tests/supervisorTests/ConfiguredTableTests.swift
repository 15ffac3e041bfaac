import Foundation
import NIOCore
import NIOPosix
import Observability
import Redis
import TestSupport
import Testing

@testable import supervisor

/// Rows that several hosts change, each with a memory of its own.
@Suite(.serialized) struct ConfiguredTableTests {
  @Test func nobodyUndoesAnothersChange() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    let endpoint = try #require(RedisEndpoint(url: redis.url, username: "", password: ""))
    let client = RedisClient(
      endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: true, clock: SystemClock.now)
    let run = Task { await client.run() }
    defer { run.cancel() }
    try await eventually("connected") { client.session != nil }
    let store = QueueStore(client: client, keys: RedisKeys(prefix: "mta"))
    let hosts = [PoolRules(store: store), PoolRules(store: store)]
    func rule(_ host: Int, _ number: Int) -> PoolRules.Rule {
      PoolRules.Rule(organizationId: "acme", pool: "p", fromDomain: "\(number).example", toDomain: "\(host).example")
    }
    // What a host remembers is older than what the other writes.
    for host in hosts { _ = try await host.rules("acme") }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, host) in hosts.enumerated() {
        group.addTask { for number in 0..<30 { try await host.set(rule(index, number)) } }
      }
      try await group.waitForAll()
    }
    #expect(try await PoolRules(store: store).rules("acme").count == 60)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, host) in hosts.enumerated() {
        group.addTask {
          for number in 0..<30 {
            let isRemoved = try await host.remove("acme", from: "\(number).example", to: "\(index).example")
            #expect(isRemoved)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await hosts[0].remove("acme", from: "1.example", to: "0.example") == false)
    #expect(try await PoolRules(store: store).all().isEmpty)
    #expect(try redis.cli("EXISTS", store.keys.poolRules) == "0")
  }

  /// A row that this version cannot read is not its to change.
  @Test func whatCannotBeReadStays() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    let endpoint = try #require(RedisEndpoint(url: redis.url, username: "", password: ""))
    let client = RedisClient(
      endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: true, clock: SystemClock.now)
    let run = Task { await client.run() }
    defer { run.cancel() }
    try await eventually("connected") { client.session != nil }
    let hash = RedisHash(client: client, key: "t")
    try await hash.set("a", "{\"of\":\"tomorrow\"}")
    let table = ConfiguredTable<[Int]>(hash)
    await #expect(throws: RedisError.self) { try await table.replace("a") { _ in nil } }
    await #expect(throws: RedisError.self) { try await table.change("a") { $0.append(1) } }
    #expect(try await hash.get("a") == "{\"of\":\"tomorrow\"}")
    #expect(try await table.replace("b") { ($0 ?? []) + [1] } == [1])
    #expect(try await table.change("b") { $0.append(2) } == [1, 2])
    #expect(try await table.change("c") { $0.append(2) } == nil)
    #expect(try await hash.get("c") == nil)
  }
}
