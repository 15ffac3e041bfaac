/// `=?charset?B|Q?text?=` (RFC 2047), also inside quotes and unencoded neighbours, as mail has them.
package enum EncodedWords {
  package static func decode(_ octets: [UInt8]) -> String {
    guard octets.contains(0x3D) else { return Charset.decode(octets[...], "") }
    var output = ""
    var plain: [UInt8] = []
    var index = 0
    var afterWord = false
    /// Octets of neighbouring words of one character set: a character may be cut between them.
    var open: (charset: String, bytes: [UInt8])?
    func flush() {
      if let word = open { output += Charset.decode(word.bytes[...], word.charset) }
      open = nil
    }
    while index < octets.count {
      if octets[index] == 0x3D, let (charset, bytes, next) = word(octets, at: index) {
        // White space between two words is no text.
        if !(afterWord && plain.allSatisfy { $0 == 0x20 || $0 == 0x09 }) {
          flush()
          output += Charset.decode(plain[...], "")
        }
        plain = []
        if let word = open, word.charset == charset, !charset.hasPrefix("iso-2022") {
          open = (charset, word.bytes + bytes)
        } else {
          flush()
          open = (charset, bytes)
        }
        index = next
        afterWord = true
      } else {
        plain.append(octets[index])
        index += 1
      }
    }
    flush()
    return output + Charset.decode(plain[...], "")
  }

  private static func word(_ octets: [UInt8], at start: Int) -> (String, [UInt8], Int)? {
    guard start + 7 < octets.count, octets[start + 1] == 0x3F else { return nil }
    // An encoded word has at most 75 characters; some writers make longer ones.
    let window = octets[start..<min(octets.count, start + 2048)]
    guard let first = window[(start + 2)...].firstIndex(of: 0x3F), first - start < 64, first + 2 < window.endIndex,
      octets[first + 2] == 0x3F
    else { return nil }
    let textStart = first + 3
    var end = textStart
    while end + 1 < window.endIndex, !(octets[end] == 0x3F && octets[end + 1] == 0x3D) {
      end += 1
    }
    guard end + 1 < window.endIndex else { return nil }
    let text = octets[textStart..<end]
    // `=?utf-8*en?Q?…` carries a language (RFC 2231 §5).
    let label = String(decoding: octets[(start + 2)..<first].prefix { $0 != 0x2A }, as: UTF8.self).lowercased()
    switch octets[first + 1] | 0x20 {
    case 0x62: return (label, TransferDecoding.base64(text, limit: 2048), end + 2)
    case 0x71: return (label, TransferDecoding.q(text), end + 2)
    default: return nil
    }
  }
}
