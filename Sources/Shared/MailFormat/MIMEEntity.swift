/// One node of a message's body: its own content fields and its encoded octets (RFC 2045).
struct MIMEEntity {
  /// Complete fields with CRLF.
  var fields: [[UInt8]]
  var body: [UInt8]

  static func text(_ type: String, _ text: String) -> MIMEEntity {
    let isPlain = isSevenBit(text)
    return MIMEEntity(
      fields: [
        HeaderEncoding.fold("Content-Type", "\(type); charset=utf-8"),
        HeaderEncoding.fold("Content-Transfer-Encoding", isPlain ? "7bit" : "quoted-printable"),
      ],
      body: isPlain ? withLineEnds(text) : QuotedPrintable.encode(text))
  }

  static func attachment(_ name: String, type: String, content: [UInt8], contentID: String?, isInline: Bool) -> MIMEEntity {
    var fields = [
      HeaderEncoding.fold("Content-Type", type + parameter("name", name)),
      HeaderEncoding.fold("Content-Transfer-Encoding", "base64"),
      HeaderEncoding.fold("Content-Disposition", (isInline ? "inline" : "attachment") + parameter("filename", name)),
    ]
    if let contentID { fields.append(HeaderEncoding.fold("Content-ID", "<\(contentID)>")) }
    return MIMEEntity(fields: fields, body: Base64.encode(content, lineLength: 76))
  }

  static func multipart(_ subtype: String, boundary: String, _ parts: [MIMEEntity], parameters: String = "") -> MIMEEntity {
    var body: [UInt8] = []
    body.reserveCapacity(parts.reduce(256) { $0 + $1.body.count + 512 })
    for part in parts {
      body += Array("--\(boundary)\r\n".utf8)
      for field in part.fields { body += field }
      body += [0x0D, 0x0A]
      body += part.body
      body += [0x0D, 0x0A]
    }
    body += Array("--\(boundary)--\r\n".utf8)
    return MIMEEntity(
      fields: [HeaderEncoding.fold("Content-Type", "multipart/\(subtype);\(parameters) boundary=\"\(boundary)\"")], body: body)
  }

  /// `; name="…"`, in RFC 2231 form when it is not plain ASCII.
  private static func parameter(_ name: String, _ value: String) -> String {
    guard !value.isEmpty else { return "" }
    let clean = HeaderEncoding.flattened(value)
    if clean.utf8.allSatisfy({ (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }) { return "; \(name)=\"\(clean)\"" }
    var encoded = ""
    for byte in clean.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2E, 0x2D, 0x5F: encoded.unicodeScalars.append(Unicode.Scalar(byte))
      default: encoded += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      }
    }
    return "; \(name)*=utf-8''\(encoded)"
  }

  /// ASCII, no control characters, no line over 998 octets, no trailing space: may travel as it is.
  private static func isSevenBit(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      var column = 0
      var previous: UInt8 = 0
      for byte in bytes {
        if byte == 0x0A || byte == 0x0D {
          if previous == 0x20 || previous == 0x09 { return false }
          column = 0
        } else {
          guard byte < 0x7F, byte >= 0x20 || byte == 0x09 else { return false }
          column += 1
          guard column <= HeaderEncoding.maxLine else { return false }
        }
        previous = byte
      }
      return previous != 0x20 && previous != 0x09
    }
  }

  /// CRLF for every CRLF, CR or LF.
  private static func withLineEnds(_ text: String) -> [UInt8] {
    var text = text
    return text.withUTF8 { bytes in
      var output: [UInt8] = []
      output.reserveCapacity(bytes.count + bytes.count / 32)
      var start = 0
      var index = 0
      while index < bytes.count {
        let byte = bytes[index]
        if byte == 0x0A || byte == 0x0D {
          output.append(contentsOf: bytes[start..<index])
          output.append(0x0D)
          output.append(0x0A)
          if byte == 0x0D, index + 1 < bytes.count, bytes[index + 1] == 0x0A { index += 1 }
          start = index + 1
        }
        index += 1
      }
      output.append(contentsOf: bytes[start...])
      return output
    }
  }
}
