internal import DeliveryPolicy
internal import MIME

/// Octets of a mail → what it tells about mail of ours. One function for whoever gets such mail: the command, the fuzzers, and the server to come.
///
/// Promises: never fails and never traps, whatever the octets; the same answer for CRLF, LF and CR; work and memory are bounded by
/// ``MIMELimits`` and the limits of the readers (depth × size, never size squared). The answer is the writer's claim and proves
/// nothing: whose message it was is decided by the envelope's token and by ``Feedback/hints`` that verify, never by an address
/// in the text.
///
/// Order of judgement: a complaint (RFC 5965 and dialects), a DMARC aggregate report, a delivery report (RFC 3464, its parts
/// outweigh everything that follows), a read receipt (RFC 8098), automatic answers (RFC 3834), then text. Text is a
/// bounce only if it looks like a report by sender or subject, says that something failed, and names a recipient.
package enum FeedbackReport {
  package static func read(_ octets: [UInt8]) -> Feedback {
    let mail = MIMEPart.read(octets)
    var feedback = judge(mail)
    feedback.messageID = Attribution.messageID(mail.headers.first("message-id"))
    feedback.hints = Attribution.hints(mail, feedback)
    return feedback
  }

  private static func judge(_ mail: MIMEPart) -> Feedback {
    if let found = SNSNotification.read(mail) { return found }
    if let found = ComplaintReader.read(mail) { return found }
    if DMARCReport.isAggregate(mail) { return Feedback(kind: .dmarcReport) }
    let notice = Notice(mail)
    let returned = Attribution.returned(notice.returned)
    let bounce = BounceReader(mail, notice)
    let tone = Tone(mail, notice)
    if tone.isChallenge, !tone.isReporter {
      // Some challenges come dressed as a delivery report.
      var feedback = Feedback(kind: .autoReply)
      feedback.trait = .challenge
      return feedback
    }
    if let found = bounce.fromStatusParts() {
      var feedback = found.feedback
      if let envelope = found.envelopeID { feedback.hints = [.envelopeID(envelope)] }
      feedback.returned = returned
      return feedback
    }
    // Dovecot and others refuse by a notification what was already accepted (RFC 5429 §2.1.1).
    let isRefusal = tone.isReporter && notice.words.containsAny(["automatically rejected", "was rejected"])
    let isNotification =
      mail.outline.contains { $0.type == "message/disposition-notification" }
      || mail.parameters["report-type"] == "disposition-notification"
    if isNotification, !isRefusal {
      var feedback = Feedback(kind: .autoReply)
      feedback.trait = .readReceipt
      return feedback
    }
    if tone.isAutoReply, !isRefusal {
      var feedback = Feedback(kind: .autoReply)
      feedback.trait = tone.isChallenge ? .challenge : .vacation
      return feedback
    }
    if tone.isUnsubscribe { return Feedback(kind: .unsubscribeMail) }
    if var feedback = bounce.fromText(tone) {
      feedback.returned = returned
      return feedback
    }
    return Feedback(kind: .ordinary)
  }
}
