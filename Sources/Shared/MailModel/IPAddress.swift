/// IPv4 and IPv6 addresses in their one spelling (RFC 5952 for IPv6), so that equal addresses compare equal as text.
package enum IPAddress {
  package static func canonical(_ text: String) -> String? {
    if let octets = v4(text) { return octets.map(String.init).joined(separator: ".") }
    guard let groups = v6(text) else { return nil }
    return spell(groups)
  }

  /// 127/8, ::1 and IPv4-mapped loopback.
  package static func isLoopback(_ text: String) -> Bool {
    if let octets = v4(text) { return octets[0] == 127 || octets[0] == 0 }
    guard let groups = v6(text) else { return false }
    if groups[..<5].allSatisfy({ $0 == 0 }), groups[5] == 0xFFFF { return groups[6] >> 8 == 127 }
    return groups[..<7].allSatisfy { $0 == 0 } && groups[7] <= 1
  }

  /// Why mail cannot come from an address, whatever host it is on; nil when it can.
  package static func objectionAsSource(_ text: String) -> String? {
    if let octets = v4(text) {
      if octets[0] == 0 { return "is unspecified" }
      return octets[0] >= 240 ? "is reserved" : octets[0] >= 224 ? "is a multicast address" : nil
    }
    guard let groups = v6(text) else { return "must be an IP address" }
    if groups.allSatisfy({ $0 == 0 }) { return "is unspecified" }
    if groups[..<5].allSatisfy({ $0 == 0 }), groups[5] == 0xFFFF { return "is an IPv4 address in IPv6's form: write it as IPv4" }
    if groups[0] >> 8 == 0xFF { return "is a multicast address" }
    return groups[0] & 0xFFC0 == 0xFE80 ? "is a link-local address" : nil
  }

  private static func v4(_ text: some StringProtocol) -> [UInt8]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var octets: [UInt8] = []
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        part.utf8.count == 1 || !part.hasPrefix("0"), let octet = UInt8(part)
      else { return nil }
      octets.append(octet)
    }
    return octets
  }

  private static func v6(_ text: String) -> [UInt16]? {
    let halves = text.components(separatedBy: "::")
    guard halves.count <= 2 else { return nil }
    guard var head = groups(halves[0]) else { return nil }
    guard halves.count == 2 else { return head.count == 8 ? head : nil }
    guard let tail = groups(halves[1]), head.count + tail.count < 8 else { return nil }
    head += [UInt16](repeating: 0, count: 8 - head.count - tail.count)
    return head + tail
  }

  private static func groups(_ text: String) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    var groups: [UInt16] = []
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
      if part.contains("."), index == parts.count - 1, let octets = v4(part) {
        groups += [UInt16(octets[0]) << 8 | UInt16(octets[1]), UInt16(octets[2]) << 8 | UInt16(octets[3])]
        continue
      }
      guard (1...4).contains(part.utf8.count), let group = UInt16(part, radix: 16) else { return nil }
      groups.append(group)
    }
    return groups
  }

  /// Lower case, the longest run of two or more zeros as `::`.
  private static func spell(_ groups: [UInt16]) -> String {
    var best: Range<Int>?
    var index = 0
    while index < 8 {
      var end = index
      while end < 8, groups[end] == 0 { end += 1 }
      if end - index >= 2, end - index > (best?.count ?? 0) { best = index..<end }
      index = max(end, index + 1)
    }
    let words = groups.map { String($0, radix: 16) }
    guard let best else { return words.joined(separator: ":") }
    return words[..<best.lowerBound].joined(separator: ":") + "::" + words[best.upperBound...].joined(separator: ":")
  }
}

extension String {
  fileprivate func components(separatedBy separator: String) -> [String] {
    var parts: [String] = []
    var rest = self[...]
    while let range = rest.firstRange(of: separator) {
      parts.append(String(rest[..<range.lowerBound]))
      rest = rest[range.upperBound...]
    }
    return parts + [String(rest)]
  }
}
