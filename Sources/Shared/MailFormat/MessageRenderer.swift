package import MailModel

/// A message as fields and body, ready to be signed and sent.
package struct RenderedMessage: Sendable {
  /// Complete fields in order, each with its CRLF.
  package var fields: [[UInt8]]
  package var body: [UInt8]

  package var octets: [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(fields.reduce(body.count + 4) { $0 + $1.count })
    for field in fields { output += field }
    output += [0x0D, 0x0A]
    output += body
    return output
  }

  /// Octets over 0x7F anywhere: only a server with 8BITMIME may get it.
  package var isEightBit: Bool { body.contains { $0 >= 0x80 } || isInternationalised }
  /// An address in the header that no encoded word can carry: only a server with SMTPUTF8 may get it (RFC 6532).
  package var isInternationalised: Bool { fields.contains { $0.contains { $0 >= 0x80 } } }
}

package enum RenderError: Error, Sendable, Equatable, CustomStringConvertible {
  case sealedWithoutHeader
  case signing(String)

  package var description: String {
    switch self {
    case .sealedWithoutHeader: "the sealed message has no header"
    case .signing(let text): "DKIM: \(text)"
    }
  }
}

/// Builds the message from what was accepted (RFC 5322, RFC 2045; order of fields: contract section 11.1). The Message-ID is
/// the caller's, else one that is derived from the return-path's token, so that a report can be attributed.
package enum MessageRenderer {
  /// Fields that we write ourselves; a caller's copies are dropped.
  package static let structural: Set<String> = [
    "message-id", "date", "from", "reply-to", "to", "cc", "bcc", "subject", "mime-version", "return-path", "received",
    "dkim-signature", "cfbl-address", "cfbl-feedback-id", "x-owlat-message-id", "x-owlat-org-id",
  ]

  package static func isStructural(_ name: String) -> Bool {
    let lower = name.lowercased()
    return structural.contains(lower) || lower.hasPrefix("content-")
  }

  package static func render(_ record: MessageRecord, _ content: MessageContent) throws(RenderError) -> RenderedMessage {
    if let sealed = content.sealed { return try split(sealed) }
    let content = content.isTemplate ? Template.fill(content, record.values) : content
    var fields: [[UInt8]] = []
    let authorDomain = content.authorAddress.split(separator: "@").last.map(String.init) ?? record.returnPathHost
    fields.append(
      HeaderEncoding.fold("Message-ID", record.messageIDField ?? "<\(token(record))@\(authorDomain)>"))
    fields.append(HeaderEncoding.fold("Date", RFC5322Date.string(record.acceptedAt)))
    fields.append(HeaderEncoding.mailbox("From", displayName: content.authorName, address: content.authorAddress))
    if let replyTo = content.replyTo { fields.append(HeaderEncoding.fold("Reply-To", replyTo)) }
    fields.append(HeaderEncoding.fold("To", record.recipient))
    fields.append(HeaderEncoding.unstructured("Subject", content.subject))
    fields.append(HeaderEncoding.fold("MIME-Version", "1.0"))
    let unsubscribe = FeedbackFields.unsubscribe(record)
    for field in content.headers where !isStructural(field.name) {
      // Ours stands for the author's, or the two could lead to different places.
      if !unsubscribe.isEmpty, FeedbackFields.isUnsubscribe(field.name) { continue }
      fields.append(HeaderEncoding.unstructured(field.name, field.value))
    }
    fields += unsubscribe + FeedbackFields.complaint(record)
    fields.append(HeaderEncoding.unstructured("X-Owlat-Message-Id", record.messageID))
    fields.append(HeaderEncoding.unstructured("X-Owlat-Org-Id", record.organisation))
    let root = body(content, boundary: token(record))
    return RenderedMessage(fields: fields + root.fields, body: root.body)
  }

  private static func token(_ record: MessageRecord) -> String {
    guard record.returnPathLocal.hasPrefix(VERPSigner.prefix) else { return record.returnPathLocal }
    let token = record.returnPathLocal.dropFirst(VERPSigner.prefix.count)
    return VERPSigner.messageIDToken(of: token) ?? String(token)
  }

  /// mixed( related( alternative(text, amp, html), inline… ), attachment… ), with the levels that have one child left out.
  private static func body(_ content: MessageContent, boundary: String) -> MIMEEntity {
    var alternatives: [MIMEEntity] = []
    let text = content.text ?? content.html.map(PlainText.from)
    if let text { alternatives.append(.text("text/plain", text)) }
    if let amp = content.amp { alternatives.append(.text("text/x-amp-html", amp)) }
    if let html = content.html { alternatives.append(.text("text/html", html)) }
    var root =
      alternatives.count == 1 ? alternatives[0] : .multipart("alternative", boundary: "a-\(boundary)", alternatives)
    func entity(_ part: MessageContent.Attachment) -> MIMEEntity {
      .attachment(
        part.filename, type: part.contentType, content: part.content, contentID: part.contentID, isInline: part.isInline)
    }
    let inline = content.attachments.filter { $0.isInline && $0.contentID != nil }
    if !inline.isEmpty {
      let type = alternatives.count == 1 ? "text/html" : "multipart/alternative"
      root = .multipart(
        "related", boundary: "r-\(boundary)", [root] + inline.map(entity), parameters: " type=\"\(type)\";")
    }
    let attached = content.attachments.filter { !($0.isInline && $0.contentID != nil) }
    if !attached.isEmpty { root = .multipart("mixed", boundary: "m-\(boundary)", [root] + attached.map(entity)) }
    return root
  }

  /// A finished message: its fields and body as they came.
  static func split(_ octets: [UInt8]) throws(RenderError) -> RenderedMessage {
    var fields: [[UInt8]] = []
    var start = 0
    var index = 0
    while index + 1 < octets.count {
      guard octets[index] == 0x0D, octets[index + 1] == 0x0A else {
        index += 1
        continue
      }
      let next = index + 2
      let continues = next < octets.count && (octets[next] == 0x20 || octets[next] == 0x09)
      if !continues || index == start {
        if index == start {
          guard !fields.isEmpty else { throw .sealedWithoutHeader }
          return RenderedMessage(fields: fields, body: Array(octets[next...]))
        }
        fields.append(Array(octets[start..<next]))
        start = next
      }
      index = next
    }
    guard !fields.isEmpty else { throw .sealedWithoutHeader }
    return RenderedMessage(fields: fields, body: [])
  }
}
