import DNS
import DeliveryPolicy
import Logging
import MailModel
import Synchronization
import TestSupport
import Testing

@testable import supervisor

/// The monitors against a real resolver and a real name server.
@Suite struct ReputationDNSTests {
  static let zones: [String: [String]] = [
    "zen.example.org": ["2.0.0.127 IN A 127.0.0.2", "21.0.0.127 IN A 127.0.0.4", "22.0.0.127 IN A 127.255.255.254"],
    "world.example.org": ["* IN A 127.0.0.2"],
    "dead.example.org": ["21.0.0.127 IN A 127.0.0.2"],
    "0.127.in-addr.arpa": ["21.0 IN PTR a.test-zone.example.", "22.0 IN PTR b.test-zone.example."],
    "test-zone.example": [
      "a IN A 127.0.0.21", "b IN A 127.0.0.99", #"bounce IN TXT "v=spf1 include:spf.test-zone.example -all""#,
      #"spf IN TXT "v=spf1 ip4:127.0.0.16/28 -all""#,
    ],
  ]

  static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test func listedUnknownAndCleanOverTheWire() async throws {
    let server = try await NameServer(zones: Self.zones)
    defer { server.stop() }
    let lookup = BlocklistLookup(resolver: try DNSResolver(servers: [server.server], trustAnchors: []))
    let effects = Mutex<[BlocklistEffect]>([])
    let zones = BlocklistZone.configured([
      ("zen.example.org", .critical), ("world.example.org", .critical), ("dead.example.org", .critical),
    ])
    let addresses = ["127.0.0.21", "127.0.0.22", "127.0.0.23"]
    let monitor = BlocklistMonitor(
      settings: .init(
        zones: zones, subjects: addresses.map { .init(address: $0, publicAddress: $0) }, sets: [addresses]),
      ports: .init(
        ask: { await lookup.answer($0) }, load: { nil }, store: { _ in },
        apply: { fresh in effects.withLock { $0 += fresh } }), log: Self.log)
    await monitor.sweep(now: 1)
    let snapshot = await monitor.snapshot()
    #expect(snapshot.zones.filter { $0.family == .ipv4 }.map(\.health) == [.healthy, .listsTheWorld, .dead])
    #expect(snapshot.gates.map(\.key) == ["127.0.0.21"])
    #expect(effects.withLock { $0 }.first == .pull(ip: "127.0.0.21", reason: "blocklisted: zen.example.org", since: 1))
  }

  @Test func identityOverTheWire() async throws {
    let server = try await NameServer(zones: Self.zones)
    defer { server.stop() }
    let lookup = IdentityLookup(resolver: try DNSResolver(servers: [server.server], trustAnchors: []))
    func identity(_ address: String, _ ehlo: String) async -> IPIdentity {
      await lookup.identity(address: address, ehlo: ehlo, isRequired: true, now: 1)
    }
    #expect(await identity("127.0.0.21", "a.test-zone.example").verdict == .pass)
    #expect(await identity("127.0.0.21", "b.test-zone.example").reason == .ehloMismatch)
    #expect(await identity("127.0.0.22", "b.test-zone.example").reason == .forwardMismatch)
    #expect(await identity("127.0.0.23", "c.test-zone.example").reason == .noPTR)
    #expect(await lookup.coverage(of: "127.0.0.21", domain: "bounce.test-zone.example") == .covered)
    guard case .notCovered = await lookup.coverage(of: "127.0.0.99", domain: "bounce.test-zone.example") else {
      Issue.record("an IP outside the record is covered")
      return
    }
  }
}
