import Glibc
import MailModel

/// Which addresses a URL that others wrote may lead to: the public Internet, and nothing of this host or its neighbourhood.
/// Names are judged by the addresses that they resolve to, and the connection is pinned to the one judged (``GuardedFetch``).
struct AddressGuard: Sendable {
  /// Of this host, now: they are public and yet ours.
  let own: @Sendable () -> Set<String>
  /// Let through whatever they are; an operator's word.
  let trusted: Set<String>

  /// - Parameter own: asked at each judgement, since addresses come and go.
  init(own: @autoclosure @escaping @Sendable () -> [String], trusted: some Sequence<String> = []) {
    self.own = { Set(own().compactMap(IPAddress.canonical)) }
    self.trusted = Set(trusted.compactMap(IPAddress.canonical))
  }

  /// What is wrong with an address; nil when it may be called.
  func refusal(_ text: String) -> String? {
    guard let address = IPAddress.canonical(text) else { return "not an address" }
    if trusted.contains(address) { return nil }
    if own().contains(address) { return "an address of this host" }
    if address.contains(":") {
      guard let octets = Self.octets(address, AF_INET6, 16) else { return "not an address" }
      return refusal6(octets)
    }
    guard let octets = Self.octets(address, AF_INET, 4) else { return "not an address" }
    return Self.match(octets, Self.ranges4)
  }

  /// An IPv4 address inside an IPv6 one is judged as what it leads to.
  private func refusal6(_ octets: [UInt8]) -> String? {
    if let kind = Self.match(octets, Self.ranges6) { return kind }
    let inner: [UInt8]? =
      if octets.starts(with: [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]) {
        Array(octets[12...])  // NAT64, RFC 6052
      } else if octets.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) {
        Array(octets[12...])  // IPv4-mapped
      } else if octets.starts(with: [0x20, 0x02]) {
        Array(octets[2..<6])  // 6to4, RFC 3056
      } else {
        nil
      }
    guard let inner else { return nil }
    return refusal(inner.map(String.init).joined(separator: "."))
  }

  private static func octets(_ text: String, _ family: Int32, _ count: Int) -> [UInt8]? {
    var octets = [UInt8](repeating: 0, count: count)
    return inet_pton(family, text, &octets) == 1 ? octets : nil
  }

  private struct Range {
    let prefix: [UInt8]
    let bits: Int
    let kind: String

    init(_ prefix: [UInt8], _ bits: Int, _ kind: String) {
      self.prefix = prefix
      self.bits = bits
      self.kind = kind
    }

    func contains(_ octets: [UInt8]) -> Bool {
      for index in 0..<(bits + 7) / 8 {
        let inThis = min(8, bits - 8 * index)
        let mask = UInt8(truncatingIfNeeded: 0xFF << (8 - inThis))
        let expected = index < prefix.count ? prefix[index] : 0
        guard octets[index] & mask == expected & mask else { return false }
      }
      return true
    }
  }

  private static func match(_ octets: [UInt8], _ ranges: [Range]) -> String? { ranges.first { $0.contains(octets) }?.kind }

  /// IANA's special-purpose registry (RFC 6890) and multicast.
  private static let ranges4: [Range] = [
    Range([0], 8, "this network"), Range([10], 8, "private"), Range([100, 64], 10, "shared (carrier NAT)"), Range([127], 8, "loopback"),
    Range([169, 254], 16, "link-local"), Range([172, 16], 12, "private"), Range([192, 0, 0], 24, "protocol assignments"),
    Range([192, 0, 2], 24, "documentation"), Range([192, 88, 99], 24, "6to4 relay"), Range([192, 168], 16, "private"),
    Range([198, 18], 15, "benchmarking"), Range([198, 51, 100], 24, "documentation"), Range([203, 0, 113], 24, "documentation"),
    Range([224], 4, "multicast"), Range([240], 4, "reserved"),
  ]

  private static let ranges6: [Range] = [
    // ::, ::1 and the deprecated IPv4-compatible ones; IPv4-mapped addresses have ff there.
    Range([], 96, "loopback or unspecified"), Range([0, 0x64, 0xFF, 0x9B, 0, 1], 48, "local NAT64"), Range([0x01, 0], 64, "discard"),
    Range([0x20, 0x01, 0], 23, "protocol assignments"), Range([0x20, 0x01, 0x0D, 0xB8], 32, "documentation"),
    Range([0x3F, 0xFF], 20, "documentation"), Range([0x5F, 0], 16, "segment routing"), Range([0xFC], 7, "private"),
    Range([0xFE, 0x80], 10, "link-local"), Range([0xFE, 0xC0], 10, "private"), Range([0xFF], 8, "multicast"),
  ]
}
