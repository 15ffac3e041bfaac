package import MailModel

/// An address as DNS spells it backwards: for blocklists and for PTR records.
extension IPAddress {
  /// Four or sixteen octets; nil when the text is no address. An IPv4-mapped IPv6 address keeps its sixteen.
  package static func octets(_ text: String) -> [UInt8]? {
    guard let canonical = canonical(text) else { return nil }
    guard canonical.contains(":") else { return canonical.split(separator: ".").compactMap { UInt8($0) } }
    // The canonical spelling has eight groups, or fewer around one `::`.
    let parts = canonical.split(separator: ":", omittingEmptySubsequences: false)
    let gap = canonical.firstRange(of: "::").map { canonical[..<$0.lowerBound].split(separator: ":").count }
    var groups = parts.filter { !$0.isEmpty }.compactMap { UInt16($0, radix: 16) }
    if let gap { groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap) }
    return groups.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] }
  }

  /// `4.3.2.1`, or 32 reversed nibbles (RFC 5782 §2.1 and §2.4); nil when the text is no address.
  package static func reversed(_ text: String) -> String? {
    guard let octets = octets(text) else { return nil }
    if octets.count == 4 { return octets.reversed().map { String($0) }.joined(separator: ".") }
    return octets.reversed().flatMap { [$0 & 15, $0 >> 4] }.map { String($0, radix: 16) }.joined(separator: ".")
  }

  /// The name that holds the PTR record (RFC 1035 §3.5, RFC 3596 §2.5).
  package static func pointerName(_ text: String) -> String? {
    guard let reversed = reversed(text) else { return nil }
    return reversed + (isIPv6(text) ? ".ip6.arpa" : ".in-addr.arpa")
  }

  package static func isIPv6(_ text: String) -> Bool { text.contains(":") }
}
