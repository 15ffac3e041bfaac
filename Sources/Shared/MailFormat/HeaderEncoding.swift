/// Header fields on the wire: folding (RFC 5322 §2.2.3) and encoded words (RFC 2047).
package enum HeaderEncoding {
  static let preferredLine = 76
  /// RFC 5322 §2.1.1, without CRLF.
  static let maxLine = 998

  /// `Name: value` and CRLF. Non-ASCII words become encoded words; long values fold at their spaces.
  package static func unstructured(_ name: String, _ value: String) -> [UInt8] {
    let clean = flattened(value)
    let isPlain = clean.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x09 } && !clean.contains("=?")
    let words = isPlain ? clean : encodedWords(clean, firstLineUsed: name.utf8.count + 2)
    return fold(name, words)
  }

  /// `Name: "Display" <address>` with the display name as atoms, quoted string or encoded words (RFC 5322 §3.4).
  package static func mailbox(_ name: String, displayName: String?, address: String) -> [UInt8] {
    guard let displayName, !displayName.isEmpty else { return fold(name, address) }
    return fold(name, "\(phrase(displayName, firstLineUsed: name.utf8.count + 2)) <\(address)>")
  }

  static func phrase(_ text: String, firstLineUsed: Int) -> String {
    let clean = flattened(text)
    guard clean.utf8.allSatisfy({ (0x20...0x7E).contains($0) }), !clean.contains("=?") else {
      return encodedWords(clean, firstLineUsed: firstLineUsed)
    }
    let isAtoms = clean.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x20: true
      default: "!#$%&'*+-/=?^_`{|}~".utf8.contains(byte)
      }
    }
    if isAtoms && !clean.hasPrefix(" ") && !clean.hasSuffix(" ") && !clean.contains("  ") { return clean }
    return "\"" + clean.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  /// No line end and no other control character survives into a header.
  static func flattened(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" || $0.value == 0x7F }) else { return text }
    var output = String.UnicodeScalarView()
    for scalar in text.unicodeScalars where !(scalar.value < 0x20 && scalar != "\t" || scalar.value == 0x7F) {
      output.append(scalar)
    }
    return String(output)
  }

  /// Base64 encoded words of at most 75 characters, cut between characters, never inside one (RFC 2047 §5).
  static func encodedWords(_ text: String, firstLineUsed: Int) -> String {
    let overhead = "=?utf-8?B??=".utf8.count
    var words: [String] = []
    var chunk: [UInt8] = []
    // 60 octets of base64 carry 45 of text; the first line has the field's name on it.
    var room = max(12, (preferredLine - 1 - overhead - firstLineUsed) / 4 * 3)
    for scalar in text.unicodeScalars {
      let bytes = Array(UTF8.encode(scalar)?.map { $0 } ?? [])
      if chunk.count + bytes.count > room {
        words.append("=?utf-8?B?\(Base64.string(chunk))?=")
        chunk = []
        room = 45
      }
      chunk += bytes
    }
    if !chunk.isEmpty { words.append("=?utf-8?B?\(Base64.string(chunk))?=") }
    return words.joined(separator: " ")
  }

  /// Folds at spaces so that lines keep under 76 where they can, and hard under 998 where they cannot.
  static func fold(_ name: String, _ value: String) -> [UInt8] {
    var output = Array(name.utf8)
    output += [0x3A, 0x20]
    guard output.count + value.utf8.count > preferredLine else { return output + value.utf8 + [0x0D, 0x0A] }
    var column = output.count
    var isFirst = true
    var pendingSpaces: [UInt8] = []
    for word in value.utf8.split(separator: 0x20, omittingEmptySubsequences: false) {
      if !isFirst { pendingSpaces.append(0x20) }
      isFirst = false
      guard !word.isEmpty else { continue }
      if !pendingSpaces.isEmpty, column + pendingSpaces.count + word.count > preferredLine,
        column > name.utf8.count + 2
      {
        output += [0x0D, 0x0A]
        column = 0
      }
      output += pendingSpaces
      column += pendingSpaces.count
      pendingSpaces = []
      output += word
      column += word.count
    }
    output += pendingSpaces
    return output + [0x0D, 0x0A]
  }
}
