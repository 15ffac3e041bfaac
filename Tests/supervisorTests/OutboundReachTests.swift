import MailModel
import Testing

@testable import supervisor

/// What attempts prove of an IP's way out.
@Suite struct OutboundReachTests {
  static func result(_ kind: AttemptResult.Kind, _ host: String, at: Milliseconds, _ text: String? = nil) -> AttemptResult {
    var result = AttemptResult(kind: kind, sourceIP: "192.0.2.1", at: at)
    result.host = host
    result.text = text
    result.stage = kind == .connectionFailed ? .connect : .rcpt
    if kind == .replied { result.reply = SMTPReply(code: 550, lines: ["5.1.1 no"]) }
    return result
  }

  @Test func onlySeveralSilentHostsProveThatThereIsNoWayOut() {
    let reach = OutboundReach()
    #expect(reach.row("192.0.2.1", now: 1) == nil)
    for at in 1...5 { reach.note(Self.result(.connectionFailed, "a.example", at: Milliseconds(at), "timed out at connect")) }
    #expect(reach.row("192.0.2.1", now: 10) == nil, "one host may be dead")
    reach.note(Self.result(.connectionFailed, "b.example", at: 6, "connection failed: Connection refused (errno: 111)"))
    #expect(reach.row("192.0.2.1", now: 10) == .init(works: false, reason: "connection_refused", at: 6))
    reach.note(Self.result(.replied, "c.example", at: 7))
    #expect(reach.row("192.0.2.1", now: 10) == .init(works: true, reason: nil, at: 7), "a refusal is an answer")
    #expect(reach.row("192.0.2.1", now: 7 + OutboundReach.memory) == nil)
    #expect(reach.row("192.0.2.2", now: 10) == nil)
  }

  /// What never got to a server, or broke off behind its greeting, says nothing.
  @Test func whatSaysNothing() {
    let reach = OutboundReach()
    for host in ["a.example", "b.example", "c.example"] {
      reach.note(Self.result(.unbegun, host, at: 1))
      var broken = Self.result(.connectionFailed, host, at: 1, "connection closed at greeting")
      broken.stage = .greeting
      reach.note(broken)
    }
    #expect(reach.row("192.0.2.1", now: 2) == nil)
  }

  @Test(arguments: [
    ("timed out at connect", "timeout"), ("connection failed: Connection refused (errno: 111)", "connection_refused"),
    ("connection failed: Network is unreachable (errno: 101)", "network_unreachable"), ("connection failed: ?", "connection_error"),
  ])
  func reasons(text: String, reason: String) { #expect(OutboundReach.reason(text) == reason) }
}
