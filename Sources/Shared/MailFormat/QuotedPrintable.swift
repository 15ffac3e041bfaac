/// RFC 2045 §6.7 for text: lines of at most 76 characters, CRLF line ends.
package enum QuotedPrintable {
  private static let hex = Array("0123456789ABCDEF".utf8)

  package static func encode(_ text: String) -> [UInt8] {
    var text = text
    return text.withUTF8 { encode(octets: $0) }
  }

  /// Text in whatever character set.
  package static func encode(octets: some Collection<UInt8>) -> [UInt8] {
    octets.withContiguousStorageIfAvailable { bytes in
      var output: [UInt8] = []
      output.reserveCapacity(bytes.count + bytes.count / 8 + 16)
      var column = 0
      var index = 0
      while index < bytes.count {
        let byte = bytes[index]
        if byte == 0x0D || byte == 0x0A {
          output.append(0x0D)
          output.append(0x0A)
          column = 0
          index += byte == 0x0D && index + 1 < bytes.count && bytes[index + 1] == 0x0A ? 2 : 1
          continue
        }
        let endsLine = index + 1 == bytes.count || bytes[index + 1] == 0x0D || bytes[index + 1] == 0x0A
        let isPlain =
          (0x21...0x7E).contains(byte) && byte != 0x3D || ((byte == 0x20 || byte == 0x09) && !endsLine)
        let width = isPlain ? 1 : 3
        if column + width > (endsLine ? 76 : 75) {
          output.append(0x3D)
          output.append(0x0D)
          output.append(0x0A)
          column = 0
        }
        if isPlain {
          output.append(byte)
        } else {
          output.append(0x3D)
          output.append(hex[Int(byte >> 4)])
          output.append(hex[Int(byte & 15)])
        }
        column += width
        index += 1
      }
      return output
    } ?? encode(octets: Array(octets))
  }
}
