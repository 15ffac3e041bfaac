import DNS
import DeliveryPolicy
import Foundation
import Logging
import MailModel
import Synchronization
import Testing

@testable import supervisor

/// An end between "it may come back" and its probation: the next process finds it out, and brings it back through probation.
@Suite struct ReturnMemoryTests {
  typealias Script = ReputationMonitorTests.Script

  /// What was stored when an IP was delisted, before anything was done about it.
  func halfWritten() async throws -> BlocklistBook {
    let script = Script(ReputationMonitorTests.sane)
    script.set("1.2.0.192.zen.test", ReputationMonitorTests.listed)
    let monitor = ReputationMonitorTests.monitor(script, ReputationMonitorTests.settings())
    await monitor.sweep(now: 2)
    script.set("1.2.0.192.zen.test", nil)
    await monitor.sweep(now: 3)
    await monitor.sweep(now: 4)
    #expect(ReputationMonitorTests.kinds(script.told).contains("restore 192.0.2.1"))
    #expect(script.book?.pulls.isEmpty == true, "what was carried out is not repeated")
    let stored = script.state.withLock { $0.stored }
    return try JSONDecoder().decode(BlocklistBook.self, from: JSONEncoder().encode(stored[stored.count - 2]))
  }

  @Test func aDelistedIPIsOutUntilItIsInProbation() async throws {
    let kept = try await halfWritten()
    #expect(kept.pulls.map(\.ip) == ["192.0.2.1"] && kept.pulls[0].since == 4)
    let next = Script(ReputationMonitorTests.sane)
    let monitor = ReputationMonitorTests.monitor(next, ReputationMonitorTests.settings(), book: kept)
    await monitor.sweep(now: 900)
    #expect(ReputationMonitorTests.kinds(next.told) == ["restore 192.0.2.1", "ip.delisted"])
    #expect(next.book?.pulls.isEmpty == true)
    await monitor.sweep(now: 901)
    #expect(next.told.count == 2)
  }

  @Test func listedAgainItIsPulledAndNotBroughtBack() async throws {
    let kept = try await halfWritten()
    let next = Script(ReputationMonitorTests.sane)
    next.set("1.2.0.192.zen.test", ReputationMonitorTests.listed)
    let monitor = ReputationMonitorTests.monitor(next, ReputationMonitorTests.settings(), book: kept)
    await monitor.sweep(now: 900)
    let kinds = ReputationMonitorTests.kinds(next.told)
    #expect(kinds.contains("pull 192.0.2.1") && !kinds.contains("restore 192.0.2.1"))
    #expect(next.book?.pulls.map(\.since) == [900])
  }

  @Test func anOperatorMayHaveItBackAtOnce() async throws {
    let kept = try await halfWritten()
    let next = Script(ReputationMonitorTests.sane)
    let monitor = ReputationMonitorTests.monitor(next, ReputationMonitorTests.settings(), book: kept)
    await monitor.overrule("192.0.2.1", now: 899)
    await monitor.sweep(now: 900)
    #expect(!ReputationMonitorTests.kinds(next.told).contains("restore 192.0.2.1"))
    #expect(next.book?.pulls.isEmpty == true)
  }

  /// The same for an IP whose identity is right again.
  @Test func anIPWithItsIdentityBackIsOutUntilItIsInProbation() async throws {
    let script = IdentityMonitorTests.Script(IdentityMonitorTests.sane)
    let written = Mutex<[[String: IdentityState]]>([])
    func monitor(_ initial: [String: IdentityState]) -> IdentityMonitor {
      IdentityMonitor(
        settings: .init(subjects: [IdentityMonitorTests.subject], returnPathDomain: "bounce.example", isRequired: true),
        ports: .init(
          lookup: IdentityLookup { name, type in
            script.answers.withLock { $0["\(type) \(name)"] ?? DNSAnswer(status: .noSuchName) }
          }, load: { initial }, store: { states in written.withLock { $0.append(states) } },
          apply: { effects in script.effects.withLock { $0 += effects } }),
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
    func returns() -> Int {
      script.effects.withLock { $0.count { if case .restoreThroughProbation = $0 { true } else { false } } }
    }
    script.set("ptr 7.113.0.203.in-addr.arpa", nil)
    let first = monitor([:])
    await first.sweep(now: 1)
    script.set("ptr 7.113.0.203.in-addr.arpa", IdentityMonitorTests.sane["ptr 7.113.0.203.in-addr.arpa"])
    await first.sweep(now: 2)
    #expect(returns() == 1)
    let half = try #require(written.withLock { $0.dropLast().last })
    let kept = try JSONDecoder().decode([String: IdentityState].self, from: JSONEncoder().encode(half))
    #expect(kept["10.0.0.7"]?.pulledSince == nil && kept["10.0.0.7"]?.returningSince == 2)
    let second = monitor(kept)
    await second.sweep(now: 3)
    #expect(returns() == 2)
    #expect(written.withLock { $0.last?["10.0.0.7"]?.returningSince } == nil)
    await second.sweep(now: 4)
    #expect(returns() == 2)
  }

  /// A file of an earlier version is read.
  @Test func aBookWithoutReturnsIsRead() throws {
    let text = #"{"addresses":{},"domains":{},"untold":[]}"#
    #expect(try JSONDecoder().decode(BlocklistBook.self, from: Data(text.utf8)) == BlocklistBook())
  }
}
