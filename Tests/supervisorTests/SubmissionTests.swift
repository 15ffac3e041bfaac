import MailModel
import SMTPProtocol
import Testing
@testable import supervisor

/// What is read of a submitted message, and by what it is known again.
@Suite struct SubmissionUnitTests {
  static let plain = "From: A <a@b.example>\r\nSubject: x\r\n\r\nhi\r\n"

  func message(_ text: String) throws(SMTPRefusal) -> SubmittedMessage { try SubmittedMessage(Array(text.utf8)) }

  static let broken: [(String, Int)] = [
    ("", 554), ("\r\nhi\r\n", 554), (" x\r\nFrom: a@b.example\r\n\r\n", 554), ("From a@b.example\r\n\r\n", 554),
    ("Subject: x\r\n\r\n", 554),
    ("From: a@b.example, c@d.example\r\n\r\n", 554), ("From: a@b.example\r\nFrom: a@b.example\r\n\r\n", 554), ("From: nobody\r\n\r\n", 554),
    (String(repeating: "Received: x\r\n", count: 51) + plain, 554), (String(repeating: "X: y\r\n", count: 1002) + plain, 554),
    // A second author, as another program may see one.
    ("From: a@b.example (x), Boss <c@d.example> (y)\r\n\r\n", 554), ("From: c@d.example, x <a@b.example>\r\n\r\n", 554),
    ("From: Team:c@d.example;, <a@b.example>\r\n\r\n", 554), ("From: c@d.example (<a@b.example>\r\n\r\n", 554),
    ("From: c@d.example <a@b.example>\r\n\r\n", 554), ("From: <a@b.example> <c@d.example>\r\n\r\n", 554),
    ("From: \"x <a@b.example>\r\n\r\n", 554), ("From: x\u{2C}\u{338}c@d.example <a@b.example>\r\n\r\n", 554),
    ("From: =?utf-8?Q?c=40d.example=00?=@b.example\r\n\r\n", 554), ("From: c\u{FF20}d.example@b.example\r\n\r\n", 554),
    ("From: x=?utf-8?q?=3Cc=40d.example=3E?=@b.example\r\n\r\n", 554),
    ("From: <c@d.\u{FE0F}b.example>\r\n\r\n", 554), ("From: <c@d.example\u{FF20}x.b.example>\r\n\r\n", 554),
    ("From: <c@\u{FF44}.b.example>\r\n\r\n", 554), ("From: <c@d\u{3002}b.example>\r\n\r\n", 554),
    ("From: a@b.example x\r\n\r\n", 554),
    ("X: " + String(repeating: "y", count: 300_000) + "\r\n" + plain, 554),
  ]

  @Test(arguments: broken.indices) func brokenMessages(index: Int) {
    let (text, code) = Self.broken[index]
    do throws(SMTPRefusal) {
      _ = try message(text)
      #expect(Bool(false), "\(text.prefix(40).debugDescription) was taken")
    } catch { #expect(error.reply.code == code) }
  }

  @Test(arguments: [
    "a@b.example", "A <a@b.example>", "a@b.example (A B)", "\"B, A\"\r\n <a@b.example>", "=?utf-8?q?=C3=BC?= <a@b.example>",
    "a@b.example <a@b.example>", "\"\" <a@b.example>",
    "\"c@d.example, (\\\"x\" J. Q. Public <a@b.example> (note (nested) \\) here)", "(before) Grüße <a@b.example>",
  ])
  func authors(from: String) throws {
    #expect(try message("From: \(from)\r\n\r\nx").author.address.description == "a@b.example")
  }

  @Test func senderFieldsAreReadOrLeftOut() throws {
    let read = try message("From: a@b.example\r\nSender: S <s@c.example>\r\nResent-From: root@localhost\r\nSENDER:\r\n\r\nx")
    #expect(read.authorDomains == ["b.example", "c.example"])
    let left = String(decoding: read.complete(id: "ID", host: "h.example", now: 0), as: UTF8.self)
    #expect(left.contains("\r\nSender: S <s@c.example>\r\n") && !left.contains("root@localhost") && !left.contains("SENDER"))
  }

  @Test func whatLeavesIsWhatCame() throws {
    let text =
      "From: a@b.example\r\nBCC: s@t.example,\r\n u@t.example\r\nX-Owlat-Deduplication: off\r\nMessage-ID: <i@b.example>\r\n\r\nbody"
    let sent = String(decoding: try message(text).complete(id: "ID", host: "h.example", now: 0), as: UTF8.self)
    #expect(
      sent == "Received: by h.example (Owlat MTA) with ESMTPSA id ID;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"
        + "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: a@b.example\r\nMessage-ID: <i@b.example>\r\n\r\nbody")
    #expect(try message(text).messageIDField == "<i@b.example>")
  }

  @Test func identities() throws {
    func identity(_ text: String = Self.plain, _ parameters: [String: String] = [:], _ organisation: String = "o") throws
      -> SubmissionIdentity
    {
      try SubmissionIdentity(organisation: organisation, message: try message(text), parameters: parameters)
    }
    let a = try #require(EmailAddress("a@b.example"))
    let shouted = try #require(EmailAddress("A@b.example"))
    let other = try #require(EmailAddress("c@b.example"))
    let content = try identity()
    #expect(try identity() == content && identity(Self.plain, [:], "p") != content && identity(Self.plain + "x") != content)
    #expect(content.attemptID(a) == nil)
    #expect(content.messageID(a) == content.messageID(shouted) && content.messageID(a) != content.messageID(other))
    let keyed = try identity(Self.plain, ["XOWLATID": "k"])
    let changed = try identity(Self.plain + "x", ["XOWLATID": "k"])
    #expect(keyed.attemptID(a) == changed.attemptID(a) && keyed.messageID(a) != changed.messageID(a))
    #expect(try identity(Self.plain, ["XOWLATID": "k"], "p").attemptID(a) != keyed.attemptID(a))
    #expect(try identity(Self.plain, ["XOWLATDEDUP": "OFF"]) != identity(Self.plain, ["XOWLATDEDUP": "off"]))
    #expect(try identity(Self.plain, ["XOWLATID": "k", "XOWLATDEDUP": "OFF"]) == keyed)
    let field = "X-Owlat-Idempotency-Key: k\r\n" + Self.plain
    #expect(try identity(field).attemptID(a) == keyed.attemptID(a))
    #expect(throws: SMTPRefusal.self) { try identity(field, ["XOWLATID": "other"]) }
    #expect(throws: SMTPRefusal.self) { try identity("X-Owlat-Deduplication: off\r\n" + Self.plain, ["XOWLATDEDUP": "ON"]) }
    #expect(throws: SMTPRefusal.self) { try identity("X-Owlat-Deduplication: perhaps\r\n" + Self.plain) }
  }

  @Test func wrongPasswordsAreForgottenInTime() {
    let failures = AuthenticationFailures()
    for minute in 0..<10 {
      #expect(!failures.isBlocked("p", now: Int64(minute) * 60_000))
      failures.note("p", now: Int64(minute) * 60_000)
    }
    #expect(failures.isBlocked("p", now: 9 * 60_000) && !failures.isBlocked("q", now: 9 * 60_000))
    #expect(!failures.isBlocked("p", now: 15 * 60_000 + 1))
  }
}
