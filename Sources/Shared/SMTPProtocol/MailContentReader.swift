/// Reads the octets of DATA: takes the transparency dots out and finds the end (RFC 5321 §4.5.2). The end is CRLF `.` CRLF
/// alone, and lines end in CRLF alone. A CR or LF that stands alone makes the whole message refused, but never ends it: what
/// follows stays content, so that nothing in it can become a command (SMTP smuggling).
package struct MailContentReader: Sendable {
  private enum State: Sendable {
    case lineStart, text
    /// After CR.
    case cr
    /// After a dot at the start of a line; it is not content.
    case dot
    case dotCR
  }

  private var state = State.lineStart
  /// True once a CR or LF stood alone; what was handed out is then of no use.
  package private(set) var hasBareLineEnd = false

  package init() {}

  /// Reads on, and hands out what is content.
  /// - Returns: how many octets were read when the end was among them, nil when all were read and the end is to come.
  package mutating func feed(_ octets: UnsafeRawBufferPointer, emit: (UnsafeRawBufferPointer) -> Void) -> Int? {
    var start = 0
    var index = 0
    func flush(_ end: Int) {
      if start < end { emit(UnsafeRawBufferPointer(rebasing: octets[start..<end])) }
    }
    while index < octets.count {
      let octet = octets[index]
      switch state {
      case .text:
        if octet == 0x0D { state = .cr } else if octet == 0x0A { hasBareLineEnd = true }
      case .lineStart:
        switch octet {
        case 0x2E:
          flush(index)
          start = index + 1
          state = .dot
        case 0x0D: state = .cr
        case 0x0A:
          hasBareLineEnd = true
          state = .text
        default: state = .text
        }
      case .cr:
        if octet == 0x0A { state = .lineStart } else { leaveCR(octet) }
      case .dot:
        if octet == 0x0D {
          start = index + 1
          state = .dotCR
        } else {
          if octet == 0x0A { hasBareLineEnd = true }
          state = .text
        }
      case .dotCR:
        guard octet != 0x0A else { return index + 1 }
        leaveCR(octet)
      }
      index += 1
    }
    flush(octets.count)
    return nil
  }

  private mutating func leaveCR(_ octet: UInt8) {
    hasBareLineEnd = true
    state = octet == 0x0D ? .cr : .text
  }
}
