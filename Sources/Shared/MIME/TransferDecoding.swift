/// Content-Transfer-Encoding, read leniently (RFC 2045 §6): what is not of the alphabet is passed over, a cut end is borne.
package enum TransferDecoding {
  /// - Parameter limit: octets of output at most.
  package static func decode(_ octets: ArraySlice<UInt8>, _ encoding: String, limit: Int) -> [UInt8] {
    switch encoding {
    case "base64": base64(octets, limit: limit)
    case "quoted-printable": quotedPrintable(octets, limit: limit)
    default: Array(octets.prefix(limit))
    }
  }

  static func base64(_ octets: ArraySlice<UInt8>, limit: Int) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(min(limit, octets.count * 3 / 4 + 3))
    var group: UInt32 = 0
    var held = 0
    for byte in octets {
      let value: UInt8
      switch byte {
      case 0x41...0x5A: value = byte - 0x41
      case 0x61...0x7A: value = byte - 0x61 + 26
      case 0x30...0x39: value = byte - 0x30 + 52
      case 0x2B, 0x2D: value = 62
      case 0x2F, 0x5F: value = 63
      case 0x3D:
        // Padding ends a run; concatenated runs exist in the wild.
        if held >= 2 { output.append(UInt8(truncatingIfNeeded: (group << UInt32(6 * (4 - held))) >> 16)) }
        if held == 3 { output.append(UInt8(truncatingIfNeeded: (group << 6) >> 8)) }
        group = 0
        held = 0
        continue
      default: continue
      }
      group = group << 6 | UInt32(value)
      held += 1
      guard held == 4 else { continue }
      output.append(UInt8(truncatingIfNeeded: group >> 16))
      output.append(UInt8(truncatingIfNeeded: group >> 8))
      output.append(UInt8(truncatingIfNeeded: group))
      group = 0
      held = 0
      if output.count >= limit { return Array(output.prefix(limit)) }
    }
    if held >= 2 { output.append(UInt8(truncatingIfNeeded: (group << UInt32(6 * (4 - held))) >> 16)) }
    if held == 3 { output.append(UInt8(truncatingIfNeeded: (group << 6) >> 8)) }
    return Array(output.prefix(limit))
  }

  static func quotedPrintable(_ octets: ArraySlice<UInt8>, limit: Int) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(min(limit, octets.count))
    var scanner = LineScanner(octets)
    while let whole = scanner.next(), output.count < limit {
      var line = whole
      while let last = line.last, last == 0x20 || last == 0x09 { line.removeLast() }
      var isSoft = false
      if line.last == 0x3D {
        isSoft = true
        line.removeLast()
      }
      escaped(line, 0x3D, into: &output)
      if !isSoft { output += [0x0D, 0x0A] }
    }
    return Array(output.prefix(limit))
  }

  /// The Q encoding of RFC 2047 §4.2.
  static func q(_ octets: ArraySlice<UInt8>) -> [UInt8] {
    var output: [UInt8] = []
    escaped(octets, 0x3D, into: &output)
    for index in output.indices where output[index] == 0x5F { output[index] = 0x20 }
    return output
  }

  static func percent(_ octets: ArraySlice<UInt8>) -> [UInt8] {
    var output: [UInt8] = []
    escaped(octets, 0x25, into: &output)
    return output
  }

  private static func escaped(_ octets: ArraySlice<UInt8>, _ mark: UInt8, into output: inout [UInt8]) {
    var index = octets.startIndex
    while index < octets.endIndex {
      let byte = octets[index]
      if byte == mark, index + 2 < octets.endIndex, let high = hex(octets[index + 1]), let low = hex(octets[index + 2]) {
        output.append(high << 4 | low)
        index += 3
      } else {
        output.append(byte)
        index += 1
      }
    }
  }

  private static func hex(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
