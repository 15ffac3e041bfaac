/// Lines of a mail in whatever line ends it has: CRLF, LF, or bare CR when there is no LF at all (old Macs, some gateways).
/// Octets are looked at, never copied.
package struct LineScanner {
  private let octets: ArraySlice<UInt8>
  private let end: UInt8
  private(set) var position: Int

  package init(_ octets: ArraySlice<UInt8>) {
    self.octets = octets
    self.position = octets.startIndex
    self.end = octets.contains(0x0A) ? 0x0A : 0x0D
  }

  /// Where the line that ``next()`` gives begins.
  package var offset: Int { position }

  /// The next line without its line end; nil behind the last.
  package mutating func next() -> ArraySlice<UInt8>? {
    guard position < octets.endIndex else { return nil }
    let start = position
    let stop = octets[start...].firstIndex(of: end) ?? octets.endIndex
    position = min(stop + 1, octets.endIndex)
    var line = octets[start..<stop]
    while line.last == 0x0D { line.removeLast() }
    return line
  }
}

extension ArraySlice<UInt8> {
  /// Without spaces and tabs at both ends.
  package var trimmed: ArraySlice<UInt8> {
    guard let start = firstIndex(where: { $0 != 0x20 && $0 != 0x09 }) else { return self[endIndex...] }
    var stop = endIndex
    while stop > start, self[stop - 1] == 0x20 || self[stop - 1] == 0x09 { stop -= 1 }
    return self[start..<stop]
  }
}
