import DNS
import DeliveryPolicy
import Foundation
import Logging
import MailModel
import Synchronization
import Testing

@testable import supervisor

/// The monitors over scripted answers: what they ask, store and tell.
@Suite struct ReputationMonitorTests {
  /// Answers by full name; a name without one does not exist. Counts what is asked and how much of it at a time.
  final class Script: Sendable {
    struct State {
      var answers: [String: BlocklistAnswer] = [:]
      var asked: [String: Int] = [:]
      var under = 0
      var most = 0
      var stored: [BlocklistBook] = []
      var effects: [[BlocklistEffect]] = []
      var refuses = false
    }
    struct Refusal: Error {}

    let state = Mutex(State())

    init(_ answers: [String: BlocklistAnswer]) { state.withLock { $0.answers = answers } }

    func set(_ name: String, _ answer: BlocklistAnswer?) { state.withLock { $0.answers[name] = answer } }

    func ask(_ name: String) async -> BlocklistAnswer {
      state.withLock {
        $0.asked[name, default: 0] += 1
        $0.under += 1
        $0.most = max($0.most, $0.under)
      }
      await Task.yield()
      return state.withLock {
        $0.under -= 1
        return $0.answers[name] ?? .nothing
      }
    }

    func ports(_ initial: BlocklistBook? = nil) -> BlocklistMonitor.Ports {
      BlocklistMonitor.Ports(
        ask: { await self.ask($0) }, load: { initial }, store: { book in self.state.withLock { $0.stored.append(book) } },
        apply: { effects in
          try self.state.withLock {
            $0.effects.append(effects)
            if $0.refuses { throw Refusal() }
          }
        }, now: { 0 })
    }

    var told: [BlocklistEffect] { state.withLock { $0.effects.flatMap(\.self) } }
    var book: BlocklistBook? { state.withLock { $0.stored.last } }
  }

  static let listed = BlocklistAnswer.addresses(["127.0.0.2"])
  static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// A critical and a warning zone whose test points are right.
  static let sane: [String: BlocklistAnswer] = [
    "2.0.0.127.zen.test": listed, "2.0.0.127.warn.test": listed,
    "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.test": listed,
  ]

  static func settings(
    _ addresses: [String] = ["192.0.2.1", "192.0.2.2"], domains: [String] = []
  ) -> BlocklistMonitor.Settings {
    var dbl = BlocklistZone.configured("dbl.test", severity: .warning)
    dbl.families = [.domain]
    return BlocklistMonitor.Settings(
      zones: BlocklistZone.configured([("zen.test", .critical), ("warn.test", .warning)]) + (domains.isEmpty ? [] : [dbl]),
      subjects: addresses.map { .init(address: $0, publicAddress: $0) }, sets: [addresses], domains: { domains })
  }

  static func monitor(_ script: Script, _ settings: BlocklistMonitor.Settings, book: BlocklistBook? = nil) -> BlocklistMonitor {
    BlocklistMonitor(settings: settings, ports: script.ports(book), log: log)
  }

  static func kinds(_ effects: [BlocklistEffect]) -> [String] {
    effects.map { effect in
      switch effect {
      case .pull(let ip, _, _): "pull \(ip)"
      case .restoreThroughProbation(let ip, _): "restore \(ip)"
      case .event(let event): event.kind.rawValue
      case .domainListed(let domain, _): "listed \(domain)"
      case .domainCleared(let domain): "cleared \(domain)"
      }
    }
  }

