/// RFC 4648, without Foundation: the worker links none of it.
package enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  private static let reverse: [UInt8] = {
    var table = [UInt8](repeating: 0xFF, count: 256)
    for (value, character) in alphabet.enumerated() { table[Int(character)] = UInt8(value) }
    return table
  }()

  /// - Parameter lineLength: characters a line (76 for MIME, RFC 2045 §6.8), CRLF between; 0 = one line.
  package static func encode(_ bytes: some Collection<UInt8>, lineLength: Int = 0) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count * 4 / 3 + (lineLength > 0 ? bytes.count / 28 : 0) + 4)
    var group: UInt32 = 0
    var held = 0
    var column = 0
    func emit(_ value: UInt32) { output.append(alphabet[Int(value & 63)]) }
    for byte in bytes {
      group = group << 8 | UInt32(byte)
      held += 1
      guard held == 3 else { continue }
      if lineLength > 0, column == lineLength {
        output += [0x0D, 0x0A]
        column = 0
      }
      emit(group >> 18)
      emit(group >> 12)
      emit(group >> 6)
      emit(group)
      column += 4
      group = 0
      held = 0
    }
    guard held > 0 else { return output }
    if lineLength > 0, column == lineLength { output += [0x0D, 0x0A] }
    group <<= held == 1 ? 16 : 8
    emit(group >> 18)
    emit(group >> 12)
    if held == 2 { emit(group >> 6) } else { output.append(0x3D) }
    output.append(0x3D)
    return output
  }

  package static func string(_ bytes: some Collection<UInt8>) -> String { String(decoding: encode(bytes), as: UTF8.self) }

  /// Strict: nil on any octet that is neither alphabet, padding in its place, nor white space between.
  package static func decode(_ text: String) -> [UInt8]? {
    var output: [UInt8] = []
    output.reserveCapacity(text.utf8.count * 3 / 4)
    var group: UInt32 = 0
    var held = 0
    var padding = 0
    for byte in text.utf8 {
      if byte == 0x0D || byte == 0x0A || byte == 0x20 || byte == 0x09 { continue }
      if byte == 0x3D {
        padding += 1
        continue
      }
      let value = reverse[Int(byte)]
      guard value != 0xFF, padding == 0 else { return nil }
      group = group << 6 | UInt32(value)
      held += 1
      guard held == 4 else { continue }
      output.append(UInt8(group >> 16 & 0xFF))
      output.append(UInt8(group >> 8 & 0xFF))
      output.append(UInt8(group & 0xFF))
      group = 0
      held = 0
    }
    switch (held, padding) {
    case (0, 0): return output
    case (2, 2): output.append(UInt8(group >> 4 & 0xFF))
    case (3, 1):
      output.append(UInt8(group >> 10 & 0xFF))
      output.append(UInt8(group >> 2 & 0xFF))
    default: return nil
    }
    return output
  }
}

/// RFC 4648 §6 in lower case without padding: what survives servers that fold the case of local parts.
package enum Base32 {
  private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

  package static func encode(_ bytes: [UInt8]) -> String {
    var output: [UInt8] = []
    var group: UInt64 = 0
    var bits = 0
    for byte in bytes {
      group = group << 8 | UInt64(byte)
      bits += 8
      while bits >= 5 {
        bits -= 5
        output.append(alphabet[Int(group >> UInt64(bits) & 31)])
      }
    }
    if bits > 0 { output.append(alphabet[Int(group << UInt64(5 - bits) & 31)]) }
    return String(decoding: output, as: UTF8.self)
  }

  /// In either case; nil on another character or on bits that a canonical encoder would not leave.
  package static func decode(_ text: some StringProtocol) -> [UInt8]? {
    var output: [UInt8] = []
    var group: UInt64 = 0
    var bits = 0
    for byte in text.utf8 {
      let value: UInt8
      switch byte {
      case 0x61...0x7A: value = byte - 0x61
      case 0x41...0x5A: value = byte - 0x41
      case 0x32...0x37: value = byte - 0x32 + 26
      default: return nil
      }
      group = group << 5 | UInt64(value)
      bits += 5
      if bits >= 8 {
        bits -= 8
        output.append(UInt8(group >> UInt64(bits) & 0xFF))
      }
    }
    guard bits < 5, group & (1 << UInt64(bits) - 1) == 0 else { return nil }
    return output
  }
}
