/// Turns an 8-bit message into one that a server without 8BITMIME may get (RFC 6152 §3): text parts become quoted-printable,
/// others base64, multiparts and enclosed messages keep their structure. Done before signing, because it changes the body.
package enum SevenBitConversion {
  /// Deeper nesting than this is left alone.
  static let maxDepth = 16

  /// - Returns: nil when it cannot be done without harm: octets over 0x7F in a header, or inside a signed multipart (RFC 1847
  ///   §2.1), a part that is encoded already, or a message type that allows no encoding.
  package static func convert(_ message: RenderedMessage) -> RenderedMessage? {
    convert(message, depth: 0)
  }

  private static func convert(_ entity: RenderedMessage, depth: Int) -> RenderedMessage? {
    guard depth < maxDepth, !entity.isInternationalised else { return nil }
    guard entity.body.contains(where: { $0 >= 0x80 }) else { return entity }
    let type = entity.content("content-type") ?? "text/plain"
    let kind = type.prefix { $0 != ";" && $0 != " " }.lowercased()
    if kind.hasPrefix("multipart/") {
      guard kind != "multipart/signed", let boundary = parameter("boundary", of: type) else { return nil }
      return multipart(entity, Array("--\(boundary)".utf8), depth)
    }
    if kind == "message/rfc822" {
      guard let inner = try? MessageRenderer.split(entity.body), let converted = convert(inner, depth: depth + 1) else { return nil }
      return relabelled(entity, "7bit", converted.octets)
    }
    guard !kind.hasPrefix("message/") else { return nil }
    switch entity.content("content-transfer-encoding")?.lowercased() ?? "8bit" {
    case "7bit", "8bit", "binary":
      return kind.hasPrefix("text/")
        ? relabelled(entity, "quoted-printable", QuotedPrintable.encode(octets: entity.body))
        : relabelled(entity, "base64", Base64.encode(entity.body, lineLength: 76) + [0x0D, 0x0A])
    default: return nil
    }
  }

  /// Each part by itself. What stands before the first and after the last is shown to nobody: its octets are masked.
  private static func multipart(_ entity: RenderedMessage, _ delimiter: [UInt8], _ depth: Int) -> RenderedMessage? {
    var output: [UInt8] = []
    output.reserveCapacity(entity.body.count + entity.body.count / 4)
    let body = entity.body
    var part: Int?
    var position = 0
    while position < body.count {
      let end = lineEnd(body, position)
      if body[position..<end].starts(with: delimiter) {
        if let start = part {
          // The line end before a delimiter is the delimiter's (RFC 2046 §5.1.1).
          let stop = max(start, position - 2)
          guard let inner = try? MessageRenderer.split(Array(body[start..<stop])), let converted = convert(inner, depth: depth + 1) else {
            return nil
          }
          output += converted.octets
          output += [0x0D, 0x0A]
        }
        output += body[position..<end]
        let isLast = body[position..<end].dropFirst(delimiter.count).starts(with: [0x2D, 0x2D])
        part = isLast ? nil : end
      } else if part == nil {
        output += body[position..<end].map { $0 < 0x80 ? $0 : 0x3F }
      }
      position = end
    }
    // A last part without its closing delimiter.
    guard part == nil else { return nil }
    return relabelled(entity, "7bit", output)
  }

  private static func lineEnd(_ body: [UInt8], _ start: Int) -> Int {
    var index = start
    while index + 1 < body.count {
      if body[index] == 0x0D, body[index + 1] == 0x0A { return index + 2 }
      index += 1
    }
    return body.count
  }

  private static func relabelled(_ entity: RenderedMessage, _ encoding: String, _ body: [UInt8]) -> RenderedMessage {
    let field = Array("Content-Transfer-Encoding: \(encoding)\r\n".utf8)
    var fields = entity.fields
    if let index = fields.firstIndex(where: { RenderedMessage.name(of: $0) == "content-transfer-encoding" }) {
      fields[index] = field
    } else {
      fields.append(field)
    }
    return RenderedMessage(fields: fields, body: body)
  }

  /// Value of a parameter of a structured field, quotes taken off (RFC 2045 §5.1).
  static func parameter(_ name: String, of value: String) -> String? {
    var rest = Substring(value)
    while let semicolon = rest.firstIndex(of: ";") {
      rest = rest[rest.index(after: semicolon)...].drop { $0 == " " || $0 == "\t" }
      guard let equals = rest.firstIndex(of: "=") else { return nil }
      let isWanted = rest[..<equals].lowercased() == name
      rest = rest[rest.index(after: equals)...]
      var text = ""
      if rest.first == "\"" {
        rest = rest.dropFirst()
        while let character = rest.popFirst(), character != "\"" {
          if character == "\\", let next = rest.popFirst() { text.append(next) } else { text.append(character) }
        }
      } else {
        text = String(rest.prefix { $0 != ";" && $0 != " " && $0 != "\t" })
      }
      if isWanted { return text.isEmpty ? nil : text }
    }
    return nil
  }
}

extension RenderedMessage {
  /// Lower-case name of a complete field.
  static func name(of field: [UInt8]) -> String {
    String(decoding: field.prefix { $0 != 0x3A && $0 != 0x20 }, as: UTF8.self).lowercased()
  }

  /// Unfolded value of the first field of a name (lower case).
  func content(_ name: String) -> String? {
    guard let field = fields.first(where: { Self.name(of: $0) == name }) else { return nil }
    let value = field.drop { $0 != 0x3A }.dropFirst().filter { $0 != 0x0D && $0 != 0x0A }
    var text = Substring(String(decoding: value, as: UTF8.self))
    while text.first == " " || text.first == "\t" { text.removeFirst() }
    while text.last == " " || text.last == "\t" { text.removeLast() }
    return String(text)
  }
}
