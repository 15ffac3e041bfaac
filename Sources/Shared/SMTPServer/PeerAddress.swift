internal import Glibc
internal import NIOCore

/// The client's address, as text and as what limits count by.
enum PeerAddress {
  /// IPv4 in its own form also when it comes over a dual-stack socket.
  static func text(_ address: SocketAddress?) -> String {
    let text = address?.ipAddress ?? ""
    let mapped = "::ffff:"
    return text.lowercased().hasPrefix(mapped) && text.contains(".") ? String(text.dropFirst(mapped.count)) : text
  }

  /// An IPv4 address, or the /64 of an IPv6 address: who has one address of it has them all.
  static func key(_ address: SocketAddress?) -> String {
    let text = text(address)
    var octets = [UInt8](repeating: 0, count: 16)
    guard text.contains(":"), inet_pton(AF_INET6, String(text.prefix { $0 != "%" }), &octets) == 1 else { return text }
    return octets.prefix(8).map { String($0, radix: 16) }.joined(separator: ":")
  }

  /// Loopback, RFC 1918, link-local and RFC 4193.
  static func isPrivate(_ text: String) -> Bool {
    let parts = text.split(separator: ".").compactMap { Int($0) }
    if parts.count == 4 {
      return parts[0] == 127 || parts[0] == 10 || (parts[0] == 192 && parts[1] == 168) || (parts[0] == 172 && (16...31).contains(parts[1]))
        || (parts[0] == 169 && parts[1] == 254)
    }
    let lower = text.lowercased()
    return lower == "::1" || lower.hasPrefix("fe8") || lower.hasPrefix("fc") || lower.hasPrefix("fd") || text.isEmpty
  }
}
