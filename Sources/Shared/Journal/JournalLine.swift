package import MailModel

/// One line of an IP's journal (DESIGN section 5).
package struct JournalLine: Sendable, Equatable {
  package enum Kind: UInt8, Sendable {
    /// The worker took it up; what a crash marks.
    case begin = 1
    /// Written before the octets that contain the final dot go to the kernel.
    case dot = 2
    /// Written after the complete reply was read; body = ``AttemptResult``.
    case reply = 3
    /// Begun and let go before its dot, by a worker that ends in order: no crash, nothing to mark.
    case abandon = 4
  }

  package var kind: Kind
  package var number: MessageNumber
  package var serial: Int
  package var at: Milliseconds
  package var body: [UInt8]

  package init(kind: Kind, number: MessageNumber, serial: Int, at: Milliseconds, body: [UInt8] = []) {
    self.kind = kind
    self.number = number
    self.serial = serial
    self.at = at
    self.body = body
  }

  static let headerLength = 8
  /// Larger bodies are no lines of ours.
  static let maxLength = 1 << 20

  /// Length of what follows the header (4 octets, big-endian), FNV-1a of it (4), then kind, number, serial, time, body.
  func encoded() -> [UInt8] {
    var payload: [UInt8] = []
    payload.reserveCapacity(24 + body.count)
    payload.append(kind.rawValue)
    Self.append(number.value, to: &payload)
    Self.append(UInt64(serial), to: &payload)
    Self.append(UInt64(bitPattern: at), to: &payload)
    payload += body
    var line: [UInt8] = []
    line.reserveCapacity(Self.headerLength + payload.count)
    Self.append(UInt32(payload.count), to: &line)
    Self.append(Self.checksum(payload[...]), to: &line)
    return line + payload
  }

  init?(payload: ArraySlice<UInt8>) {
    guard payload.count >= 25, let first = payload.first, let kind = Kind(rawValue: first) else { return nil }
    let base = payload.startIndex + 1
    self.init(
      kind: kind, number: MessageNumber(Self.read(payload, base)), serial: Int(truncatingIfNeeded: Self.read(payload, base + 8)),
      at: Int64(bitPattern: Self.read(payload, base + 16)), body: Array(payload[(base + 24)...]))
  }

  static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var hash: UInt32 = 2_166_136_261
    for byte in bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
    return hash
  }

  private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.bigEndian) { bytes += $0 }
  }

  private static func read(_ bytes: ArraySlice<UInt8>, _ at: Int) -> UInt64 {
    bytes[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) }
  }
}

package enum JournalError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Another process holds the lock; its pid when it wrote one.
  case held(by: Int32?)
  case io(operation: String, errno: Int32)

  package var description: String {
    switch self {
    case .held(let pid): "the journal is held by process \(pid.map(String.init) ?? "?")"
    case .io(let operation, let code): "journal \(operation): errno \(code)"
    }
  }
}
