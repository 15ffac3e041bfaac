import MailModel
import SMTPProtocol
import Testing

/// The server's side of dialogues, line by line.
@Suite struct ServerSessionTests {
  static let commands: [(String, SMTPCommand?)] = [
    ("EHLO a.example", .ehlo("a.example")), ("ehlo [192.0.2.1]", .ehlo("[192.0.2.1]")), ("EHLO", nil), ("HELO a b", nil),
    ("MAIL FROM:<>", .mail(address: "", parameters: [:])),
    (
      "mail from:<a@b.example> SIZE=5 body=8bitmime",
      .mail(address: "a@b.example", parameters: ["SIZE": "5", "BODY": "8bitmime"])
    ),
    ("MAIL FROM: <a@b.example>", .mail(address: "a@b.example", parameters: [:])), ("MAIL FROM:a@b.example", nil),
    ("MAIL FROM:<a@b.example>SIZE=5", nil), ("MAIL FROM:<a@b.example> SIZE=5 SIZE=6", nil), ("MAIL TO:<a@b.example>", nil),
    ("MAIL FROM:<a b@c.example>", nil), ("MAIL FROM:<a@b@c.example>", nil),
    (
      "MAIL FROM:<@x,@y:a@b.example>",
      .mail(address: "a@b.example", parameters: [:])
    ),
    ("RCPT TO:<\"a>b\"@c.example>", .rcpt(address: "\"a>b\"@c.example", parameters: [:])), ("RCPT TO:<>", nil),
    ("RCPT TO:<Postmaster>", .rcpt(address: "Postmaster", parameters: [:])),
    (
      "RCPT TO:<a@[192.0.2.1]>",
      .rcpt(address: "a@[192.0.2.1]", parameters: [:])
    ),
    ("RCPT TO:<a>", nil), ("RCPT TO:<a@b..example>", nil), ("RCPT TO:<a@b.example", nil),
    ("RCPT TO:<\(String(repeating: "x", count: 65))@b.example>", nil), ("DATA", .data), ("DATA now", nil), ("NOOP whatever", .noop),
    ("AUTH plain AGE=", .auth(mechanism: "PLAIN", initial: "AGE=")), ("AUTH", nil), ("BDAT 5", .unimplemented),
    ("GET / HTTP/1.1", .unknown),
    ("NOOP\u{1}", nil), ("", .unknown),
  ]

  @Test(arguments: commands) func forms(line: String, command: SMTPCommand?) {
    #expect((try? SMTPCommand.parse(Array(line.utf8))) == command)
  }

