/// The binary form of every record that crosses a process border or rests on disk: a run of fields, each a tag octet, a
/// length (unsigned LEB128) and that many octets. Fields may repeat and may be absent; a reader skips tags it does not
/// know, so an older program reads what a newer one wrote (decision: no JSON between our own processes on the hot path).
package struct RecordWriter: Sendable {
  package private(set) var bytes: [UInt8] = []

  package init(capacity: Int = 256) { bytes.reserveCapacity(capacity) }

  package mutating func put(_ tag: UInt8, _ value: some Collection<UInt8>) {
    bytes.append(tag)
    putLength(value.count)
    bytes.append(contentsOf: value)
  }

  package mutating func put(_ tag: UInt8, _ value: String) {
    var value = value
    value.withUTF8 { utf8 in
      bytes.append(tag)
      putLength(utf8.count)
      bytes.append(contentsOf: utf8)
    }
  }

  /// Absent values write nothing.
  package mutating func put(_ tag: UInt8, _ value: String?) {
    if let value { put(tag, value) }
  }

  package mutating func put(_ tag: UInt8, _ value: Int64) {
    var encoded: [UInt8] = []
    var rest = UInt64(bitPattern: (value << 1) ^ (value >> 63))
    while rest >= 0x80 {
      encoded.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    encoded.append(UInt8(rest))
    put(tag, encoded)
  }

  package mutating func put(_ tag: UInt8, _ value: Int) { put(tag, Int64(value)) }
  package mutating func put(_ tag: UInt8, _ value: Bool) { put(tag, value ? 1 as Int64 : 0) }

  private mutating func putLength(_ length: Int) {
    var rest = UInt(length)
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

/// Reads what ``RecordWriter`` wrote. Every malformed length ends in ``RecordError/truncated``, never in a trap.
package struct RecordReader: Sendable {
  private let bytes: ArraySlice<UInt8>
  private var index: Int

  package init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    self.index = bytes.startIndex
  }

  package init(_ bytes: [UInt8]) { self.init(bytes[...]) }

  /// The next field, or nil at the end.
  package mutating func next() throws(RecordError) -> RecordField? {
    guard index < bytes.endIndex else { return nil }
    let tag = bytes[index]
    index += 1
    let length = try readLength()
    guard length <= bytes.endIndex - index else { throw .truncated }
    defer { index += length }
    return RecordField(tag: tag, bytes: bytes[index..<index + length])
  }

  private mutating func readLength() throws(RecordError) -> Int {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while index < bytes.endIndex, shift < 35 {
      let byte = bytes[index]
      index += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return Int(value) }
      shift += 7
    }
    throw .truncated
  }
}

package struct RecordField: Sendable {
  package let tag: UInt8
  package let bytes: ArraySlice<UInt8>

  package var string: String { String(decoding: bytes, as: UTF8.self) }
  package var bool: Bool { int64 != 0 }
  package var int: Int { Int(truncatingIfNeeded: int64) }

  package var int64: Int64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    for byte in bytes.prefix(10) {
      value |= UInt64(byte & 0x7F) << shift
      shift += 7
    }
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }
}

package enum RecordError: Error, Equatable, Sendable {
  case truncated
  case missing(tag: UInt8)
}
