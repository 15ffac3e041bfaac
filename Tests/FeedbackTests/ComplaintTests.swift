import Feedback
import Testing

@Suite struct ComplaintTests {
  static func arf(_ fields: String, type: String = "message/feedback-report", extra: String = "") -> String {
    """
    From: fbl@mailbox.example
    To: fbl@out.example
    Subject: FW: News
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=feedback-report; boundary="b1"

    --b1
    Content-Type: text/plain

    This is an email abuse report.

    --b1
    Content-Type: \(type)

    \(fields)

    --b1
    \(extra)Content-Type: message/rfc822

    Return-Path: <bounce+token@out.example>
    Message-ID: <token@out.example>
    To: redacted@mailbox.example
    From: news@out.example
    List-Unsubscribe: <https://u.example/1>
    CFBL-Feedback-ID: 111:222

    Hello
    --b1--
    """
  }

  private static let fields = """
    Feedback-Type: abuse
    User-Agent: Mailbox-FBL/1.0
    Version: 1
    Original-Mail-From: <bounce+token@out.example>
    Original-Rcpt-To: <cat@mailbox.example>
    Original-Rcpt-To: <dog@mailbox.example>
    Arrival-Date: Tue, 24 Nov 2026 10:00:00 +0000
    Reported-Domain: Out.example
    Source-IP: 192.0.2.1
    """

  @Test(arguments: Mail.ends) func anARFReportIsRead(_ end: String) throws {
    let feedback = FeedbackReport.read(Mail.octets(Self.arf(Self.fields), end: end))
    #expect(feedback.kind == .complaint && !feedback.isBounce)
    let complaint = try #require(feedback.complaint)
    #expect(complaint.type == "abuse")
    #expect(complaint.originalRecipients == ["cat@mailbox.example", "dog@mailbox.example"])
    #expect(complaint.originalSender == "bounce+token@out.example")
    #expect(complaint.reportedDomains == ["out.example"])
    #expect(complaint.sourceIP == "192.0.2.1")
    #expect(feedback.returned.messageID == "<token@out.example>")
    #expect(feedback.hints.first == .returnPath("bounce+token@out.example"))
    #expect(feedback.hints.contains(.cfblFeedbackID("111:222")))
  }

  @Test(arguments: ["abuse", "fraud", "virus", "other", "not-spam", "auth-failure", "opt-out", "miscategorized"])
  func theTypeIsTold(_ type: String) {
    let mail = Self.arf(Self.fields.replacing("Feedback-Type: abuse", with: "Feedback-Type: \(type.uppercased())"))
    #expect(Mail.read(mail).complaint?.type == type)
  }

  @Test func aReportWhosePartLostItsTypeIsStillOne() {
    #expect(Mail.read(Self.arf(Self.fields, type: "text/plain")).complaint?.originalRecipients.first == "cat@mailbox.example")
  }

  @Test func xarfTellsItsTypeInJSON() {
    let json = "Content-Type: application/json; name=xarf.json\n\n{\"Version\": \"2\", \"Report\": {\"ReportType\": \"Spam\"}}\n--b1\n"
    #expect(Mail.read(Self.arf("Feedback-Type: xarf\nUser-Agent: X\nVersion: 1", extra: json)).complaint?.type == "abuse")
  }

  @Test func outlookSendsTheMessageOnly() {
    let mail = """
      From: staff@hotmail.com
      Subject: complaint about message from 192.0.2.1
      MIME-Version: 1.0
      Content-Type: multipart/mixed; boundary=j

      --j
      Content-Type: message/rfc822

      X-HmXmrOriginalRecipient: cat@outlook.example
      Return-Path: bounce+token@out.example
      Message-ID: <token@out.example>
      From: news@out.example
      To: cat@outlook.example

      Hello
      --j--
      """
    let feedback = Mail.read(mail)
    #expect(feedback.kind == .complaint)
    #expect(feedback.complaint?.originalRecipients == ["cat@outlook.example"])
    #expect(feedback.returned.messageID == "<token@out.example>")
  }

  private static let sns = """
    {"notificationType":"KIND","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"cat@example.net",\
    "action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]},"complaint":{"complaintFeedbackType":"abuse",\
    "complainedRecipients":[{"emailAddress":"cat@example.net"}]},"mail":{"commonHeaders":{"messageId":"<token@out.example>"}}}
    """

  @Test func amazonTellsByJSON() {
    func mail(_ kind: String) -> String {
      "From: no-reply@sns.amazonaws.example\nContent-Type: text/plain\n\n\(Self.sns.replacing("KIND", with: kind))\n--\nIf you wish to stop"
    }
    let bounce = Mail.read(mail("Bounce"))
    #expect(bounce.kind == .bounce && bounce.recipients.first?.hardness == .hard && bounce.recipients.first?.status == "5.1.1")
    let complaint = Mail.read(mail("Complaint"))
    #expect(complaint.complaint?.type == "abuse" && complaint.returned.messageID == "<token@out.example>")
  }
}
