/// The words of an HTML part, for reading and not for showing: tags out, block ends as line ends, common entities decoded.
/// One pass over the octets.
package enum HTMLText {
  private static let blocks: Set<String> = [
    "p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr", "pre", "td",
  ]
  private static let hiding: Set<String> = ["style", "script", "head", "title"]
  private static let entities: [String: String] = [
    "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " ", "#64": "@", "commat": "@",
  ]

  package static func read(_ html: String) -> String {
    let bytes = Array(html.utf8)
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count / 2)
    var hidden: String?
    var index = 0
    // Once there is no further ">", a "<" is text.
    var noMoreTags = false
    while index < bytes.count {
      let byte = bytes[index]
      if byte == 0x3C, !noMoreTags, index + 1 < bytes.count, isTagStart(bytes[index + 1]) {
        guard let close = bytes[index...].firstIndex(of: 0x3E) else {
          noMoreTags = true
          continue
        }
        let tag = bytes[(index + 1)..<close]
        let isClosing = tag.first == 0x2F
        let name = String(
          decoding: tag.drop { $0 == 0x2F }.prefix(12).prefix { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) },
          as: UTF8.self
        ).lowercased()
        if tag.contains(0x40), name.isEmpty || !tag.contains(0x20), !tag.contains(0x3D), hidden == nil {
          // "<a@b>" unescaped: an address, not a tag.
          output += bytes[index...close]
        } else if let waiting = hidden {
          if isClosing, name == waiting { hidden = nil }
        } else if hiding.contains(name) {
          if !isClosing { hidden = name }
        } else if blocks.contains(name) {
          output.append(0x0A)
        }
        index = close + 1
      } else if hidden != nil {
        index += 1
      } else if byte == 0x26, let (text, next) = entity(bytes, index) {
        output += text.utf8
        index = next
      } else {
        let isSpace = byte == 0x0A || byte == 0x0D || byte == 0x09 || byte == 0x20
        if !isSpace { output.append(byte) } else if let last = output.last, last != 0x20, last != 0x0A { output.append(0x20) }
        index += 1
      }
    }
    return String(decoding: output, as: UTF8.self)
  }

  private static func isTagStart(_ byte: UInt8) -> Bool {
    (0x61...0x7A).contains(byte | 0x20) || byte == 0x2F || byte == 0x21 || byte == 0x3F
  }

  private static func entity(_ bytes: [UInt8], _ start: Int) -> (String, Int)? {
    guard let end = bytes[start..<min(bytes.count, start + 10)].firstIndex(of: 0x3B) else { return nil }
    let name = String(decoding: bytes[(start + 1)..<end], as: UTF8.self)
    if let known = entities[name] { return (known, end + 1) }
    guard name.hasPrefix("#") else { return nil }
    let digits = name.dropFirst()
    let value = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
    guard let scalar = value.flatMap(Unicode.Scalar.init), scalar.value > 0 else { return nil }
    return (String(Character(scalar)), end + 1)
  }
}
