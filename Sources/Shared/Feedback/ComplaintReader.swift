internal import MIME

/// Abuse reports: RFC 5965 and RFC 6591 by their feedback-report part, RFC 9477's with XARF, Outlook's JMRP, which has no such part,
/// and reports whose part lost its type.
enum ComplaintReader {
  static func read(_ mail: MIMEPart) -> Feedback? {
    let outline = mail.outline
    let embedded = outline.first(where: \.isEmbeddedMessage)?.parts.first?.headers
    var fields: HeaderBlock?
    if let part = outline.first(where: { $0.type == "message/feedback-report" }) {
      fields = HeaderBlock.read(part.content(limit: MIMELimits.headerOctets)[...]).block
    } else {
      fields = unmarked(mail, outline)
    }
    if let fields { return report(fields, outline, embedded ?? trailing(outline)) }
    return outlook(mail, embedded)
  }

  private static func report(_ fields: HeaderBlock, _ outline: [MIMEPart], _ embedded: HeaderBlock?) -> Feedback {
    var type = (fields.first("feedback-type") ?? "abuse").lowercased()
    type = String(type.prefix { $0.isLetter || $0 == "-" || $0.isNumber })
    if type == "xarf" { type = xarfType(outline) ?? type }
    if type.isEmpty { type = "abuse" }
    var complaint = Feedback.Complaint(type: type)
    complaint.userAgent = fields.first("user-agent")
    complaint.originalRecipients = addresses(fields.all("original-rcpt-to") + fields.all("original-recipient"))
    complaint.originalSender = fields.first("original-mail-from").flatMap { AddressText.first($0) }
    complaint.reportedDomains = fields.all("reported-domain").map { $0.lowercased() }
    complaint.sourceIP = fields.first("source-ip")
    complaint.arrivalDate = fields.first("arrival-date") ?? fields.first("received-date")
    return finished(complaint, embedded)
  }

  private static func finished(_ complaint: Feedback.Complaint, _ embedded: HeaderBlock?) -> Feedback {
    var complaint = complaint
    var feedback = Feedback(kind: .complaint)
    feedback.returned = Attribution.returned(embedded)
    if complaint.originalRecipients.isEmpty, let embedded {
      complaint.originalRecipients = addresses(
        ["x-hmxmroriginalrecipient", "x-original-to", "delivered-to", "x-rcpt-to", "envelope-to"].flatMap { embedded.all($0).prefix(1) })
    }
    feedback.complaint = complaint
    return feedback
  }

  private static func addresses(_ values: [String]) -> [String] {
    var found: [String] = []
    for value in values {
      for match in AddressText.matches(value) where !found.contains(match.address) { found.append(match.address) }
    }
    return found
  }

  /// The part came as text, or the whole mail is not even multipart.
  private static func unmarked(_ mail: MIMEPart, _ outline: [MIMEPart]) -> HeaderBlock? {
    for part in outline where part.parts.isEmpty && !part.isMultipart && !part.isEmbeddedMessage {
      let content = part.content(limit: 32 * 1024)
      guard ASCIIText(String(decoding: content, as: UTF8.self)).contains("feedback-type:") else { continue }
      var scanner = LineScanner(content[...])
      while true {
        let offset = scanner.offset
        guard let line = scanner.next() else { break }
        guard let (name, _) = HeaderBlock.fieldName(line), name == "feedback-type" || name == "user-agent" || name == "version" else {
          continue
        }
        let block = HeaderBlock.read(content[offset...]).block
        if block.has("feedback-type"), block.has("user-agent") || block.has("version") { return block }
      }
    }
    return nil
  }

  /// The reported message as plain text behind the report.
  private static func trailing(_ outline: [MIMEPart]) -> HeaderBlock? {
    for part in outline.reversed() where part.parts.isEmpty && !part.isMultipart && part.type != "message/feedback-report" {
      let block = HeaderBlock.read(part.content(limit: MIMELimits.headerOctets)[...]).block
      if block.has("message-id") || block.has("received") { return block }
    }
    return nil
  }

  /// Outlook's Junk Mail Reporting Program sends the message itself, with a field that tells the recipient.
  private static func outlook(_ mail: MIMEPart, _ embedded: HeaderBlock?) -> Feedback? {
    let from = ASCIIText(mail.headers.first("from") ?? "")
    let subject = ASCIIText(mail.headers.first("subject") ?? "")
    let inner = embedded ?? (mail.headers.has("x-hmxmroriginalrecipient") ? mail.headers : nil)
    guard let inner else { return nil }
    let isJMRP = inner.has("x-hmxmroriginalrecipient") && (inner.names != mail.headers.names || subject.contains("complaint"))
    let isReport =
      subject.hasPrefix("complaint about message from") || from.contains("staff@hotmail.com") || subject.contains("abuse report")
      || subject.contains("spam report") || subject.contains("email feedback report")
    guard isJMRP || isReport else { return nil }
    var complaint = Feedback.Complaint(type: "abuse")
    complaint.sourceIP = inner.first("x-sender-ip") ?? inner.first("x-originating-ip") ?? mail.headers.first("x-complaint-ip")
    return finished(complaint, inner)
  }

  /// RFC 9477 §3.3: the type stands in the JSON beside the report.
  private static func xarfType(_ outline: [MIMEPart]) -> String? {
    guard let part = outline.first(where: { $0.type == "application/json" }) else { return nil }
    let words = ASCIIText(String(decoding: part.content(limit: 64 * 1024), as: UTF8.self))
    guard let start = words.firstIndex("\"reporttype\"") else { return nil }
    let value = words.bytes[(start + 12)...].drop { $0 == 0x20 || $0 == 0x3A || $0 == 0x22 }.prefix { $0 != 0x22 }
    let type = String(decoding: value.prefix(32), as: UTF8.self)
    return type == "spam" ? "abuse" : type.isEmpty ? nil : type
  }
}
