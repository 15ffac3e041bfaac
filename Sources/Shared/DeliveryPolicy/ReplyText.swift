internal import MailModel

/// A reply reduced to what rules look at: codes, and lower-case words with one space between and around them.
///
/// Addresses, IP addresses and repeated codes are left out and accents folded, so that `550-5.1.1 User <a@b> doesn't` and
/// its next line `550 5.1.1 exist.` read ` user doesnt exist `. Work and memory are bounded by ``limit``.
struct ReplyText {
  /// Bytes of a reply that are looked at; replies are data from strangers.
  static let limit = 2048

  /// 0 when the text has none.
  private(set) var code = 0
  /// The one that fits the code first.
  private(set) var enhanced: [EnhancedStatusCode] = []
  private(set) var words: [UInt8] = [UInt8(ascii: " ")]

  init(code: Int, lines: [String]) {
    self.code = code
    var bytes: [UInt8] = []
    for line in lines {
      bytes.append(contentsOf: line.utf8.prefix(Self.limit - bytes.count))
      bytes.append(UInt8(ascii: " "))
      if bytes.count >= Self.limit { break }
    }
    read(bytes[...])
  }

  /// `550-5.1.1 …` with or without line ends, also wrapped as in `host mx said: 550 5.1.1 …`.
  init(_ text: String) {
    let bytes = Array(text.utf8.prefix(Self.limit))
    var start = 0
    if let leading = Self.leadingCode(bytes) {
      code = leading
    } else if let embedded = Self.embeddedCode(bytes) {
      (code, start) = embedded
    }
    read(bytes[start...])
    if code == 0, let first = enhanced.first { code = first.subjectClass * 100 }
  }

  /// Takes a code from beside the text. One in the text goes first unless it says nothing (`5.0.0`).
  mutating func complete(_ status: EnhancedStatusCode) {
    if code == 0 { code = status.subjectClass * 100 }
    guard enhanced.first.map({ ($0.subject, $0.detail) == (0, 0) }) ?? true, status.subjectClass == code / 100 else { return }
    enhanced.insert(status, at: 0)
  }

  private mutating func read(_ bytes: ArraySlice<UInt8>) {
    words.reserveCapacity(bytes.count + 2)
    var start = bytes.startIndex
    while start < bytes.endIndex {
      guard !Self.isDelimiter(bytes[start]) else {
        start += 1
        continue
      }
      var end = start
      while end < bytes.endIndex, !Self.isDelimiter(bytes[end]) { end += 1 }
      readToken(bytes[start..<end])
      start = end
    }
    separate()
    let digit = code / 100
    if let fitting = enhanced.firstIndex(where: { $0.subjectClass == digit && ($0.subject, $0.detail) != (0, 0) })
      ?? enhanced.firstIndex(where: { $0.subjectClass == digit }) ?? enhanced.firstIndex(where: { $0.subjectClass != 2 })
    {
      enhanced.swapAt(0, fitting)
    }
  }

  private mutating func readToken(_ token: ArraySlice<UInt8>) {
    let isURL = Self.isURL(token)
    if let at = token.firstIndex(of: UInt8(ascii: "@")), !isURL {
      if let colon = token[..<at].lastIndex(of: UInt8(ascii: ":")) { readWords(token[..<colon]) }
      // `user@example.org:blocked`: what follows an address is said of it.
      if let colon = token[at...].firstIndex(of: UInt8(ascii: ":")) { readWords(token[(colon + 1)...]) }
      return
    }
    if Self.isIPv6(token) { return }
    let start = words.count
    readWords(token)
    if isURL { dropPageWords(from: start) }
  }

  /// Words that the address of any help page may hold: they are about the page, not about the refusal.
  private static let pageWords: Set<String> = [
    "ip", "ips", "error", "errors", "message", "messages", "help", "support", "mail", "email", "policy", "policies", "sender", "senders",
    "header", "headers", "content",
  ]

  /// Spam is fought, not named, by a host or a page called after it (`antispam.example`, `help_spam_16.htm`).
  private mutating func dropPageWords(from start: Int) {
    let found = words[start...].split(separator: 0x20)
    var kept: [UInt8] = []
    for word in found {
      let text = String(decoding: word, as: UTF8.self)
      let isAboutSpam = ["spam", "antispam", "notspam", "nospam"].contains(text)
      guard !isAboutSpam, !Self.pageWords.contains(text) else { continue }
      kept += word + [0x20]
    }
    words.replaceSubrange(start..., with: kept)
  }

  private mutating func readWords(_ token: ArraySlice<UInt8>) {
    var index = token.startIndex
    while index < token.endIndex {
      let byte = token[index]
      if Self.isDigit(byte), index == token.startIndex || !Self.isNamePart(token[index - 1]) {
        if let next = takeNumber(token, at: index) {
          index = next
          continue
        }
      }
      index = takeCharacter(token, at: index)
    }
    separate()
  }

