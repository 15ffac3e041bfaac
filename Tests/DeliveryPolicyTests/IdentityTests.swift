import Foundation
import MailModel
import Testing

@testable import DeliveryPolicy

@Suite struct IdentityTests {
  static func identity(
    ptr: IPIdentity.Answer, _ forward: [String: IPIdentity.Answer] = [:], ip: String = "203.0.113.7", ehlo: String = "a.example.net",
    isRequired: Bool = true, now: Int64 = 1
  ) -> IPIdentity {
    IPIdentity(ip: ip, ehlo: ehlo, pointer: ptr, forward: forward, isRequired: isRequired, now: now)
  }

  static let here = IPIdentity.Answer.found(["203.0.113.7"])
  static let elsewhere = IPIdentity.Answer.found(["203.0.113.99"])

  struct Case: Sendable {
    var name: String
    var ptr: IPIdentity.Answer
    var forward: [String: IPIdentity.Answer] = [:]
    var verdict: IPIdentity.Verdict
    var reason: IPIdentity.Reason?
    /// PTR exists, is full, is confirmed, is the greeting.
    var checks: [Bool]
  }

  static let cases: [Case] = [
    Case(
      name: "all well", ptr: .found(["a.example.net"]), forward: ["a.example.net": here], verdict: .pass, checks: [true, true, true, true]),
    Case(
      name: "case and last dot", ptr: .found(["A.Example.NET."]), forward: ["a.example.net": here], verdict: .pass,
      checks: [true, true, true, true]),
    Case(
      name: "one of several", ptr: .found(["b.example.net", "a.example.net"]),
      forward: ["b.example.net": elsewhere, "a.example.net": here],
      verdict: .pass, checks: [true, true, true, true]),
    Case(
      name: "passes beside an error", ptr: .found(["b.example.net", "a.example.net"]),
      forward: ["b.example.net": .failed("x"), "a.example.net": here], verdict: .pass, checks: [true, true, true, true]),
    Case(name: "no PTR", ptr: .nothing, verdict: .fail, reason: .noPTR, checks: [false, false, false, false]),
    Case(name: "empty PTR", ptr: .found([]), verdict: .fail, reason: .noPTR, checks: [false, false, false, false]),
    Case(name: "one label", ptr: .found(["localhost"]), verdict: .fail, reason: .ptrNotFQDN, checks: [true, false, false, false]),
    Case(name: "an address", ptr: .found(["203.0.113.7"]), verdict: .fail, reason: .ptrNotFQDN, checks: [true, false, false, false]),
    Case(
      name: "leads elsewhere", ptr: .found(["a.example.net"]), forward: ["a.example.net": elsewhere], verdict: .fail,
      reason: .forwardMismatch, checks: [true, true, false, false]),
    Case(
      name: "leads nowhere", ptr: .found(["a.example.net"]), forward: ["a.example.net": .nothing], verdict: .fail,
      reason: .forwardMismatch, checks: [true, true, false, false]),
    Case(
      name: "another name", ptr: .found(["b.example.net"]), forward: ["b.example.net": here], verdict: .fail, reason: .ehloMismatch,
      checks: [true, true, true, false]),
    Case(name: "PTR not answered", ptr: .failed("x"), verdict: .error, reason: .lookupError, checks: [false, false, false, false]),
    Case(
      name: "forward not answered", ptr: .found(["a.example.net"]), forward: ["a.example.net": .failed("x")], verdict: .error,
      reason: .lookupError, checks: [true, true, false, false]),
    Case(
      name: "the greeting's name not answered", ptr: .found(["b.example.net", "a.example.net"]),
      forward: ["b.example.net": here, "a.example.net": .failed("x")], verdict: .error, reason: .lookupError,
      checks: [true, true, true, false]),
  ]

  @Test(arguments: cases.indices)
  func verdict(index: Int) {
    let row = Self.cases[index]
    let found = Self.identity(ptr: row.ptr, row.forward)
    #expect(found.verdict == row.verdict, "\(row.name)")
    #expect(found.reason == row.reason, "\(row.name)")
    let checks = found.checklist
    #expect([checks.ptrExists, checks.ptrIsFqdn, checks.forwardConfirmed, checks.ehloMatches] == row.checks, "\(row.name)")
    // The override turns failures into warnings and nothing else.
    let lenient = Self.identity(ptr: row.ptr, row.forward, isRequired: false)
    #expect(lenient.verdict == (row.verdict == .fail ? .warn : row.verdict))
    #expect(lenient.overridden == (row.verdict == .fail))
    #expect(lenient.reason == row.reason)
  }

