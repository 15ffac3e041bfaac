package import MailModel

/// What a peer may not do.
package enum SMTPProtocolError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Not three digits and a separator, or a code that changes inside one reply.
  case malformed(String)
  /// A line over 4 KiB, over 100 lines, or over 64 KiB in one reply (contract section 11.4).
  case tooLong

  package var description: String {
    switch self {
    case .malformed(let line): "malformed reply: \(line)"
    case .tooLong: "the reply is too long"
    }
  }
}

/// Octets in, whole replies out (RFC 5321 §4.2.1). Takes CRLF and, as many peers send it, bare LF. Never keeps more than
/// its limits, however much a peer sends.
package struct SMTPReplyParser: Sendable {
  package static let maxLine = 4096
  package static let maxLines = 100
  package static let maxReply = 65536

  private var line: [UInt8] = []
  private var code: Int?
  private var lines: [String] = []
  private var size = 0

  package init() {}

  /// True when octets of an unfinished reply are kept.
  package var isMidReply: Bool { !line.isEmpty || code != nil }

  /// Feeds octets; hands each completed reply to `take`.
  package mutating func feed(_ bytes: some Sequence<UInt8>, take: (SMTPReply) -> Void) throws(SMTPProtocolError) {
    for byte in bytes {
      if byte == 0x0A {
        if line.last == 0x0D { line.removeLast() }
        if let reply = try endLine() { take(reply) }
        line.removeAll(keepingCapacity: true)
      } else {
        size += 1
        guard line.count < Self.maxLine, size <= Self.maxReply else { throw .tooLong }
        line.append(byte)
      }
    }
  }

  private mutating func endLine() throws(SMTPProtocolError) -> SMTPReply? {
    guard line.count >= 3, line[..<3].allSatisfy({ (0x30...0x39).contains($0) }), (0x32...0x35).contains(line[0]) else {
      throw .malformed(Self.text(line.prefix(80)))
    }
    let code = line[..<3].reduce(0) { $0 * 10 + Int($1 - 0x30) }
    let separator = line.count > 3 ? line[3] : 0x20
    guard separator == 0x20 || separator == 0x2D, self.code == nil || self.code == code else {
      throw .malformed(Self.text(line.prefix(80)))
    }
    self.code = code
    lines.append(Self.text(line.dropFirst(4)))
    guard lines.count <= Self.maxLines else { throw .tooLong }
    guard separator == 0x20 else { return nil }
    let reply = SMTPReply(code: code, lines: lines)
    self.code = nil
    lines = []
    size = 0
    return reply
  }

  /// Reply text is data from a stranger: control characters and broken UTF-8 are replaced.
  private static func text(_ bytes: some Collection<UInt8>) -> String {
    let decoded = String(decoding: bytes, as: UTF8.self)
    guard bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return decoded }
    return String(String.UnicodeScalarView(decoded.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
  }
}
