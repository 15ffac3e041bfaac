package import MailModel

/// `{{name}}` and `{{{name}}}` of a batch's shared content, filled in from one recipient's values (DESIGN section 8.3).
///
/// | where | `{{name}}` | `{{{name}}}` |
/// |---|---|---|
/// | `html`, `amp` | HTML-escaped | verbatim |
/// | `subject`, `text`, header values | verbatim | verbatim |
///
/// A name is 1 to 64 of letters, digits, `_`, `.` and `-`, with spaces around it allowed. Braces around anything else stand
/// for themselves. A value is never looked through for further names.
package enum Template {
  /// A piece of a text: itself, or a name and whether it is to be escaped.
  enum Piece: Equatable {
    case literal(Substring)
    case name(Substring, isRaw: Bool)
  }

  static func pieces(_ text: String) -> [Piece] {
    var pieces: [Piece] = []
    let bytes = text.utf8
    var literalStart = bytes.startIndex
    var at = bytes.startIndex
    while let open = bytes[at...].firstIndex(of: 0x7B) {
      guard let found = placeholder(text, open) else {
        at = bytes.index(after: open)
        continue
      }
      if literalStart < open { pieces.append(.literal(text[literalStart..<open])) }
      pieces.append(.name(found.name, isRaw: found.isRaw))
      literalStart = found.end
      at = found.end
    }
    if literalStart < bytes.endIndex { pieces.append(.literal(text[literalStart...])) }
    return pieces
  }

  private static func placeholder(_ text: String, _ open: String.Index) -> (name: Substring, isRaw: Bool, end: String.Index)? {
    let bytes = text.utf8
    func count(_ byte: UInt8, from start: String.Index) -> Int {
      var index = start
      var count = 0
      while index < bytes.endIndex, bytes[index] == byte, count < 3 {
        count += 1
        index = bytes.index(after: index)
      }
      return count
    }
    let braces = count(0x7B, from: open)
    guard braces >= 2 else { return nil }
    var index = bytes.index(open, offsetBy: braces)
    func skipSpaces() { while index < bytes.endIndex, bytes[index] == 0x20 { index = bytes.index(after: index) } }
    skipSpaces()
    let start = index
    while index < bytes.endIndex, isNameByte(bytes[index]) { index = bytes.index(after: index) }
    let name = text[start..<index]
    guard (1...64).contains(name.utf8.count) else { return nil }
    skipSpaces()
    guard count(0x7D, from: index) >= braces else { return nil }
    return (name, braces == 3, bytes.index(index, offsetBy: braces))
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2E, 0x2D: true
    default: false
    }
  }

  /// What a recipient's values must have, and which of them may not hold a line break because they go into a header.
  package static func names(of content: MessageContent) -> (all: Set<String>, inHeaders: Set<String>) {
    let headers = names(in: [content.subject] + content.headers.map(\.value))
    return (headers.union(names(in: [content.html, content.text, content.amp].compactMap { $0 })), headers)
  }

  private static func names(in texts: [String]) -> Set<String> {
    var names: Set<String> = []
    for text in texts { for case .name(let name, _) in pieces(text) { names.insert(String(name)) } }
    return names
  }

  /// Subject and header values alone, for judging them.
  package static func fillHeaders(_ content: MessageContent, _ values: [MessageRecord.TemplateValue]) -> [HeaderField] {
    let byName = Dictionary(values.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    return ([HeaderField(name: "Subject", value: content.subject)] + content.headers).map {
      HeaderField(name: $0.name, value: fill($0.value, byName, escapes: false))
    }
  }

  /// The content of one recipient. Names that have no value are left empty: accept has refused such a recipient.
  package static func fill(_ content: MessageContent, _ values: [MessageRecord.TemplateValue]) -> MessageContent {
    let byName = Dictionary(values.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    var filled = content
    filled.isTemplate = false
    filled.subject = fill(content.subject, byName, escapes: false)
    filled.text = content.text.map { fill($0, byName, escapes: false) }
    filled.html = content.html.map { fill($0, byName, escapes: true) }
    filled.amp = content.amp.map { fill($0, byName, escapes: true) }
    for index in filled.headers.indices { filled.headers[index].value = fill(content.headers[index].value, byName, escapes: false) }
    return filled
  }

  static func fill(_ text: String, _ values: [String: String], escapes: Bool) -> String {
    var output = ""
    for piece in pieces(text) {
      switch piece {
      case .literal(let literal): output += literal
      case .name(let name, let isRaw):
        let value = values[String(name)] ?? ""
        output += escapes && !isRaw ? escaped(value) : value
      }
    }
    return output
  }

  static func escaped(_ text: String) -> String {
    var output = ""
    output.reserveCapacity(text.utf8.count + 16)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": output += "&amp;"
      case "<": output += "&lt;"
      case ">": output += "&gt;"
      case "\"": output += "&quot;"
      case "'": output += "&#39;"
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output
  }
}
