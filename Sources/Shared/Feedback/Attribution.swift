internal import MIME

/// Threads from a report to the message it is about.
enum Attribution {
  static func returned(_ headers: HeaderBlock?) -> Feedback.ReturnedHeaders {
    var returned = Feedback.ReturnedHeaders()
    guard let headers else { return returned }
    returned.messageID = messageID(headers.first("message-id"))
    returned.returnPath =
      headers.first("return-path").flatMap { AddressText.first($0) } ?? headers.mailboxSender.flatMap { AddressText.first($0) }
    returned.from = headers.first("from").flatMap { AddressText.first($0) }
    returned.to = headers.first("to").flatMap { AddressText.first($0) }
    returned.subject = headers.first("subject")
    returned.listUnsubscribe = headers.first("list-unsubscribe")
    returned.feedbackID = headers.first("feedback-id")
    returned.cfblFeedbackID = headers.first("cfbl-feedback-id")
    return returned
  }

  /// In angle brackets, where it had them.
  static func messageID(_ value: String?) -> String? {
    guard let value else { return nil }
    if let open = value.firstIndex(of: "<"), let close = value[open...].firstIndex(of: ">") {
      return String(value[open...close].prefix(998))
    }
    let word = value.prefix { !$0.isWhitespace }
    return word.isEmpty ? nil : String(word.prefix(998))
  }

  static func hints(_ mail: MIMEPart, _ feedback: Feedback) -> [Feedback.Hint] {
    var hints: [Feedback.Hint] = []
    func add(_ hint: Feedback.Hint) { if !hints.contains(hint), hints.count < 64 { hints.append(hint) } }
    var addresses: [String] = []
    if let path = feedback.returned.returnPath { addresses.append(path) }
    for name in ["x-original-to", "delivered-to", "envelope-to", "to", "apparently-to"] {
      for value in mail.headers.all(name) { addresses += AddressText.matches(value).map(\.address) }
    }
    if let sender = feedback.complaint?.originalSender { addresses.append(sender) }
    // A return-path says who it is for only if it carries something behind a plus.
    for address in addresses where address.contains("+") { add(.returnPath(address)) }
    for hint in feedback.hints { add(hint) }
    if let id = feedback.returned.cfblFeedbackID { add(.cfblFeedbackID(id)) }
    if let id = feedback.returned.feedbackID { add(.feedbackID(id)) }
    if let id = feedback.returned.messageID { add(.messageID(id)) }
    for recipient in feedback.recipients { add(.recipient(recipient.address)) }
    for recipient in feedback.complaint?.originalRecipients ?? [] { add(.recipient(recipient)) }
    if feedback.kind == .complaint, let to = feedback.returned.to { add(.recipient(to)) }
    return hints
  }
}
