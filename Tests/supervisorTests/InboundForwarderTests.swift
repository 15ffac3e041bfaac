import Foundation
import Logging
import MailModel
import TestSupport
import Testing

@testable import supervisor

/// Mail of `endpoint` routes on its way, with endpoints that the test plays.
@Suite struct InboundForwarderTests {
  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private static func route(_ id: String) -> InboundRoutes.Route {
    InboundRoutes.Route(
      domain: "in.example", address: id, mode: .endpoint, endpointUrl: "http://\(id)/", organizationId: nil, id: id, createdAt: 0,
      secret: "0123456789abcdef")
  }

  private static func forwarder(
    _ store: InboundStore, clock: @escaping @Sendable () -> Milliseconds = { 1000 }, _ post: @escaping InboundForwarder.Post
  ) -> InboundForwarder {
    InboundForwarder(store: store, route: { Self.route($0) }, secret: { nil }, post: post, log: Self.log, clock: clock)
  }

  /// Endpoints that hang keep their own mail waiting, two at most on their way, and nobody else's.
  @Test func endpointsThatHangStarveNobody() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let store = try InboundStore(path: scratch.file("inbound.db"))
    for index in 0..<20 {
      for route in ["hung1", "hung2", "hung3", "hung4", "hung5"] {
        try await store.store(InboundStoreTests.mail("\(route)-\(index)", .forwarding, route: route), content: Array("{}".utf8))
      }
    }
    for index in 0..<20 {
      try await store.store(InboundStoreTests.mail("good-\(index)", .forwarding, route: "good", at: 5), content: Array("{}".utf8))
    }
    let hanging = Locked<[String: Int]>([:])
    let isHanging = Locked(true)
    let forwarder = Self.forwarder(store) { url, _, _ in
      guard url.contains("hung"), isHanging.value else { return 200 }
      hanging.change { $0[url, default: 0] += 1 }
      while isHanging.value { try await Task.sleep(for: .milliseconds(5)) }
      return 200
    }
    let run = Task { await forwarder.run() }
    try await eventually("the good one's are all taken") { try await store.due(.forwarding, route: "good", now: 1000, limit: 50).isEmpty }
    try await eventually("the others hang") { hanging.value.count == 5 }
    #expect(hanging.value.values.allSatisfy { $0 <= 2 }, "\(hanging.value)")
    isHanging.change { $0 = false }
    try await eventually("all are taken") { try await store.routes(.forwarding).isEmpty }
    #expect(await forwarder.forwarded == 120)
    run.cancel()
    await run.value
  }

  /// Days of refusal give a mail up; days in which we were away give up nothing.
  @Test(arguments: [503, nil] as [Int?]) func onlyDaysOfTryingGiveUp(status: Int?) async throws {
    struct Silence: Error {}
    let scratch = try Scratch()
    defer { scratch.remove() }
    let store = try InboundStore(path: scratch.file("inbound.db"))
    try await store.store(InboundStoreTests.mail("in-1", .forwarding, route: "r"), content: Array("{}".utf8))
    let now = Locked<Milliseconds>(1000)
    func start() -> InboundForwarder {
      Self.forwarder(store, clock: { now.value }) { _, _, _ in
        guard let status else { throw Silence() }
        return status
      }
    }
    let waiting: () async throws -> InboundStore.Mail? = {
      let due = try await store.due(.forwarding, now: .max, limit: 1)
      return due.first
    }
    // Every restart comes after an outage of three days.
    for _ in 0..<40 {
      let mail = try await waiting()
      await start().forward(try #require(mail))
      now.change { $0 += 3 * 86_400_000 }
    }
    #expect(try await waiting()?.tries == 40)
    let last = start()
    let began = now.value
    while let mail = try await waiting() {
      now.change { $0 += 3_600_000 }
      await last.forward(mail)
      try #require(now.value - began < 20 * 86_400_000)
    }
    let days = Double(now.value - began) / 86_400_000
    #expect(status == nil ? (6.9...7.2).contains(days) : (1.9...2.2).contains(days), "\(days)")
    #expect(try await store.heldMail("in-1")?.reason == (status == nil ? "its endpoint does not answer" : "its endpoint answers 503"))
  }
}
