/// Codes in running text.
enum StatusText {
  /// The first `4.x.y` or `5.x.y` that stands alone and is no part of an IP address or version; a real one before `5.0.0`.
  static func enhanced(_ text: some StringProtocol) -> String? {
    var general: String?
    for code in all(text) {
      if !code.hasSuffix(".0.0") { return code }
      general = general ?? code
    }
    return general
  }

  static func all(_ text: some StringProtocol) -> [String] {
    let bytes = Array(text.utf8.prefix(8192))
    var found: [String] = []
    var index = 0
    while index + 4 < bytes.count, found.count < 16 {
      guard bytes[index] == 0x34 || bytes[index] == 0x35, bytes[index + 1] == 0x2E, index == 0 || !isNamePart(bytes[index - 1]) else {
        index += 1
        continue
      }
      var end = index + 2
      var dots = 1
      var digits = 0
      var isGood = true
      while end < bytes.count {
        if (0x30...0x39).contains(bytes[end]) {
          digits += 1
          if digits > 3 { isGood = false }
        } else if bytes[end] == 0x2E, end + 1 < bytes.count, (0x30...0x39).contains(bytes[end + 1]) {
          if digits == 0 { isGood = false }
          dots += 1
          digits = 0
        } else {
          break
        }
        end += 1
      }
      if isGood, dots == 2, digits > 0, end == bytes.count || !isLetter(bytes[end]) {
        let text = String(decoding: bytes[index..<end], as: UTF8.self)
        // RFC 3463 knows subjects 0 to 7.
        if let subject = text.split(separator: ".").dropFirst().first.flatMap({ Int($0) }), subject <= 7 { found.append(text) }
      }
      index = max(end, index + 1)
    }
    return found
  }

  /// Where the first SMTP refusal begins: `550 …`, `550-…`, `554 5.7.1 …`.
  static func replyStart(_ text: some StringProtocol) -> String.UTF8View.Index? {
    let view = text.utf8
    var index = view.startIndex
    var previous: UInt8 = 0x20
    var count = 0
    while index != view.endIndex, count < 8192 {
      let byte = view[index]
      if byte == 0x34 || byte == 0x35, !isNamePart(previous), previous != 0x2D {
        let four = Array(view[index...].prefix(5))
        if four.count >= 3, (0x30...0x35).contains(four[1]), (0x30...0x39).contains(four[2]),
          four.count == 3 || four[3] == 0x20 || four[3] == 0x2D || four[3] == 0x09 || four[3] == 0x3A || four[3] == 0x2C || four[3] == 0x0A
            || four[3] == 0x0D
            || (four[3] == 0x23 && four.count > 4)
        {
          return index
        }
      }
      previous = byte
      index = view.index(after: index)
      count += 1
    }
    return nil
  }

  static func isPermanentReply(_ text: some StringProtocol) -> Bool? {
    replyStart(text).map { text.utf8[$0] == 0x35 }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
  private static func isNamePart(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || isLetter(byte) || byte == 0x2E || byte == 0x40 || byte == 0x5F
  }
}
