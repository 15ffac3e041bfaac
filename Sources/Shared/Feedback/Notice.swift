internal import MIME

/// The words of a report for people: the text before the message that it gives back, and that message's header.
struct Notice {
  /// As they came, at most ``maxLines``, without the returned message.
  private(set) var lines: [String] = []
  /// Of the message that is given back.
  private(set) var returned: HeaderBlock?
  /// ``lines`` to search in.
  private(set) var words: ASCIIText

  static let maxLines = 600
  private static let maxOctets = 96 * 1024

  init(_ mail: MIMEPart) {
    words = ASCIIText("")
    let outline = mail.outline
    returned = outline.first(where: \.isEmbeddedMessage)?.parts.first?.headers
    var text = ""
    var html: MIMEPart?
    for part in outline where part.parts.isEmpty && !part.isMultipart && !part.isEmbeddedMessage {
      guard text.utf8.count < Self.maxOctets else { break }
      if part.type == "text/html" {
        html = html ?? part
      } else if part.type == "text/plain" || part.type == "text" || part.type == "message/delivery-notification" {
        text += part.text(limit: Self.maxOctets) + "\n"
      }
    }
    if text.allSatisfy(\.isWhitespace), let html { text = HTMLText.read(html.text(limit: Self.maxOctets)) }
    if text.allSatisfy(\.isWhitespace), mail.isMultipart, mail.parts.isEmpty {
      // No boundary to be found: the body as it stands.
      text = Charset.decode(mail.body.prefix(Self.maxOctets), "")
    }
    read(text)
    words = ASCIIText(lines.joined(separator: "\n"))
  }

  private mutating func read(_ text: String) {
    let octets = Array(text.utf8)
    var scanner = LineScanner(octets[...])
    var all: [(offset: Int, line: ArraySlice<UInt8>)] = []
    while all.count < Self.maxLines * 4 {
      let offset = scanner.offset
      guard let line = scanner.next() else { break }
      all.append((offset, line))
    }
    let cut = Self.cut(all.map(\.line)) ?? all.count
    lines = all[..<cut].prefix(Self.maxLines).map { String(decoding: $0.line.prefix(2_048), as: UTF8.self) }
    guard cut < all.count, returned == nil || returned?.isEmpty == true else { return }
    // The header begins with the first field line behind the cut.
    var start = cut
    while start < all.count, start < cut + 12, !Self.isHeaderLine(all[start].line) { start += 1 }
    guard start < all.count else { return }
    let indent = all[start].line.prefix { $0 == 0x20 || $0 == 0x09 || $0 == 0x3E }.count
    if indent == 0 {
      returned = HeaderBlock.read(octets[all[start].offset...].prefix(MIMELimits.headerOctets)).block
    } else {
      var dedented: [UInt8] = []
      for row in all[start...].prefix(200) {
        dedented += row.line.dropFirst(indent)
        dedented.append(0x0A)
      }
      returned = HeaderBlock.read(dedented[...]).block
    }
  }

  private static let headerNames: Set<String> = [
    "received", "return-path", "message-id", "mime-version", "from", "to", "subject", "date", "content-type", "delivered-to", "x-mailer",
    "sender",
    "reply-to", "dkim-signature", "x-originating-ip", "content-transfer-encoding", "domainkey-signature", "received-spf",
  ]

  private static func isHeaderLine(_ line: ArraySlice<UInt8>) -> Bool {
    let text = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x3E }
    guard let (name, _) = HeaderBlock.fieldName(text) else { return false }
    return headerNames.contains(name) || name.hasPrefix("x-")
  }

  /// The line at which the returned message begins.
  private static func cut(_ lines: [ArraySlice<UInt8>]) -> Int? {
    for (index, line) in lines.enumerated() {
      let text = line.trimmed
      guard !text.isEmpty else { continue }
      let isRuled =
        text.starts(with: [0x2D, 0x2D]) || text.starts(with: [0x3D, 0x3D]) || text.starts(with: [0x2A, 0x2A, 0x2A])
        || text.starts(with: [0x5F, 0x5F])
      let isShort = text.count < 120
      if isShort, isRuled || text.last == 0x3A || text.last == 0x2E || text.last == 0x2D || text.first == 0x5B {
        let words = ASCIIText(String(decoding: text, as: UTF8.self))
        if words.containsAny(FeedbackWords.returnedMarks), headerFollows(lines, after: index, within: isRuled ? 8 : 6) { return index }
        if isRuled,
          words.containsAny([
            "copy of the message", "original message", "unsent message follows", "returned message", "copy of your message",
          ]),
          !words.contains("was received"), index > 0
        {
          return index
        }
      }
      if isHeaderLine(line), isHeaderBlock(lines, at: index) { return index }
    }
    return nil
  }

  private static func headerFollows(_ lines: [ArraySlice<UInt8>], after index: Int, within: Int) -> Bool {
    for line in lines[(index + 1)...].prefix(within) {
      let text = line.trimmed
      // Nothing but empty lines and rulers may stand between.
      if text.isEmpty || text.allSatisfy({ $0 == 0x2D || $0 == 0x3D || $0 == 0x2A || $0 == 0x5F || $0 == 0x3E || $0 == 0x20 }) { continue }
      return isHeaderLine(line) || text.starts(with: Array("From ".utf8))
    }
    return false
  }

  /// A real header has what only software writes.
  private static func isHeaderBlock(_ lines: [ArraySlice<UInt8>], at index: Int) -> Bool {
    let strong: Set<String> = ["received", "return-path", "message-id", "mime-version", "dkim-signature"]
    var fields = 0
    var hasStrong = false
    for line in lines[index...].prefix(12) {
      if line.trimmed.isEmpty { break }
      let text = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x3E }
      guard isHeaderLine(line), let (name, _) = HeaderBlock.fieldName(text) else { continue }
      fields += 1
      if strong.contains(name) { hasStrong = true }
    }
    return hasStrong && fields >= 3
  }
}
