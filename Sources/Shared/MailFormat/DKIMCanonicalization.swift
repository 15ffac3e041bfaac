/// RFC 6376 §3.4.2 and §3.4.4: relaxed, for one field and for the body.
enum DKIMCanonicalization {
  /// `name:value` in lower case name, unfolded, runs of white space as one space, with CRLF.
  static func field(_ field: [UInt8]) -> (name: String, octets: [UInt8])? {
    guard let colon = field.firstIndex(of: 0x3A) else { return nil }
    let name = String(decoding: field[..<colon], as: UTF8.self).trimmedOfSpace.lowercased()
    var output = Array(name.utf8)
    output.append(0x3A)
    output += value(field[(colon + 1)...])
    output += [0x0D, 0x0A]
    return (name, output)
  }

  static func value(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count)
    var spacePending = false
    for byte in bytes {
      switch byte {
      case 0x0D, 0x0A: continue
      case 0x20, 0x09: spacePending = true
      default:
        if spacePending, !output.isEmpty { output.append(0x20) }
        spacePending = false
        output.append(byte)
      }
    }
    return output
  }

  static func body(_ body: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: body.count + 2) { output, count in
      var written = 0
      var end = 0  // after the last line that is not empty
      var lineStart = 0
      var spacePending = false
      body.withUnsafeBufferPointer { bytes in
        var index = 0
        while index < bytes.count {
          let byte = bytes[index]
          if byte == 0x0D, index + 1 < bytes.count, bytes[index + 1] == 0x0A {
            let isEmpty = written == lineStart
            output[written] = 0x0D
            output[written + 1] = 0x0A
            written += 2
            lineStart = written
            spacePending = false
            if !isEmpty { end = written }
            index += 2
            continue
          }
          if byte == 0x20 || byte == 0x09 {
            spacePending = true
          } else {
            if spacePending {
              output[written] = 0x20
              written += 1
              spacePending = false
            }
            output[written] = byte
            written += 1
          }
          index += 1
        }
        if written > lineStart {
          output[written] = 0x0D
          output[written + 1] = 0x0A
          written += 2
          end = written
        }
      }
      count = end
    }
  }
}

extension String {
  fileprivate var trimmedOfSpace: String {
    var text = Substring(self)
    while let last = text.last, last == " " || last == "\t" { text.removeLast() }
    return String(text)
  }
}
