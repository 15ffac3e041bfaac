import Feedback

/// Mails for tests: written with LF, read with each line end.
enum Mail {
  static let ends = ["\n", "\r\n", "\r"]

  static func octets(_ text: String, end: String = "\n") -> [UInt8] { Array(text.replacing("\n", with: end).utf8) }

  static func read(_ text: String) -> Feedback { FeedbackReport.read(octets(text)) }

  /// A delivery report as RFC 3464 has it.
  static func report(_ status: String, text: String = "It could not be delivered.", returned: String = "") -> String {
    """
    Return-Path: <>
    From: Mail Delivery System <MAILER-DAEMON@mx.example>
    To: bounce+abc@out.example
    Subject: Undelivered Mail Returned to Sender
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

    --=_b
    Content-Type: text/plain

    \(text)

    --=_b
    Content-Type: message/delivery-status

    Reporting-MTA: dns; mx.example

    \(status)

    --=_b
    Content-Type: message/rfc822

    Return-Path: <bounce+token@out.example>
    Message-ID: <token@out.example>
    From: news@out.example
    To: cat@example.net
    Subject: News
    CFBL-Feedback-ID: 1a2b3c
    Feedback-ID: 7:camp:org:owlat

    Hello
    --=_b--

    """
  }

  /// A report in words only.
  static func notice(_ text: String, from: String = "MAILER-DAEMON@mx.example", subject: String = "failure notice", fields: String = "")
    -> String
  {
    """
    Return-Path: <>
    From: \(from)
    To: bounce+abc@out.example
    Subject: \(subject)
    \(fields.isEmpty ? "" : fields + "\n")Date: Tue, 24 Nov 2026 10:00:00 +0000
    Content-Type: text/plain; charset=utf-8

    \(text)

    """
  }
}
