import MailModel
import Redis
import TestSupport
import Testing

@Suite(.serialized) struct FeedbackFunctionTests {
  /// Event, suppression and policy rows stand or fall with the memory of it.
  @Test func feedbackIsTakenOnce() async throws {
    let world = try await QueueStoreTests.World()
    let number = MessageNumber(7)
    let row = SuppressionRow(scope: "o", address: "u@b.example", until: 0, reason: "complaint", since: 5, source: "feedback")
    let item = FeedbackItem(number: number, kind: "complaint", memory: 86_400_000, done: [1, 2], suppression: row)
    #expect(try await world.store.knowsFeedback(number, "complaint") == false)
    let rows = [PolicyRow(field: "breaker:*:o", text: "b1 x"), PolicyRow(field: "gone", text: nil)]
    try await world.store.setPolicy([PolicyRow(field: "gone", text: "was there")])
    let id = try await world.store.feedback(host: "host", item, policy: rows)
    #expect(id != nil)
    #expect(try await world.store.knowsFeedback(number, "complaint"))
    #expect(try await world.store.policyRows() == ["breaker:*:o": "b1 x"])
    #expect(try await world.store.readDone(host: "host", after: "-", limit: 10).map(\.record) == [[1, 2]])
    #expect(try world.redis.cli("HGET", "{mta}:sup:o", "u@b.example") == "0 complaint 5 feedback")
    let life = Int(try world.redis.cli("PTTL", "{mta}:fb:\(number):complaint")) ?? 0
    #expect((86_000_000...86_400_000).contains(life))

    #expect(try await world.store.feedback(host: "host", item, policy: [PolicyRow(field: "breaker:*:o", text: "b1 y")]) == nil)
    #expect(try await world.store.policyRows() == ["breaker:*:o": "b1 x"])
    #expect(try await world.store.readDone(host: "host", after: "-", limit: 10).count == 1)
    var bounce = item
    bounce.kind = "bounce"
    bounce.suppression = nil
    #expect(try await world.store.feedback(host: "host", bounce, policy: []) != nil)
    world.stop()
  }

  /// Row and event of an unsubscription stand or fall together; whoever asked to leave after they came back stays away.
  @Test func leavingAListIsToldInOneStep() async throws {
    let world = try await QueueStoreTests.World()
    defer { world.stop() }
    let (store, field) = (world.store, "u@b.example\nspring")
    func leave(_ now: Milliseconds, id: String = "m 1") async throws -> Bool {
      try await store.leave(host: "host", organisation: "o", field: field, messageID: id, done: [1, 2], now: now) != nil
    }
    #expect(try await leave(1_000))
    #expect(try world.redis.cli("HGET", "{mta}:uns:o", field) == "1000 1000 m 1")
    #expect(try await store.readDone(host: "host", after: "-", limit: 10).map(\.record) == [[1, 2]])
    #expect(try await !leave(2_000, id: "m 2"))
    #expect(try world.redis.cli("HGET", "{mta}:uns:o", field) == "1000 2000 m 1")
    #expect(try await store.readDone(host: "host", after: "-", limit: 10).count == 1)
    #expect(try await !store.rejoin(organisation: "o", field: field, before: 1_999))
    #expect(try await !store.rejoin(organisation: "p", field: field, before: nil))
    #expect(try await store.rejoin(organisation: "o", field: field, before: 2_000))
    #expect(try await !store.rejoin(organisation: "o", field: field, before: nil))
    #expect(try world.redis.cli("EXISTS", "{mta}:uns:o") == "0")
    // Rows of an earlier version: one whose event may never have been written, and one that was told.
    _ = try world.redis.cli("HSET", "{mta}:uns:o", field, "5 untold m 1")
    #expect(try await leave(3_000))
    _ = try world.redis.cli("HSET", "{mta}:uns:o", field, "5 told m 1")
    #expect(try await !store.rejoin(organisation: "o", field: field, before: 4))
    #expect(try await !leave(4_000))
    #expect(try world.redis.cli("HGET", "{mta}:uns:o", field) == "5 4000 m 1")
  }

  /// A row by hand ends after a week: what a complaint says must not end with it.
  @Test func aLastingRowStandsOverOneThatEnds() async throws {
    let world = try await QueueStoreTests.World()
    for (number, old, expected) in [
      (1, "4102444800000 manual 1 ", "0 complaint 5 feedback"), (2, "1 manual 1 ", "0 complaint 5 feedback"),
      (3, "0 hard_bounce 1 smtp", "0 hard_bounce 1 smtp"),
    ] {
      let address = "u\(number)@b.example"
      _ = try world.redis.cli("HSET", "{mta}:sup:o", address, old)
      let row = SuppressionRow(scope: "o", address: address, until: 0, reason: "complaint", since: 5, source: "feedback")
      let item = FeedbackItem(number: MessageNumber(UInt64(number)), kind: "complaint", memory: 86_400_000, done: [1], suppression: row)
      #expect(try await world.store.feedback(host: "host", item, policy: []) != nil)
      #expect(try world.redis.cli("HGET", "{mta}:sup:o", address) == expected)
    }
    world.stop()
  }
}