  @Test func aListedIPIsPulledAndComesBackAfterTwoCleanSweeps() async {
    let script = Script(Self.sane)
    let monitor = Self.monitor(script, Self.settings())
    await monitor.sweep(now: 1)
    #expect(script.told == [])
    #expect(await monitor.snapshot().rows.map(\.dnsbl) == [.clean, .clean])
    script.set("1.2.0.192.zen.test", Self.listed)
    await monitor.sweep(now: 2)
    #expect(Self.kinds(script.told) == ["pull 192.0.2.1", "ip.blocklisted"])
    var snapshot = await monitor.snapshot()
    #expect(snapshot.rows.map(\.dnsbl) == [.critical, .clean])
    #expect(snapshot.gates == [Gate(scope: .ip, key: "192.0.2.1", reason: .blocklisted, since: 2, until: nil)])
    #expect(snapshot.rows[0].dnsblCheckedAt == 2 && !snapshot.rows[0].dnsblUnmeasured)
    script.set("1.2.0.192.zen.test", .failed("rcode 2"))
    await monitor.sweep(now: 3)
    script.set("1.2.0.192.zen.test", nil)
    await monitor.sweep(now: 4)
    #expect(script.told.count == 2)
    await monitor.sweep(now: 5)
    #expect(Self.kinds(Array(script.told.dropFirst(2))) == ["restore 192.0.2.1", "ip.delisted"])
    snapshot = await monitor.snapshot()
    #expect(snapshot.gates.isEmpty && snapshot.rows[0].restoredAt == 5)
  }

  /// (answers to the test points, health of the zone)
  @Test(arguments: [
    (["1.0.0.127.zen.test": listed], ZoneHealth.listsTheWorld), (["2.0.0.127.zen.test": .nothing], .dead),
    (["2.0.0.127.zen.test": .failed("rcode 2")], .unmeasured("rcode 2")),
    (["1.0.0.127.zen.test": .addresses(["203.0.113.1"])], .unmeasured("answered outside 127/8")),
  ])
  func aZoneThatFailsItsTestPointsPullsNobody(points: [String: BlocklistAnswer], health: ZoneHealth) async {
    let script = Script(Self.sane.merging(points) { $1 })
    script.set("1.2.0.192.zen.test", Self.listed)
    script.set("2.2.0.192.zen.test", Self.listed)
    let monitor = Self.monitor(script, Self.settings())
    await monitor.sweep(now: 1)
    #expect(script.told == [])
    let snapshot = await monitor.snapshot()
    #expect(snapshot.rows.map(\.dnsbl) == [.unknown, .unknown])
    #expect(snapshot.zones.first { $0.id == "zen.test" && $0.family == .ipv4 }?.health == health)
    #expect(snapshot.zones.first { $0.id == "warn.test" && $0.family == .ipv4 }?.health == .healthy)
  }

  @Test func aZoneThatGoesBadKeepsTheGatesThatAreShut() async {
    let script = Script(Self.sane)
    script.set("1.2.0.192.zen.test", Self.listed)
    let monitor = Self.monitor(script, Self.settings())
    await monitor.sweep(now: 1)
    script.set("2.0.0.127.zen.test", nil)
    script.set("1.2.0.192.zen.test", nil)
    for now in 2...5 as ClosedRange<Int64> { await monitor.sweep(now: now) }
    #expect(await monitor.snapshot().gates.map(\.since) == [1])
  }

  @Test func IPv6IsAskedByNibbles() async {
    let script = Script(Self.sane)
    script.set("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.test", Self.listed)
    let monitor = Self.monitor(script, Self.settings(["2001:db8::1"]))
    await monitor.sweep(now: 1)
    #expect(Self.kinds(script.told) == ["pull 2001:db8::1", "ip.blocklisted", "all_ips_blocked"])
  }

  @Test func aDedicatedIPThatIsTheTestPointIsNotJudged() async {
    let script = Script(Self.sane)
    let monitor = Self.monitor(script, Self.settings(["127.0.0.2"]))
    await monitor.sweep(now: 1)
    #expect(script.told == [])
    #expect(await monitor.snapshot().rows[0].dnsblUnmeasured)
  }