  @Test func brokenUTF8IsNoCommand() { #expect(throws: SMTPRefusal.self) { try SMTPCommand.parse([0x4E, 0xFF]) } }

  /// Runs lines as a connection would, with a receiver that takes addresses at `b.example` and the password `right`; answers
  /// the codes.
  func run(_ session: inout SMTPServerSession, _ lines: [String]) -> [String] {
    lines.map { line in
      var step = session.receive(Array(line.utf8))
      while true {
        switch step {
        case .reply(let reply): return "\(reply.code)"
        case .replyAndClose(let reply): return "\(reply.code)!"
        case .askSender: step = session.senderAnswered(nil)
        case .askRecipient(let address):
          step = session.recipientAnswered(address.hasSuffix("@b.example") ? nil : SMTPReply(code: 550, lines: ["5.1.1 no"]))
        case .authenticate(_, let password):
          step = session.authenticated(password == "right" ? nil : SMTPReply(code: 535, lines: ["5.7.8 no"]))
        case .beginContent:
          _ = session.contentEnded()
          return "354"
        case .startTLS:
          session.tlsEstablished("TLSv1.3")
          return "220"
        }
      }
    }
  }

  func policy(_ change: (inout SMTPServerPolicy) -> Void = { _ in }) -> SMTPServerPolicy {
    var policy = SMTPServerPolicy(hostName: "mx.example", banner: "mx.example ready")
    change(&policy)
    return policy
  }

  @Test func orderOfCommands() {
    var session = SMTPServerSession(policy())
    let dialogue = [
      ("MAIL FROM:<a@b.example>", "503"), ("RCPT TO:<u@b.example>", "503"), ("DATA", "503"), ("EHLO me", "250"), ("STARTTLS", "502"),
      ("AUTH PLAIN AGE=", "502"), ("RCPT TO:<u@b.example>", "503"), ("MAIL FROM:<>", "250"), ("MAIL FROM:<>", "503"), ("DATA", "554"),
      ("RCPT TO:<u@c.example>", "550"), ("RCPT TO:<u@b.example> NOTIFY=NEVER", "555"), ("RCPT TO:<u@b.example>", "250"), ("DATA", "354"),
      ("DATA", "503"), ("MAIL FROM:<> SIZE=99999999", "552"), ("MAIL FROM:<> RET=HDRS", "555"), ("MAIL FROM:<ü@b.example>", "553"),
      ("MAIL FROM:<ü@b.example> SMTPUTF8", "250"), ("RCPT TO:<ä@b.example>", "250"), ("RSET", "250"), ("DATA", "503"), ("VRFY x", "252"),
      ("EXPN x", "502"), ("HELP", "214"), ("NOOP", "250"), ("QUIT", "221!"),
    ]
    #expect(run(&session, dialogue.map(\.0)) == dialogue.map(\.1))
  }

  @Test func limitsOfASession() {
    var few = SMTPServerSession(policy { $0.maxBadCommands = 2 })
    #expect(run(&few, ["x", "x", "x"]) == ["500", "500", "421!"])
    var short = SMTPServerSession(policy { $0.maxCommands = 2 })
    #expect(run(&short, ["NOOP", "NOOP", "NOOP"]) == ["250", "250", "421!"])
    var lone = SMTPServerSession(
      policy {
        $0.maxRecipients = 1; $0.maxTransactions = 1
      })
    let lines = ["EHLO me", "MAIL FROM:<>", "RCPT TO:<u@b.example>", "RCPT TO:<v@b.example>", "DATA", "MAIL FROM:<>"]
    #expect(run(&lone, lines) == ["250", "250", "250", "452", "354", "452"])
  }

  @Test func submissionWantsTLSAndAKey() {
    var session = SMTPServerSession(
      policy {
        $0.offersTLS = true
        $0.requiresTLS = true
        $0.requiresAuthentication = true
        $0.parameters = ["XOWLATID"]
      })
    let plain = "AGEAcmlnaHQ="  // \0a\0right
    let wrong = "AGEAd3Jvbmc="
    let dialogue = [
      ("EHLO me", "250"), ("MAIL FROM:<a@b.example>", "530"), ("AUTH PLAIN \(plain)", "538"), ("STARTTLS", "220"),
      ("AUTH PLAIN \(plain)", "503"), ("EHLO me", "250"), ("STARTTLS", "503"), ("MAIL FROM:<a@b.example>", "530"),
      ("AUTH PLAIN \(wrong)", "535"), ("AUTH CRAM-MD5", "504"), ("AUTH PLAIN", "334"), ("*", "501"), ("AUTH PLAIN", "334"), ("!!", "501"),
      ("AUTH LOGIN", "334"), ("YQ==", "334"), ("cmlnaHQ=", "235"), ("AUTH PLAIN \(plain)", "503"),
      ("MAIL FROM:<a@b.example> XOWLATID=k1", "250"), ("RCPT TO:<u@b.example>", "250"),
    ]
    #expect(run(&session, dialogue.map(\.0)) == dialogue.map(\.1))
    #expect(session.transaction?.parameters["XOWLATID"] == "k1")
    guard case .reply(let hello) = session.receive(Array("EHLO me".utf8)) else { return #expect(Bool(false)) }
    #expect(hello.lines.contains("AUTH PLAIN LOGIN") && hello.lines.contains("XOWLATID") && !hello.lines.contains("STARTTLS"))
  }
}