  /// Takes an enhanced code, an IP address or the reply's own code out of the text; nil when it is another number.
  private mutating func takeNumber(_ token: ArraySlice<UInt8>, at start: Int) -> Int? {
    var end = start
    var parts: [Int] = [0]
    var digits = 0
    while end < token.endIndex, parts.count <= 16 {
      if Self.isDigit(token[end]) {
        digits += 1
        guard digits <= 3, let last = parts.popLast() else { return nil }
        parts.append(last * 10 + Int(token[end] - 0x30))
      } else if token[end] == UInt8(ascii: "."), digits > 0, end + 1 < token.endIndex, Self.isDigit(token[end + 1]) {
        parts.append(0)
        digits = 0
      } else {
        break
      }
      end += 1
    }
    if end < token.endIndex, Self.isLetter(token[end]) { return nil }
    switch parts.count {
    case 1: return parts[0] == code && code != 0 && end - start == 3 ? end : nil
    case 3:
      guard [2, 4, 5].contains(parts[0]), parts[1] <= 9, enhanced.count < 8 else { return nil }
      enhanced.append(EnhancedStatusCode(parts[0], parts[1], parts[2]))
      return end
    case 4...: return end
    default: return nil
    }
  }

  private mutating func takeCharacter(_ token: ArraySlice<UInt8>, at index: Int) -> Int {
    let byte = token[index]
    let next = index + 1
    switch byte {
    case 0x41...0x5A: words.append(byte + 0x20)
    case 0x61...0x7A, 0x30...0x39: words.append(byte)
    case UInt8(ascii: "'"), UInt8(ascii: "`"): break
    case UInt8(ascii: "-"):
      // "e-mail" is one word.
      let count = words.count
      if count < 2 || words[count - 1] == 0x20 || words[count - 2] != 0x20 || !Self.isLetter(words[count - 1]) { separate() }
    case 0xC3 where next < token.endIndex:
      words.append(contentsOf: Self.folded(token[next]))
      return next + 1
    case 0xC2 where next < token.endIndex:
      separate()
      return next + 1
    case 0xE2 where next + 1 < token.endIndex && token[next] == 0x80:
      if token[next + 1] != 0x98 && token[next + 1] != 0x99 { separate() }
      return next + 2
    case 0x80...: words.append(byte)
    default: separate()
    }
    return next
  }

  private mutating func separate() {
    if words.last != 0x20 { words.append(0x20) }
  }
}

extension ReplyText {
  /// Second byte of U+00C0…U+00FF in UTF-8, as plain letters.
  private static func folded(_ byte: UInt8) -> [UInt8] {
    switch byte | 0x20 {
    case 0x9F, 0xBF: byte == 0x9F ? Array("ss".utf8) : [UInt8(ascii: "y")]
    case 0xA0...0xA6: [UInt8(ascii: "a")]
    case 0xA7: [UInt8(ascii: "c")]
    case 0xA8...0xAB: [UInt8(ascii: "e")]
    case 0xAC...0xAF: [UInt8(ascii: "i")]
    case 0xB1: [UInt8(ascii: "n")]
    case 0xB2...0xB6, 0xB8: [UInt8(ascii: "o")]
    case 0xB9...0xBC: [UInt8(ascii: "u")]
    default: [UInt8(ascii: "y")]
    }
  }

  private static func isDelimiter(_ byte: UInt8) -> Bool {
    switch byte {
    case 0...0x20, 0x7F, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "["), UInt8(ascii: "]"),
      UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "\""), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="):
      true
    default: false
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
  private static func isNamePart(_ byte: UInt8) -> Bool { isDigit(byte) || isLetter(byte) || byte == UInt8(ascii: ".") }

  private static func isURL(_ token: ArraySlice<UInt8>) -> Bool {
    guard let colon = token.firstIndex(of: UInt8(ascii: ":")), colon + 2 < token.endIndex else { return false }
    return token[colon + 1] == UInt8(ascii: "/") && token[colon + 2] == UInt8(ascii: "/")
  }

  private static func isIPv6(_ token: ArraySlice<UInt8>) -> Bool {
    var colons = 0
    for byte in token {
      switch byte {
      case UInt8(ascii: ":"): colons += 1
      case 0x30...0x39, 0x41...0x46, 0x61...0x66, UInt8(ascii: "."): break
      default: return false
      }
    }
    return colons >= 2
  }

  private static func leadingCode(_ bytes: [UInt8]) -> Int? {
    guard let start = bytes.firstIndex(where: { $0 > 0x20 }) else { return nil }
    return code(bytes, at: start)
  }

  /// The first three digits from 400 to 599 after a colon, bracket or line end, and where they stand: what comes before
  /// them is the relay's wrapping, not the reply.
  private static func embeddedCode(_ bytes: [UInt8]) -> (code: Int, start: Int)? {
    var mayStart = false
    for (index, byte) in bytes.enumerated() {
      switch byte {
      case 0x0A, 0x0D, 0x22, 0x27, 0x28, 0x3A, 0x3B, 0x3C, 0x3E, 0x5B, 0x5D: mayStart = true
      case 0x20: break
      default:
        if mayStart, let code = code(bytes, at: index), isRefusal(code) { return (code, index) }
        mayStart = false
      }
    }
    return nil
  }

  /// 42x to 47x and 50x to 57x: no protocol gives other numbers, providers' own ones in brackets (`[416]`) are no codes.
  private static func isRefusal(_ code: Int) -> Bool { (420...479).contains(code) || (500...579).contains(code) }

  private static func code(_ bytes: [UInt8], at start: Int) -> Int? {
    guard start + 3 <= bytes.count, (0x32...0x35).contains(bytes[start]), isDigit(bytes[start + 1]), isDigit(bytes[start + 2])
    else { return nil }
    if start + 3 < bytes.count {
      let next = bytes[start + 3]
      guard !isDigit(next), !isLetter(next) else { return nil }
      if next == UInt8(ascii: "."), start + 4 < bytes.count, isDigit(bytes[start + 4]) { return nil }
    }
    return bytes[start..<start + 3].reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }
}
