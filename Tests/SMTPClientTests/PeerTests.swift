import MailModel
import NIOCore
import SMTPClient
import SMTPServer
import Testing

/// Peers that are slow, silent, lying, rude or strange: what the client makes of each, with and without PIPELINING.
@Suite struct PeerTests {
  struct Peer: Sendable, CustomStringConvertible {
    var description: String
    var script: SinkScript
    /// `ok`, or the stage and the text of what kept the session from coming about.
    var opened = "ok"
    /// As ``ConnectionTests/spell(_:)`` writes it; one that ends in a space or a colon is a beginning.
    var outcome = ""
    /// Messages that the peer took.
    var taken = 0
  }

  static func atConnect(_ name: String, _ action: SinkAction, _ opened: String, outcome: String = "", taken: Int = 0) -> Peer {
    Peer(
      description: "greeting: \(name)", script: { if case .connect = $0 { action } else { nil } }, opened: opened, outcome: outcome,
      taken: taken)
  }

  static func atEHLO(_ name: String, _ action: SinkAction, _ opened: String, outcome: String = "", taken: Int = 0) -> Peer {
    Peer(
      description: "EHLO: \(name)", script: { if case .ehlo = $0 { action } else { nil } }, opened: opened, outcome: outcome,
      taken: taken)
  }

  static func atMAIL(_ name: String, _ action: SinkAction, _ outcome: String, taken: Int = 0) -> Peer {
    Peer(description: "MAIL: \(name)", script: { if case .mail = $0 { action } else { nil } }, outcome: outcome, taken: taken)
  }

  static func atRCPT(_ name: String, _ action: SinkAction, _ outcome: String, taken: Int = 0) -> Peer {
    Peer(description: "RCPT: \(name)", script: { if case .rcpt = $0 { action } else { nil } }, outcome: outcome, taken: taken)
  }

  static func atDATA(_ name: String, _ action: SinkAction, _ outcome: String, taken: Int = 0) -> Peer {
    Peer(description: "DATA: \(name)", script: { if case .data = $0 { action } else { nil } }, outcome: outcome, taken: taken)
  }

  static func atDot(_ name: String, _ action: SinkAction, _ outcome: String, taken: Int = 0) -> Peer {
    Peer(description: "dot: \(name)", script: { if case .message = $0 { action } else { nil } }, outcome: outcome, taken: taken)
  }

  static func raw(_ text: String) -> SinkAction { SinkAction(.raw(text)) }
  static func lines(_ lines: String...) -> SinkAction { SinkAction(.reply(lines)) }
  static let long = String(repeating: "a", count: 5000)

