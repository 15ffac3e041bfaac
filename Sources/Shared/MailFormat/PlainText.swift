/// The text part derived from HTML when the author gave none (contract section 1.2): tags out, block ends as line ends,
/// the common entities decoded. No renderer: enough that a text reader sees the words.
package enum PlainText {
  private static let blocks: Set<String> = [
    "p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr",
  ]
  private static let entities: [String: Character] = [
    "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " ", "copy": "©", "mdash": "—", "ndash": "–",
    "hellip": "…", "euro": "€",
  ]

  package static func from(html: String) -> String {
    var output = ""
    var hidden: String?
    var index = html.startIndex
    while index < html.endIndex {
      let character = html[index]
      if character == "<", let close = html[index...].firstIndex(of: ">") {
        let tag = html[html.index(after: index)..<close].lowercased()
        let isClosing = tag.hasPrefix("/")
        let name = String(tag.drop { $0 == "/" }.prefix { $0.isLetter || $0.isNumber })
        if let waiting = hidden {
          if isClosing && name == waiting { hidden = nil }
        } else if name == "style" || name == "script" || name == "head" {
          if !isClosing { hidden = name }
        } else if blocks.contains(name), !output.isEmpty, !output.hasSuffix("\n") {
          output += "\n"
        }
        index = html.index(after: close)
        continue
      }
      if hidden == nil {
        if character == "&", let (decoded, next) = entity(html, index) {
          output.append(decoded)
          index = next
          continue
        }
        if character.isWhitespace {
          if !output.isEmpty, output.last?.isWhitespace == false { output += " " }
        } else {
          output.append(character)
        }
      }
      index = html.index(after: index)
    }
    while output.last?.isWhitespace == true { output.removeLast() }
    return output
  }

  private static func entity(_ html: String, _ start: String.Index) -> (Character, String.Index)? {
    let limit = html.index(start, offsetBy: 10, limitedBy: html.endIndex) ?? html.endIndex
    guard let end = html[start..<limit].firstIndex(of: ";") else { return nil }
    let name = html[html.index(after: start)..<end]
    let next = html.index(after: end)
    if let known = entities[String(name)] { return (known, next) }
    guard name.hasPrefix("#") else { return nil }
    let digits = name.dropFirst()
    let value = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
    guard let scalar = value.flatMap(Unicode.Scalar.init) else { return nil }
    return (Character(scalar), next)
  }
}