  @Test func behindNATThePublicAddressIsAskedAndTheOwnOneNamed() async {
    let script = Script(Self.sane)
    script.set("9.113.0.203.zen.test", Self.listed)
    var settings = Self.settings(["10.0.0.9"])
    settings.subjects = [.init(address: "10.0.0.9", publicAddress: "203.0.113.9")]
    let monitor = Self.monitor(script, settings)
    await monitor.sweep(now: 1)
    #expect(Self.kinds(script.told).first == "pull 10.0.0.9")
    #expect(script.state.withLock { $0.asked["9.0.0.10.zen.test"] } == nil)
  }

  @Test func fourIPsAtATime() async {
    let script = Script(Self.sane)
    let monitor = Self.monitor(script, Self.settings((1...40).map { "192.0.2.\($0)" }))
    await monitor.sweep(now: 1)
    let (most, asked) = script.state.withLock { ($0.most, $0.asked) }
    #expect(most <= BlocklistMonitor.width * 2)
    #expect(asked.values.allSatisfy { $0 == 1 })
    // Two test points and forty IPs, each of two zones.
    #expect(asked.count == 84)
  }

  @Test func aRestartKeepsGatesAndTellsWhatWasNotTold() async throws {
    let script = Script(Self.sane)
    script.set("1.2.0.192.zen.test", Self.listed)
    script.state.withLock { $0.refuses = true }
    await Self.monitor(script, Self.settings()).sweep(now: 7)
    let kept = try JSONDecoder().decode(BlocklistBook.self, from: JSONEncoder().encode(try #require(script.book)))
    #expect(kept.pulls.map(\.since) == [7] && kept.untold.count == 1)

    let next = Script(Self.sane)
    next.set("1.2.0.192.zen.test", .failed("time-out"))
    let monitor = Self.monitor(next, Self.settings(), book: kept)
    #expect(await monitor.snapshot().gates.map(\.since) == [7])
    await monitor.sweep(now: 900)
    #expect(next.told == script.told.filter { $0.event != nil })
    #expect(next.book?.untold == [])
    await monitor.sweep(now: 901)
    #expect(next.told.count == 1)
  }

  @Test func withoutZonesNothingIsAskedAndWhatWasHeldIsLetGo() async {
    let script = Script(Self.sane)
    script.set("1.2.0.192.zen.test", Self.listed)
    await Self.monitor(script, Self.settings()).sweep(now: 1)
    let next = Script([:])
    var settings = Self.settings()
    settings.zones = []
    let monitor = Self.monitor(next, settings, book: script.book)
    await monitor.sweep(now: 2)
    #expect(Self.kinds(next.told) == ["restore 192.0.2.1", "ip.delisted"])
    #expect(next.state.withLock { $0.asked.isEmpty })
    #expect(await monitor.snapshot().rows.allSatisfy(\.dnsblUnmeasured))
  }

  @Test func anOperatorsRestoreIsStored() async {
    let script = Script(Self.sane)
    script.set("1.2.0.192.zen.test", Self.listed)
    let monitor = Self.monitor(script, Self.settings())
    await monitor.sweep(now: 1)
    await monitor.overrule("192.0.2.1", now: 2)
    await monitor.sweep(now: 3)
    #expect(script.told.count == 2)
    #expect(script.book?.pulls.isEmpty == true)
  }

  @Test func sendingDomainsAreAskedByName() async {
    let script = Script(
      Self.sane.merging(["test.dbl.test": Self.listed, "news.example.dbl.test": .addresses(["127.0.1.2"])]) { $1 })
    let monitor = Self.monitor(script, Self.settings(domains: ["news.example", "good.example"]))
    await monitor.sweep(now: 1)
    #expect(script.told == [.domainListed(domain: "news.example", on: ["dbl.test"])])
    #expect(await monitor.snapshot().domains == ["news.example": ["dbl.test"]])
  }

  @Test func theLoopEndsWhenItIsCancelled() async {
    let script = Script(Self.sane)
    let monitor = Self.monitor(script, Self.settings())
    let task = Task { await monitor.run() }
    while await monitor.snapshot().sweptAt == nil { await Task.yield() }
    task.cancel()
    await task.value
    #expect(script.state.withLock { $0.stored.count } == 1)
  }
}
