import DeliveryPolicy
import Feedback
import Testing

/// One invented notice for each way in which mail systems write without RFC 3464.
@Suite struct NoticeFamilyTests {
  struct Family: Sendable, CustomTestStringConvertible {
    let name: String
    let mail: String
    let addresses: [String]
    var replyClass: ReplyClass?
    var status: String?
    var testDescription: String { name }
  }

  private static let families: [Family] = [
    Family(
      name: "qmail",
      mail: Mail.notice(
        "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message.\n\n<cat@example.net>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 unknown user\nGiving up on 192.0.2.1."
      ),
      addresses: ["cat@example.net"], replyClass: .invalidRecipient, status: "5.1.1"),
    Family(
      name: "exim",
      mail: Mail.notice(
        "A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  cat@example.net\n    SMTP error from remote mail server after RCPT TO:<cat@example.net>:\n    host mx.example.net [192.0.2.7]: 552 5.2.2 mailbox over quota\n  dog@example.net\n    unrouteable address\n\n------ This is a copy of the message, including all the headers. ------\n\nReturn-path: <a@out.example>\nFrom: a@out.example\nTo: x@y.example",
        subject: "Mail delivery failed: returning message to sender", fields: "X-Failed-Recipients: cat@example.net,\n  dog@example.net"),
      addresses: ["cat@example.net", "dog@example.net"], replyClass: .mailboxFull, status: "5.2.2"),
    Family(
      name: "sendmail",
      mail: Mail.notice(
        "   ----- The following addresses had permanent fatal errors -----\n<cat@example.net>\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.net.:\n>>> RCPT To:<cat@example.net>\n<<< 550 5.1.1 <cat@example.net>... User unknown\n550 5.1.1 <cat@example.net>... User unknown",
        subject: "Returned mail: see transcript for details"), addresses: ["cat@example.net"], replyClass: .invalidRecipient,
      status: "5.1.1"),
    Family(
      name: "postfix",
      mail: Mail.notice(
        "I'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients.\n\n<cat@example.net>: host mx.example.net[192.0.2.3] said: 554 5.7.1 Message\n    rejected as spam (in reply to end of DATA command)",
        subject: "Undelivered Mail Returned to Sender"), addresses: ["cat@example.net"], replyClass: .spamContent, status: "5.7.1"),
    Family(
      name: "postfix, no host",
      mail: Mail.notice(
        "<cat@example.net>: Host or domain name not found. Name service error for\n    name=example.net type=A: Host not found",
        subject: "Undelivered Mail Returned to Sender"),
      addresses: ["cat@example.net"], replyClass: .domainNotFound),
    Family(
      name: "exchange",
      mail: Mail.notice(
        "Your message\n\n  To:      cat@example.net\n  Subject: News\n  Sent:    Tue, 24 Nov 2026 10:00:00\n\ndid not reach the following recipient(s):\n\ncat@example.net on Tue, 24 Nov 2026 10:00:01\n    The e-mail account does not exist at the organization this message was sent to.\n    <mx.example.net #5.1.1>",
        from: "System Administrator <postmaster@example.net>", subject: "Undeliverable: News"), addresses: ["cat@example.net"],
      replyClass: .invalidRecipient, status: "5.1.1"),
    Family(
      name: "domino",
      mail: Mail.notice(
        "Your message\n\n  Subject: News\n\nwas not delivered to:\n\n  cat@example.net\n\nbecause:\n\n  User cat (cat@example.net) not listed in Domino Directory",
        from: "postmaster@example.net", subject: "DELIVERY FAILURE: User cat not listed"), addresses: ["cat@example.net"],
      replyClass: .invalidRecipient),
    Family(
      name: "gmail",
      mail: Mail.notice(
        "Delivery to the following recipient failed permanently:\n\n     cat@example.net\n\nTechnical details of permanent failure:\nThe error that the other server returned was:\n550 5.2.1 The email account that you tried to reach is disabled.",
        from: "Mail Delivery Subsystem <mailer-daemon@googlemail.com>", subject: "Delivery Status Notification (Failure)"),
      addresses: ["cat@example.net"], replyClass: .suspended, status: "5.2.1"),
    Family(
      name: "a help desk is a recipient",
      mail: Mail.notice(
        "Hi. This is the qmail-send program at q.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<support@example.net>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n<cat@example.net>:\nmailbox full (#5.2.2)\n\n--- Below this line is a copy of the message."
      ), addresses: ["support@example.net", "cat@example.net"], replyClass: .invalidRecipient, status: "5.1.1"),
    Family(
      name: "a help desk that the message went to",
      mail: Mail.notice(
        "The following address(es) failed:\n\n  info@example.net\n    550 5.1.1 unknown user\n\n  support@example.net\n    550 5.1.1 unknown user\n\nWrite to postmaster@gw.example\n\n------ This is a copy of the message, including all the headers. ------\n\nReceived: from a\nMessage-ID: <a@out.example>\nFrom: news@out.example\nTo: info@example.net, support@example.net\nSubject: News\n\nHello",
        subject: "Mail delivery failed"), addresses: ["info@example.net", "support@example.net"], replyClass: .invalidRecipient),
    Family(
      name: "label before, reason before",
      mail: Mail.notice(
        "Your message could not be delivered because of\n\n552 5.2.2 Mailbox full\n\nThe following recipients were affected:\n    cat@example.net",
        from: "MailGateway <postmaster@gw.example>", subject: "Undeliverable Mail"), addresses: ["cat@example.net"],
      replyClass: .mailboxFull),
    Family(
      name: "sentence",
      mail: Mail.notice(
        "SMTP Server <mx.example.net> rejected recipient <cat@example.net>. It responded as follows: [550 5.1.1 User unknown]\n\nQuestions: write to help@gw.example",
        subject: "There was an error sending your mail"), addresses: ["cat@example.net"], replyClass: .invalidRecipient),
    Family(
      name: "japanese carrier",
      mail: Mail.notice(
        "次のあて先へのメッセージはエラーのため送信できませんでした。\n\n    Recipient: <cat@example.net>\n    >>> RCPT TO:<cat@example.net>\n    <<< 550 <cat@example.net>: User unknown",
        from: "Postmaster@mail.example", subject: "Mail System Error - Returned Mail"), addresses: ["cat@example.net"],
      replyClass: .invalidRecipient),
    Family(
      name: "too many hops",
      mail: Mail.notice("<cat@example.net>:\nThis message is looping: it already has my Delivered-To line. (#5.4.6)"),
      addresses: ["cat@example.net"],
      replyClass: .routingLoop, status: "5.4.6"),
    Family(
      name: "wide punctuation",
      mail: Mail.notice(
        "抱歉，您的邮件被退回来了。\n退信原因：收件人邮件地址（cat@example.net）不存在，邮件无法送达。", from: "PostMaster@mail.example", subject: "来自mail.example的退信"),
      addresses: ["cat@example.net"], replyClass: .invalidRecipient),
    Family(
      name: "no system's name, but introduced",
      mail: Mail.notice(
        "Your message could not be delivered to\ncat@example.net", from: "gate@mail.example", subject: "non remis (delivery failed)"),
      addresses: ["cat@example.net"]),
    Family(
      name: "html only",
      mail: """
        From: postmaster@example.net
        To: bounce+abc@out.example
        Subject: Undeliverable: News
        Content-Type: text/html; charset=utf-8

        <html><head><style>p{}</style></head><body><p>Delivery has failed to these recipients:</p><p>cat&#64;example.net</p>\
        <p>550 5.1.1 User unknown</p></body></html>
        """, addresses: ["cat@example.net"], replyClass: .invalidRecipient, status: "5.1.1"),
  ]

  @Test(arguments: families) func isUnderstood(_ family: Family) {
    for end in Mail.ends {
      let feedback = FeedbackReport.read(Mail.octets(family.mail, end: end))
      #expect(feedback.kind == .bounce)
      #expect(feedback.recipients.map(\.address) == family.addresses)
      if let replyClass = family.replyClass { #expect(feedback.recipients.first?.replyClass == replyClass) }
      if let status = family.status { #expect(feedback.recipients.first?.status == status) }
    }
  }

  @Test func aDelayInWordsIsNoBounce() {
    let mail = Mail.notice(
      "This is a warning message only. Your message has not yet been delivered to\n\n  cat@example.net\n\nYou do not need to resend it; delivery attempts will continue.",
      subject: "Warning: message delayed 4 hours")
    let feedback = Mail.read(mail)
    #expect(feedback.kind == .delay)
    #expect(feedback.recipients.map(\.action) == [.delayed])
  }
}