  @Test func IPv6IsComparedAsAnAddress() {
    let found = Self.identity(
      ptr: .found(["a.example.net"]), ["a.example.net": .found(["2001:0db8:0:0:0:0:0:7"])], ip: "2001:db8::7")
    #expect(found.verdict == .pass)
  }

  @Test(arguments: [
    ("static.203-0-113-7.isp.example", true), ("7.113.0.203.dyn.isp.example", true), ("h203.0.113.7x.isp.example", true),
    ("mail7.isp.example", false), ("mx-113-7.isp.example", false),
  ])
  func genericNames(name: String, isGeneric: Bool) {
    let found = Self.identity(ptr: .found([name]), [name: Self.here], ehlo: name)
    #expect(found.genericPTR == isGeneric)
    #expect(found.verdict == (isGeneric ? .warn : .pass))
  }

  // MARK: over time

  static let good = IPIdentity.Answer.found(["a.example.net"])

  @Test func aTemporaryErrorPreservesTheVerdict() throws {
    var state = IdentityState()
    func check(_ ptr: IPIdentity.Answer, _ now: Int64, isRequired: Bool = true, spf: SPFCoverage? = nil) -> [IdentityEffect] {
      let fresh = Self.identity(ptr: ptr, ["a.example.net": Self.here], isRequired: isRequired, now: now)
      return state.apply(fresh, spf: spf, isRequired: isRequired, now: now)
    }
    // Never measured: eligible.
    #expect(check(.failed("x"), 1) == [])
    #expect(state.identity?.verdict == .error && !state.isPulled && state.errorAt == 1)
    #expect(check(Self.good, 2) == [])
    #expect(state.identity?.verdict == .pass && state.errorAt == nil)
    #expect(check(.failed("x"), 3) == [])
    #expect(state.identity?.verdict == .pass && state.identity?.checkedAt == 2 && state.errorAt == 3)
    #expect(check(.nothing, 4) == [.pull(ip: "203.0.113.7", reason: "identity: no PTR record", since: 4)])
    #expect(check(.failed("x"), 5) == [])
    #expect(state.isPulled && state.identity?.reason == .noPTR)
    let kept = try JSONDecoder().decode(IdentityState.self, from: JSONEncoder().encode(state))
    #expect(kept == state && kept.pulledSince == 4)
    #expect(check(.nothing, 6) == [])
    #expect(check(Self.good, 7) == [.restoreThroughProbation(ip: "203.0.113.7", since: 7)])
    #expect(state.restoredAt == 7)
  }

  @Test func withoutTheRequirementFaultsWarnOnce() {
    var state = IdentityState()
    let fresh = Self.identity(ptr: .nothing, isRequired: false)
    let warning = IdentityEffect.warning(ip: "203.0.113.7", text: "no PTR record")
    #expect(state.apply(fresh, spf: nil, isRequired: false, now: 1) == [warning])
    #expect(state.apply(fresh, spf: nil, isRequired: false, now: 2) == [])
    // Set back to true while DNS is silent: what was certain gates.
    let silent = Self.identity(ptr: .failed("x"))
    #expect(
      state.apply(silent, spf: nil, isRequired: true, now: 3)
        == [.pull(ip: "203.0.113.7", reason: "identity: no PTR record", since: 3)])
    #expect(
      state.apply(silent, spf: nil, isRequired: false, now: 4)
        == [.restoreThroughProbation(ip: "203.0.113.7", since: 4), warning])
  }

  /// (IP, what SPF says, pulled?)
  @Test(arguments: [
    ("203.0.113.7", SPFCoverage.covered, false), ("203.0.113.7", .notCovered("x"), false), ("2001:db8::7", .covered, false),
    ("2001:db8::7", .notCovered("x"), true), ("2001:db8::7", .unknown("x"), false),
  ])
  func SPFGatesOnlyIPv6(ip: String, spf: SPFCoverage, isPulled: Bool) {
    var state = IdentityState()
    let fresh = Self.identity(ptr: Self.good, ["a.example.net": .found([ip])], ip: ip)
    let effects = state.apply(fresh, spf: spf, isRequired: true, now: 1)
    #expect(state.isPulled == isPulled)
    #expect(effects.isEmpty == (spf == .covered || spf == .unknown("x")))
    // Unknown preserves it.
    _ = state.apply(fresh, spf: .unknown("y"), isRequired: true, now: 2)
    #expect(state.isPulled == isPulled)
    #expect(state.apply(fresh, spf: .covered, isRequired: true, now: 3).count == (isPulled ? 1 : 0))
    #expect(!state.isPulled)
  }
}
