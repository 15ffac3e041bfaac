import DNS
import DeliveryPolicy
import Foundation
import Logging
import MailModel
import Synchronization
import Testing

@testable import supervisor

@Suite struct IdentityMonitorTests {
  final class Script: Sendable {
    let answers: Mutex<[String: DNSAnswer]>
    let stored = Mutex<[String: IdentityState]>([:])
    let effects = Mutex<[IdentityEffect]>([])

    init(_ answers: [String: DNSAnswer]) { self.answers = Mutex(answers) }

    func set(_ key: String, _ answer: DNSAnswer?) { answers.withLock { $0[key] = answer } }

    func monitor(_ subjects: [IdentityMonitor.Subject], isRequired: Bool = true) -> IdentityMonitor {
      IdentityMonitor(
        settings: .init(subjects: subjects, returnPathDomain: "bounce.example", isRequired: isRequired),
        ports: .init(
          lookup: IdentityLookup { name, type in
            self.answers.withLock { $0["\(type) \(name)"] ?? DNSAnswer(status: .noSuchName) }
          }, load: { self.stored.withLock { $0 } }, store: { states in self.stored.withLock { $0 = states } },
          apply: { effects in self.effects.withLock { $0 += effects } }),
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
  }

  static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }

  static func found(_ records: [UInt8]...) -> DNSAnswer { DNSAnswer(status: .found, records: records) }

  /// Strings of at most 255 octets, as a TXT record has them.
  static func txt(_ strings: String...) -> DNSAnswer {
    found(strings.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) })
  }

  static let subject = IdentityMonitor.Subject(address: "10.0.0.7", publicAddress: "203.0.113.7", ehlo: "a.example.net")
  static let sane: [String: DNSAnswer] = [
    "ptr 7.113.0.203.in-addr.arpa": found(name("a.example.net")), "a a.example.net": found([203, 0, 113, 7]),
    // One record in two strings: nothing stands between them.
    "txt bounce.example": txt("v=spf1 ip4:203.0.1", "13.7 -all"),
  ]

  @Test func anIPWithItsNameAndCoveredBySPFPasses() async throws {
    let script = Script(Self.sane)
    let monitor = script.monitor([Self.subject])
    #expect(await monitor.rows().first?.identity == nil)
    await monitor.sweep(now: 5)
    let row = try #require(await monitor.rows().first)
    #expect(row.address == "10.0.0.7" && row.identity?.verdict == .pass && row.spf == .covered && row.pulledSince == nil)
    #expect(script.effects.withLock { $0 } == [])
    #expect(
      row.identity?.json
        == #"{"ip":"203.0.113.7","addressFamily":"ipv4","ehlo":"a.example.net","ptrNames":["a.example.net"],"#
        + #""checklist":{"ptrExists":true,"ptrIsFqdn":true,"forwardConfirmed":true,"ehloMatches":true},"#
        + #""verdict":"pass","genericPtr":false,"checkedAt":5,"overridden":false}"#
    )
  }

  @Test func aFailureGatesAnErrorPreservesAndAPassBringsBack() async {
    let script = Script(Self.sane)
    let monitor = script.monitor([Self.subject])
    await monitor.sweep(now: 1)
    script.set("ptr 7.113.0.203.in-addr.arpa", nil)
    await monitor.sweep(now: 2)
    #expect(script.effects.withLock { $0 } == [.pull(ip: "10.0.0.7", reason: "identity: no PTR record", since: 2)])
    #expect(await monitor.gates() == [Gate(scope: .ip, key: "10.0.0.7", reason: .identity, since: 2, until: nil)])
    script.set("ptr 7.113.0.203.in-addr.arpa", DNSAnswer(status: .unknown("rcode 2")))
    await monitor.sweep(now: 3)
    #expect(await monitor.gates().map(\.since) == [2])
    #expect(await monitor.rows().first?.errorAt == 3)
    // Another process, the same gate.
    let next = script.monitor([Self.subject])
    #expect(await next.gates().map(\.since) == [2])
    script.set("ptr 7.113.0.203.in-addr.arpa", Self.sane["ptr 7.113.0.203.in-addr.arpa"])
    await next.sweep(now: 4)
    #expect(script.effects.withLock { $0.last } == .restoreThroughProbation(ip: "10.0.0.7", since: 4))
    #expect(await next.gates().isEmpty)
  }

  @Test func withoutTheRequirementItOnlyWarns() async {
    let script = Script([:])
    let monitor = script.monitor([Self.subject], isRequired: false)
    await monitor.sweep(now: 1)
    await monitor.sweep(now: 2)
    #expect(
      script.effects.withLock { $0 } == [
        .warning(
          ip: "10.0.0.7", text: "no PTR record; SPF does not cover the IP: bounce.example has no SPF record")
      ])
    let row = await monitor.rows().first
    #expect(row?.identity?.verdict == .warn && row?.identity?.overridden == true)
  }

  @Test func IPv6WithoutSPFIsGated() async {
    let pointer = "ptr 7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    let script = Script([
      pointer: Self.found(Self.name("a.example.net")),
      "aaaa a.example.net": Self.found([0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]),
      "txt bounce.example": Self.txt("v=spf1 ip4:203.0.113.7 -all"),
    ])
    let monitor = script.monitor([.init(address: "2001:db8::7", publicAddress: "2001:db8::7", ehlo: "a.example.net")])
    await monitor.sweep(now: 1)
    #expect(await monitor.gates().map(\.reason) == [.identity])
    let spf = await monitor.rows().first?.spf
    #expect(
      spf?.json(domain: "bounce.example", checkedAt: 1)
        == #"{"domain":"bounce.example","verdict":"fail","reason":"missing-ip6-mechanism","checkedAt":1}"#)
    script.set("txt bounce.example", Self.txt("v=spf1 ip6:2001:db8::/64 -all"))
    await monitor.sweep(now: 2)
    #expect(await monitor.gates().isEmpty)
  }
}
