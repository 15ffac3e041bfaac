internal import Foundation

/// Mails that others write about ours.
package enum ReturnedMail {
  /// A delivery report (RFC 3464).
  package static func bounce(
    recipient: String, action: String = "failed", status: String = "5.1.1", diagnostic: String = "550 5.1.1 no such user",
    messageID: String? = nil
  ) -> String {
    """
    From: MAILER-DAEMON@mx.remote.example
    Subject: Undelivered Mail Returned to Sender
    Auto-Submitted: auto-replied
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=delivery-status; boundary="b"

    --b
    Content-Type: text/plain

    Your mail could not be delivered.
    --b
    Content-Type: message/delivery-status

    Reporting-MTA: dns; mx.remote.example

    Final-Recipient: rfc822; \(recipient)
    Action: \(action)
    Status: \(status)
    Diagnostic-Code: smtp; \(diagnostic)

    --b
    Content-Type: text/rfc822-headers

    Subject: Hello\(messageID.map { "\nMessage-ID: \($0)" } ?? "")

    --b--

    """.replacingOccurrences(of: "\n", with: "\r\n")
  }

  /// A complaint (RFC 5965).
  package static func complaint(
    recipient: String, type: String = "abuse", returned: String = "Subject: Hello", from author: String = "fbl@provider.example"
  ) -> String {
    """
    From: \(author)
    Subject: complaint
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=feedback-report; boundary="b"

    --b
    Content-Type: text/plain

    This is an abuse report.
    --b
    Content-Type: message/feedback-report

    Feedback-Type: \(type)
    User-Agent: Provider/1.0
    Version: 1
    Original-Rcpt-To: \(recipient)
    Reported-Domain: sender.example

    --b
    Content-Type: message/rfc822

    \(returned)

    Hi
    --b--

    """.replacingOccurrences(of: "\r\n", with: "\n").replacingOccurrences(of: "\n", with: "\r\n")
  }

  package static func vacation() -> String {
    "From: ann@d0.test-zone.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
  }
}