  static let peers: [Peer] = [
    atConnect("554", .reply("554 5.7.1 go away"), "greeting: 554 5.7.1 go away"),
    atConnect("550", .reply("550 no"), "greeting: 550 no"),
    atConnect("421", .reply("421 4.3.2 shutting down"), "greeting: 421 4.3.2 shutting down"),
    atConnect("450", .reply("450 4.7.1 try later"), "greeting: 450 4.7.1 try later"),
    atConnect("554 and gone", SinkAction(.replyAndClose(["554 no"])), "greeting: 554 no"),
    atConnect("a reply that is no greeting", .reply("250 hello"), "greeting: 250 hello"),
    atConnect("354", .reply("354 send"), "greeting: 354 send"),
    atConnect("several lines", lines("220-one", "220-two", "220 three"), "ok", outcome: "dot 250", taken: 1),
    atConnect("no text", raw("220\r\n"), "ok", outcome: "dot 250", taken: 1),
    atConnect("bare LF", raw("220 hello\n"), "ok", outcome: "dot 250", taken: 1),
    atConnect("late, in time", .reply("220 slow", after: .milliseconds(400)), "ok", outcome: "dot 250", taken: 1),
    atConnect("late, too late", .reply("220 slow", after: .milliseconds(1500)), "greeting: timed out at greeting"),
    atConnect("silence", SinkAction(.hang), "greeting: timed out at greeting"),
    atConnect("gone", SinkAction(.close), "greeting: connection closed at greeting"),
    atConnect("half a line", raw("220 hel"), "greeting: timed out at greeting"),
    atConnect("never ends its lines", raw("220-a\r\n220-b\r\n"), "greeting: timed out at greeting"),
    atConnect("another protocol", raw("SSH-2.0-OpenSSH\r\n"), "greeting: protocol violation at greeting: malformed reply: SSH-2.0-OpenSSH"),
    atConnect("HTTP", raw("HTTP/1.1 400 Bad Request\r\n\r\n"), "greeting: protocol violation at greeting: "),
    atConnect("two digits", raw("22 hello\r\n"), "greeting: protocol violation at greeting: "),
    atConnect("four digits", raw("2200 hello\r\n"), "greeting: protocol violation at greeting: "),
    atConnect("an empty line", raw("\r\n"), "greeting: protocol violation at greeting: "),
    atConnect("codes that change within", raw("220-a\r\n550 b\r\n"), "greeting: protocol violation at greeting: "),
    atConnect(
      "endless line", raw(String(repeating: "x", count: 200_000)), "greeting: protocol violation at greeting: the reply is too long"),
    atConnect(
      "endless lines", raw(String(repeating: "220-more\r\n", count: 5000)),
      "greeting: protocol violation at greeting: the reply is too long"),
    atConnect("zeros and bells", raw("554 \u{0}\u{7}no\r\n"), "greeting: 554 ??no"),
    atConnect("broken UTF-8 is data", raw("554 caf\u{e9}\r\n"), "greeting: 554 café"),

    atEHLO("550", .reply("550 no"), "ehlo: 550 no"),
    atEHLO("421", .reply("421 busy"), "ehlo: 421 busy"),
    atEHLO("silence", SinkAction(.hang), "ehlo: timed out at ehlo"),
    atEHLO("gone", SinkAction(.close), "ehlo: connection closed at ehlo"),
    atEHLO("gone with a word", SinkAction(.replyAndClose(["421 bye"])), "ehlo: 421 bye"),
    atEHLO("garbage", raw("what?\r\n"), "ehlo: protocol violation at ehlo: malformed reply: what?"),
    atEHLO("unknown, HELO too", .reply("502 what?"), "ehlo: 502 what?"),
    atEHLO("no extensions", .reply("250 hello"), "ok", outcome: "dot 250", taken: 1),
    atEHLO("odd extensions", lines("250-x", "250-", "250-SIZE x", "250-SIZE", "250 X-Y Z"), "ok", outcome: "dot 250", taken: 1),
    atEHLO("a SIZE that is too small", lines("250-x", "250 SIZE 5"), "ok", outcome: "unsupported SIZE 5"),
    atEHLO("SIZE 0 is no limit", lines("250-x", "250 SIZE 0"), "ok", outcome: "dot 250", taken: 1),
    atEHLO(
      "STARTTLS that is not there", lines("250-x", "250 STARTTLS"), "starttls: 500 5.5.2 not understood"),

    atMAIL("451", .reply("451 4.7.1 later"), "mail 451"),
    atMAIL("421", .reply("421 4.7.0 too many"), "mail 421"),
    atMAIL("452", .reply("452 4.3.1 full"), "mail 452"),
    atMAIL("550", .reply("550 5.7.1 no"), "mail 550"),
    atMAIL("552", .reply("552 5.3.4 too large"), "mail 552"),
    atMAIL("555", .reply("555 5.5.4 parameters"), "mail 555"),
    atMAIL("silence", SinkAction(.hang), "lost timed out at mail"),
    atMAIL("gone", SinkAction(.close), "lost connection closed at "),
    atMAIL("421 and gone", SinkAction(.replyAndClose(["421 4.3.2 bye"])), "mail 421"),
    atMAIL("garbage", raw("huh\r\n"), "lost protocol violation at "),
    atMAIL("late, in time", .reply("250 ok", after: .milliseconds(300)), "dot 250", taken: 1),

    atRCPT("550", .reply("550 5.1.1 unknown"), "rcpt 550"),
    atRCPT("551", .reply("551 elsewhere"), "rcpt 551"),
    atRCPT("553", .reply("553 5.1.3 name"), "rcpt 553"),
    atRCPT("450", .reply("450 4.2.0 greylisted"), "rcpt 450"),
    atRCPT("452", .reply("452 4.2.2 full"), "rcpt 452"),
    atRCPT("421", .reply("421 4.7.0 too many"), "rcpt 421"),
    atRCPT("251 forwards", .reply("251 will forward"), "dot 250", taken: 1),
    atRCPT("252 cannot verify", .reply("252 will try"), "dot 250", taken: 1),
    atRCPT("several lines", lines("550-5.1.1 unknown", "550-5.1.1 see", "550 5.1.1 http://x"), "rcpt 550"),
    atRCPT("silence", SinkAction(.hang), "lost timed out at rcpt"),
    atRCPT("gone", SinkAction(.close), "lost connection closed at "),
    atRCPT("a word too many", raw("250 ok\r\n250 ok again\r\n"), "data 250"),

    atDATA("451", .reply("451 4.3.0 no"), "data 451"),
    atDATA("421", .reply("421 4.3.2 bye"), "data 421"),
    atDATA("554", .reply("554 5.5.1 no recipients"), "data 554"),
    atDATA("silence", SinkAction(.hang), "lost timed out at data"),
    atDATA("gone", SinkAction(.close), "lost connection closed at "),
    atDATA("garbage", raw("go\r\n"), "lost protocol violation at "),

    atDot("250 with several lines", lines("250-2.0.0 ok", "250 2.0.0 queued"), "dot 250", taken: 1),
    atDot("251", .reply("251 ok"), "dot 251", taken: 1),
    atDot("421", .reply("421 4.3.2 bye"), "dot 421"),
    atDot("450", .reply("450 4.7.1 later"), "dot 450"),
    atDot("452", .reply("452 4.3.1 disk"), "dot 452"),
    atDot("550", .reply("550 5.7.1 spam"), "dot 550"),
    atDot("552", .reply("552 5.2.2 over quota"), "dot 552"),
    atDot("554", .reply("554 5.6.0 content"), "dot 554"),
    atDot("354 again", .reply("354 what"), "dot 354", taken: 1),
    atDot("gone", SinkAction(.close), "uncertain connection closed at dot"),
    atDot("silence", SinkAction(.hang), "uncertain timed out at dot"),
    atDot("too late", .reply("250 ok", after: .milliseconds(1800)), "uncertain timed out at dot"),
    atDot("half a reply", raw("250 o"), "uncertain timed out at dot"),
    atDot("garbage", raw("thanks\r\n"), "uncertain protocol violation at dot: malformed reply: thanks"),
    atDot("late, in time", .reply("250 ok", after: .milliseconds(500)), "dot 250", taken: 1),
  ]

  @Test(arguments: peers) func isTakenForWhatItIs(peer: Peer) async throws {
    for extensions in [["PIPELINING"], []] {
      let result = try await ConnectionTests.Rig().run(script: peer.script, extensions: extensions)
      #expect(Self.isLike(result.opened, peer.opened), "\(peer) \(extensions): \(result.opened)")
      let outcome = result.outcomes.map(ConnectionTests.spell).joined()
      #expect(Self.isLike(outcome, peer.outcome), "\(peer) \(extensions): \(outcome)")
      #expect(result.took.count == peer.taken, "\(peer) \(extensions)")
    }
  }

  @Test func thereAreSixtyAtLeast() { #expect(Self.peers.count >= 60) }

  private static func isLike(_ text: String, _ expected: String) -> Bool {
    expected.hasSuffix(" ") ? text.hasPrefix(expected) : text == expected
  }
}
