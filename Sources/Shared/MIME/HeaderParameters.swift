/// `value; name=value` fields: Content-Type, Content-Disposition (RFC 2045 §5.1), with continuations and character sets of
/// RFC 2231. Quotes that never close, missing semicolons and white space around `=` are borne.
package struct HeaderParameters: Sendable {
  /// Before the first semicolon, lower case.
  package private(set) var value = ""
  private var parameters: [String: String] = [:]

  package subscript(_ name: String) -> String? { parameters[name] }

  package init(_ text: String?) {
    guard let text else { return }
    let bytes = Array(text.utf8.prefix(MIMELimits.fieldOctets))
    var index = 0
    func skipSpaces() { while index < bytes.count, bytes[index] == 0x20 || bytes[index] == 0x09 { index += 1 } }
    let head = bytes.prefix { $0 != 0x3B }
    value = String(decoding: head.trimmed, as: UTF8.self).lowercased()
    // "text/plain charset=utf-8" without a semicolon.
    if let space = value.firstIndex(of: " ") { value = String(value[..<space]) }
    index = head.endIndex
    var pieces: [String: [(number: Int, isEncoded: Bool, bytes: [UInt8])]] = [:]
    var count = 0
    while index < bytes.count, count < 64 {
      index += 1
      skipSpaces()
      let nameStart = index
      while index < bytes.count, bytes[index] != 0x3D, bytes[index] != 0x3B { index += 1 }
      let name = String(decoding: bytes[nameStart..<index][...].trimmed, as: UTF8.self).lowercased()
      guard index < bytes.count, bytes[index] == 0x3D else { continue }
      index += 1
      skipSpaces()
      var content: [UInt8] = []
      if index < bytes.count, bytes[index] == 0x22 {
        index += 1
        while index < bytes.count, bytes[index] != 0x22 {
          if bytes[index] == 0x5C, index + 1 < bytes.count { index += 1 }
          content.append(bytes[index])
          index += 1
        }
        while index < bytes.count, bytes[index] != 0x3B { index += 1 }
      } else {
        let start = index
        while index < bytes.count, bytes[index] != 0x3B { index += 1 }
        content = Array(bytes[start..<index][...].trimmed)
      }
      count += 1
      let marks = name.split(separator: "*", omittingEmptySubsequences: false)
      guard let base = marks.first, !base.isEmpty else { continue }
      if marks.count == 1 {
        if parameters[String(base)] == nil { parameters[String(base)] = String(decoding: content, as: UTF8.self) }
      } else {
        let number = Int(marks[1]) ?? 0
        pieces[String(base), default: []].append((number, marks.last == "", content))
      }
    }
    for (name, list) in pieces { parameters[name] = Self.joined(list) }
  }

  private static func joined(_ pieces: [(number: Int, isEncoded: Bool, bytes: [UInt8])]) -> String {
    var charset = ""
    var output: [UInt8] = []
    for (index, piece) in pieces.sorted(by: { $0.number < $1.number }).enumerated() {
      var bytes = piece.bytes[...]
      if index == 0, piece.isEncoded {
        let parts = bytes.split(separator: 0x27, maxSplits: 2, omittingEmptySubsequences: false)
        if parts.count == 3 {
          charset = String(decoding: parts[0], as: UTF8.self)
          bytes = parts[2]
        }
      }
      output += piece.isEncoded ? TransferDecoding.percent(bytes) : Array(bytes)
    }
    return Charset.decode(output[...], charset)
  }
}
