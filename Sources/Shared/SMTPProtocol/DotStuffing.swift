/// The transparency of RFC 5321 §4.5.2.
package enum DotStuffing {
  /// The octets of DATA: `message` (which ends its lines in CRLF) with leading dots doubled, its last line ended, and the
  /// final dot.
  package static func stuff(_ message: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(message.count + message.count / 128 + 8)
    message.withUnsafeBufferPointer { bytes in
      var start = 0
      if bytes.first == 0x2E { output.append(0x2E) }
      var index = 0
      while index < bytes.count {
        if bytes[index] == 0x0A, index + 1 < bytes.count, bytes[index + 1] == 0x2E {
          output.append(contentsOf: bytes[start...index])
          output.append(0x2E)
          start = index + 1
        }
        index += 1
      }
      output.append(contentsOf: bytes[start...])
    }
    if message.suffix(2) != [0x0D, 0x0A] { output += [0x0D, 0x0A] }
    output += [0x2E, 0x0D, 0x0A]
    return output
  }
}
