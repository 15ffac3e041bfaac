/// Mail addresses in running text, found by octets.
enum AddressText {
  /// An address as `local@domain`; where it stands in the text, its brackets included.
  struct Match {
    let address: String
    let range: Range<Int>
    let isBracketed: Bool
  }

  /// All addresses of a line, in order, at most 32. `<` … `>` may hold spaces and quotes within the local part.
  static func matches(_ line: [UInt8]) -> [Match] {
    var found: [Match] = []
    var floor = 0
    var index = 0
    while index < line.count, found.count < 32 {
      guard line[index] == 0x40 else {
        index += 1
        continue
      }
      var start = index
      if index > floor, line[index - 1] == 0x22, let quote = line[floor..<(index - 1)].lastIndex(of: 0x22) {
        start = quote
      } else {
        while start > floor, isLocal(line[start - 1]), index - start < 256 { start -= 1 }
      }
      // "RCPT TO:<a@b>" has its bracket; "for:a@b" has none.
      var end = index + 1
      if end < line.count, line[end] == 0x5B, let close = line[end...].prefix(64).firstIndex(of: 0x5D) {
        end = close + 1
      } else {
        while end < line.count, isDomain(line[end]), end - index < 256 { end += 1 }
        end = cutMixed(line, index + 1, end)
        while end > index + 1, line[end - 1] == 0x2E || line[end - 1] == 0x2D { end -= 1 }
      }
      while start < index, line[start] == 0x2E || line[start] == 0x27 { start += 1 }
      start = behindType(line, behindPunctuation(line, start, index), index)
      if start < index, end > index + 1 {
        let isBracketed = start > 0 && line[start - 1] == 0x3C
        let text = String(decoding: line[start..<end], as: UTF8.self)
        found.append(
          Match(
            address: text, range: (isBracketed ? start - 1 : start)..<(end < line.count && line[end] == 0x3E ? end + 1 : end),
            isBracketed: isBracketed))
      }
      floor = end
      index = max(end, index + 1)
    }
    return found
  }

  static func matches(_ line: some StringProtocol) -> [Match] { matches(Array(line.utf8.prefix(4096))) }

  static func first(_ text: some StringProtocol) -> String? { matches(text).first?.address }

  /// The address of a field like Final-Recipient: `rfc822; <a@b>`, `RFC822;a@b (A. B.)`, `LOCAL; "a b"@c`.
  static func ofRecipientField(_ value: String) -> String? {
    var text = value[...]
    if let semicolon = text.firstIndex(of: ";"), !text[..<semicolon].contains("@") { text = text[text.index(after: semicolon)...] }
    let bytes = Array(text.utf8.prefix(1024))
    let all = matches(bytes)
    if let match = all.first(where: \.isBracketed) ?? all.first { return match.address }
    // What was refused for being malformed is still what was refused.
    let word = text.filter { $0 != "<" && $0 != ">" && $0 != "\t" }.split(separator: " ").first { $0.contains("@") }
    return word.flatMap { $0.hasSuffix("@") || $0.hasPrefix("@") || $0.utf8.count > 320 ? nil : String($0) }
  }

  /// Wide and typographic punctuation is no part of a local part, though other letters may be (RFC 6531).
  private static func behindPunctuation(_ line: [UInt8], _ start: Int, _ at: Int) -> Int {
    var result = start
    var index = start
    while index + 2 < at {
      let (lead, middle) = (line[index], line[index + 1])
      let isPunctuation =
        lead == 0xE3 && middle == 0x80 || lead == 0xE2 && (middle == 0x80 || middle == 0x81)
        || lead == 0xEF && middle == 0xBC && !(0x90...0x99).contains(line[index + 2])
      if isPunctuation { result = index + 3 }
      index += isPunctuation ? 3 : 1
    }
    return min(result, at)
  }

  /// X.400 names carry the address as a typed value: `dda:SMTP=a@b`.
  private static func behindType(_ line: [UInt8], _ start: Int, _ at: Int) -> Int {
    guard let equals = line[start..<at].firstIndex(of: 0x3D), equals - start <= 8 else { return start }
    let type = String(decoding: line[start..<equals], as: UTF8.self).lowercased()
    return ["smtp", "rfc822", "rfc-822", "internet", "email"].contains(type) ? equals + 1 : start
  }

  /// `example.jp` out of `example.jpです`: no top-level domain mixes ASCII with other letters.
  private static func cutMixed(_ line: [UInt8], _ start: Int, _ end: Int) -> Int {
    let label = (line[start..<end].lastIndex(of: 0x2E) ?? start - 1) + 1
    guard label < end, line[label] < 0x80, let other = line[label..<end].firstIndex(where: { $0 >= 0x80 }) else { return end }
    return other
  }

  private static func isLocal(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x80...: true
    case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
      UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "?"),
      UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"),
      UInt8(ascii: "~"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  private static func isDomain(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x80...: true
    default: false
    }
  }
}
