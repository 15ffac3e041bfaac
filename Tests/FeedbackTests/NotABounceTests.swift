import Feedback
import Testing

/// What reaches a return-path and is no bounce.
@Suite struct NotABounceTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let mail: String
    let kind: Feedback.Kind
    var trait: Feedback.Trait?
    var testDescription: String { name }
  }

  private static func mail(_ fields: String, _ text: String) -> String { "\(fields)\nMIME-Version: 1.0\n\n\(text)\n" }

  private static let words =
    "I'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients.\n\n<cat@example.org>: host mx.example.org said: 550 5.1.1 User unknown"

  private static let cases: [Case] = [
    Case(
      name: "vacation by field",
      mail: mail(
        "From: cat@example.net\nTo: b@out.example\nSubject: Re: News\nAuto-Submitted: auto-replied",
        "I left the company, cat@example.net does not exist any more."),
      kind: .autoReply, trait: .vacation),
    Case(
      name: "vacation by subject", mail: mail("From: cat@example.net\nSubject: Automatic reply: News", "I am away."), kind: .autoReply,
      trait: .vacation),
    Case(
      name: "vacation in German", mail: mail("From: cat@example.net\nSubject: Abwesenheitsnotiz", "Ich bin weg."), kind: .autoReply,
      trait: .vacation),
    Case(
      name: "vacation in French", mail: mail("From: cat@example.net\nSubject: =?utf-8?Q?R=C3=A9ponse_automatique?=", "Absent."),
      kind: .autoReply, trait: .vacation),
    Case(
      name: "vacation in Japanese", mail: mail("From: cat@example.net\nSubject: =?utf-8?B?5LiN5Zyo6YCa55+l?=", "不在"), kind: .autoReply,
      trait: .vacation),
    Case(
      name: "challenge",
      mail: mail("From: cat@example.net\nSubject: Re: News", "Please confirm your message by a click: one-time verification is needed."),
      kind: .autoReply, trait: .challenge),
    Case(
      name: "read receipt",
      mail:
        "From: cat@example.net\nSubject: Read: News\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nYour message was read.\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;cat@example.net\nDisposition: manual-action/MDN-sent-manually; displayed\n--b--\n",
      kind: .autoReply, trait: .readReceipt),
    Case(
      name: "dmarc",
      mail:
        "From: noreply-dmarc@example.net\nSubject: Report domain: out.example Submitter: example.net Report-ID: 1\nContent-Type: application/gzip; name=\"example.net!out.example!1!2.xml.gz\"\nContent-Transfer-Encoding: base64\n\nH4sI\n",
      kind: .dmarcReport),
    Case(name: "unsubscribe", mail: mail("From: cat@example.net\nSubject: unsubscribe", ""), kind: .unsubscribeMail),
    Case(
      name: "ordinary", mail: mail("From: cat@example.net\nSubject: Hello", "Did my mail to dog@example.net fail? It was returned to me."),
      kind: .ordinary),
    Case(
      name: "ordinary about a bounce",
      mail: mail("From: cat@example.net\nSubject: Re: delivery failed", "Hi, my mail could not be delivered, can you look?"),
      kind: .ordinary),
    Case(
      name: "newsletter about bounces",
      mail: mail(
        "From: News <news@example.net>\nSubject: What \"Undelivered Mail Returned to Sender\" means\nList-Unsubscribe: <https://example.net/u>",
        "A bounce looks like this:\n\n<cat@example.org>: host mx.example.org said: 550 5.1.1 User unknown"), kind: .ordinary),
    Case(
      name: "handed on by a person",
      mail: mail("From: Dan <dan@example.net>\nSubject: Fwd: Undelivered Mail Returned to Sender", "Hi, what is this?\n\n\(words)"),
      kind: .ordinary),
    Case(
      name: "handed on in German", mail: mail("From: Dan <dan@example.net>\nSubject: WG: Unzustellbar: News", "Hallo\n\n\(words)"),
      kind: .ordinary),
    Case(
      name: "answered by a person",
      mail: mail(
        "From: Dan <dan@example.net>\nSubject: RE: Mail delivery failed: returning message to sender", "Take her off.\n\n\(words)"),
      kind: .ordinary),
    Case(name: "spam", mail: mail("From: winner@spam.example\nSubject: You won", "Write to lucky@spam.example now"), kind: .ordinary),
    Case(
      name: "parcel",
      mail: mail("From: shop@example.net\nSubject: Delivery report", "Your parcel could not be delivered to: cat@example.net"),
      kind: .ordinary),
    Case(
      name: "cron",
      mail: mail("From: root@example.net (Cron Daemon)\nSubject: Cron <root@a> backup", "backup failed\ncat@example.net: not found"),
      kind: .ordinary),
    Case(
      name: "a postmaster's letter",
      mail: mail("From: postmaster@example.net\nSubject: Your listing", "Your request was rejected. Please write to\nremoval@example.net"),
      kind: .ordinary),
    Case(
      name: "answer that came through a mailbox file",
      mail: mail(
        "From MAILER-DAEMON Mon Sep 20 19:29:27 2021\nFrom: cat@example.net\nSubject: words\nAuto-Submitted: auto-replied", "later"),
      kind: .autoReply, trait: .vacation),
    Case(name: "empty", mail: "", kind: .ordinary),
  ]

  @Test(arguments: cases) func isTold(_ given: Case) {
    for end in Mail.ends {
      let feedback = FeedbackReport.read(Mail.octets(given.mail, end: end))
      #expect(feedback.kind == given.kind)
      #expect(feedback.trait == given.trait)
    }
  }
}
