/// The fields of one header (RFC 5322 §2.2), read leniently: any line end, `From ` lines of mailboxes before it, spaces before
/// the colon, and a first line that is no field ends it as an empty line would.
package struct HeaderBlock: Sendable {
  struct Field: Sendable {
    /// Lower case.
    let name: String
    /// Folded as it came.
    let raw: ArraySlice<UInt8>
  }

  private(set) var fields: [Field] = []
  /// Address in the mailbox's `From ` line, when it had one: the return-path as the file's writer knew it.
  package private(set) var mailboxSender: String?

  package init() {}

  package var isEmpty: Bool { fields.isEmpty }
  /// Lower case, in order, each as often as it is there.
  package var names: [String] { fields.map(\.name) }

  /// First field of that name: unfolded and decoded (RFC 2047), without outer spaces.
  package func first(_ name: String) -> String? {
    fields.first { $0.name == name }.map { Self.value($0.raw) }
  }

  /// All fields of that name, the first at most 64.
  package func all(_ name: String) -> [String] {
    fields.lazy.filter { $0.name == name }.prefix(64).map { Self.value($0.raw) }
  }

  /// All fields with such a prefix, as name and value.
  package func all(prefix: String) -> [(name: String, value: String)] {
    fields.lazy.filter { $0.name.hasPrefix(prefix) }.prefix(64).map { ($0.name, Self.value($0.raw)) }
  }

  package func has(_ name: String) -> Bool { fields.contains { $0.name == name } }

  static func value(_ raw: ArraySlice<UInt8>) -> String {
    EncodedWords.decode(unfolded(raw))
  }

  /// Line ends out, the white space that began the next line stays as one space.
  static func unfolded(_ raw: ArraySlice<UInt8>) -> [UInt8] {
    var output: [UInt8] = []
    var isFirst = true
    var scanner = LineScanner(raw.prefix(MIMELimits.fieldOctets))
    while let line = scanner.next() {
      let text = line.trimmed
      if !isFirst, !text.isEmpty { output.append(0x20) }
      if !text.isEmpty { isFirst = false }
      output += text
    }
    return output
  }

  /// - Returns: the block, and where the body begins.
  package static func read(_ octets: ArraySlice<UInt8>) -> (block: HeaderBlock, body: Int) {
    var block = HeaderBlock()
    var scanner = LineScanner(octets)
    var pending: (name: String, start: Int)?
    let limit = octets.startIndex + MIMELimits.headerOctets
    func finish(at end: Int) {
      guard let open = pending, block.fields.count < MIMELimits.fields, open.start < limit else { return }
      block.fields.append(Field(name: open.name, raw: octets[open.start..<max(open.start, min(end, limit))]))
    }
    while true {
      let lineStart = scanner.offset
      guard let line = scanner.next() else {
        finish(at: octets.endIndex)
        return (block, octets.endIndex)
      }
      if line.isEmpty || (line.trimmed.isEmpty && pending == nil) {
        // Empty lines before the first field are a gateway's, not the header's end.
        if pending == nil, lineStart - octets.startIndex < 64, !octets.isEmpty { continue }
        finish(at: lineStart)
        return (block, scanner.offset)
      }
      if let first = line.first, first == 0x20 || first == 0x09, pending != nil { continue }
      if let (name, valueStart) = fieldName(line) {
        finish(at: lineStart)
        pending = (name, valueStart)
        continue
      }
      if block.fields.isEmpty, pending == nil, let sender = mailboxLine(line) {
        if !sender.isEmpty { block.mailboxSender = block.mailboxSender ?? sender }
        continue
      }
      if line.starts(with: Array(">From ".utf8)) || line.starts(with: Array("From ".utf8)) { continue }
      finish(at: lineStart)
      return (block, lineStart)
    }
  }

  /// `Name:` at the start of a line; the name in lower case and where its value begins.
  package static func fieldName(_ line: ArraySlice<UInt8>) -> (String, Int)? {
    guard let colon = line.prefix(128).firstIndex(of: 0x3A), colon > line.startIndex else { return nil }
    let name = line[..<colon].trimmed
    guard !name.isEmpty, name.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3C && $0 != 0x3E && $0 != 0x40 }) else { return nil }
    guard line[line.startIndex] != 0x20, line[line.startIndex] != 0x09 else { return nil }
    return (String(decoding: name, as: UTF8.self).lowercased(), colon + 1)
  }

  private static func mailboxLine(_ line: ArraySlice<UInt8>) -> String? {
    guard line.starts(with: Array("From ".utf8)) || line.starts(with: Array(">From ".utf8)) else { return nil }
    let words = line.split(separator: 0x20, maxSplits: 2)
    return words.count > 1 ? String(decoding: words[1].prefix(320), as: UTF8.self) : ""
  }
}
