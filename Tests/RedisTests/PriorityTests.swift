import MailModel
import Redis
import TestSupport
import Testing

@Suite(.serialized) struct PriorityTests {
  /// A deferred message comes back to the place that its band gave it; no score at all is the third band, nought the fourth.
  @Test func retriesKeepTheirBand() async throws {
    let world = try await QueueStoreTests.World()
    defer { world.stop() }
    let accepted: Milliseconds = 1_000_000
    let scores = [(90, accepted + 3_000_000), (nil, accepted), (0, accepted)].map { (engagement: Double?, at: Milliseconds) in
      PriorityBand(engagementScore: engagement).score(acceptedAt: at)
    }
    #expect(scores == [4_000_000, 8_200_000, 11_800_000])
    _ = try await world.accept(scores.enumerated().map { world.item(UInt64($0.offset + 1), score: $0.element) })
    try await world.store.prepareStream(ip: "ip1")
    #expect(try await world.dispatch(1).answers[0].numbers == [MessageNumber(1)])
    let work = try await world.store.unsettledWork(ip: "ip1")
    try await world.store.settle(
      ip: "ip1", host: "host", journalPosition: nil,
      work.map { Settlement(entryID: $0.entryID, number: $0.number, serial: $0.serial, outcome: [8]) })
    for outcome in try await world.outcomes() { _ = try await world.effect(outcome, .retry(at: 20_000_000)) }
    #expect(try await world.store.snapshot(MessageNumber(1))?.state == .waiting)
    #expect(try await world.store.ready(host: "host", now: 20_000_000, limit: 10).moved == 1)
    #expect(try await world.store.snapshot(MessageNumber(1))?.score == 4_000_000)
    #expect(try await world.dispatch(3).answers[0].numbers == [1, 2, 3].map { MessageNumber($0) })
  }
}
