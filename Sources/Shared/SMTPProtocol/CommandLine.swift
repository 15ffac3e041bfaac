/// Finds command lines among octets of a client (RFC 5321 §2.3.8). **The rule for line ends**: a line ends in CRLF and in
/// nothing else; a CR or LF that stands alone is a fault, wherever it is, because servers that disagree about line ends can
/// be made to see two different dialogues in the same octets (SMTP smuggling).
package enum CommandLine {
  package enum Found: Sendable, Equatable {
    /// Octets before the CRLF.
    case line(length: Int)
    /// No line yet; look again from this offset when more octets are there.
    case incomplete(scanned: Int)
    case bareLineEnd
    /// More than the limit before a line end.
    case tooLong
  }

  /// - Parameters:
  ///   - scanned: what an earlier `.incomplete` answered; 0 at first.
  ///   - limit: octets of a line, CRLF included.
  package static func find(in octets: UnsafeRawBufferPointer, scanned: Int, limit: Int) -> Found {
    var index = scanned
    let end = min(octets.count, limit)
    while index < end {
      let octet = octets[index]
      let followsCR = index > 0 && octets[index - 1] == 0x0D
      if octet == 0x0A { return followsCR ? .line(length: index - 1) : .bareLineEnd }
      if followsCR { return .bareLineEnd }
      index += 1
    }
    return octets.count >= limit ? .tooLong : .incomplete(scanned: index)
  }
}
