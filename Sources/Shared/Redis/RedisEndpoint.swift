internal import Glibc

/// Where Redis is: `redis://[user[:password]@]host[:port]` or `unix:///path`. In user and password `%` and two hexadecimal digits are an
/// octet (RFC 3986 section 2.1), for what has a meaning in a URL.
package struct RedisEndpoint: Sendable, Equatable {
  package enum Address: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
  }

  package var address: Address

  /// True when the host is given by name.
  package var needsResolving: Bool {
    guard case .tcp(let host, _) = address else { return false }
    return !host.contains(":") && !host.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
  }

  /// Without credentials.
  package var url: String {
    switch address {
    case .unix(let path): "unix://" + path
    case .tcp(let host, let port): "redis://" + (host.contains(":") ? "[\(host)]" : host) + ":\(port)"
    }
  }

  package var username: String
  package var password: String
  /// Read for each connection when no password is given: a server at a Unix socket may get one, or another, with its next
  /// start. Nil, or a file that is not there: none.
  package var passwordFile: String?

  /// What to say to it now.
  package var currentPassword: String {
    guard password.isEmpty, let passwordFile else { return password }
    let descriptor = open(passwordFile, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var octets = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &octets, octets.count)
    return String(decoding: octets.prefix(max(0, count)).prefix { $0 > 0x20 }, as: UTF8.self)
  }

  /// With the file `password` beside the socket, where owlat-mta-redis.service leaves it; for who reads it only.
  package var findingPassword: RedisEndpoint {
    guard case .unix(let path) = address, username.isEmpty, password.isEmpty, let slash = path.lastIndex(of: "/") else { return self }
    var endpoint = self
    endpoint.passwordFile = path[..<slash] + "/password"
    return endpoint
  }

  package init(address: Address, username: String = "", password: String = "") {
    self.address = address
    self.username = username
    self.password = password
  }

  /// Nil when the URL is of another form. Credentials in the URL stand over the given ones.
  package init?(url: String, username: String, password: String) {
    self.init(address: .unix(path: ""), username: username, password: password)
    if url.hasPrefix("unix://") {
      let path = String(url.dropFirst("unix://".count))
      guard path.hasPrefix("/"), path.utf8.count < 108 else { return nil }
      address = .unix(path: path)
      return
    }
    guard url.hasPrefix("redis://") else { return nil }
    var rest = url.dropFirst("redis://".count)
    // First what is before the last @: a password may have a slash that nobody encoded.
    if let at = rest.lastIndex(of: "@") {
      let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      self.username = Self.decoded(credentials[0])
      if credentials.count > 1 { self.password = Self.decoded(credentials[1]) }
      rest = rest[rest.index(after: at)...]
    }
    if let slash = rest.firstIndex(of: "/") {
      let database = rest[rest.index(after: slash)...]
      guard database.isEmpty || database == "0" else { return nil }
      rest = rest[..<slash]
    }
    var host = rest
    var port = 6379
    if rest.hasPrefix("["), let close = rest.firstIndex(of: "]") {
      host = rest[rest.index(after: rest.startIndex)..<close]
      let after = rest[rest.index(after: close)...]
      if after.hasPrefix(":") {
        guard let number = Int(after.dropFirst()) else { return nil }
        port = number
      }
    } else if let colon = rest.lastIndex(of: ":") {
      guard let number = Int(rest[rest.index(after: colon)...]) else { return nil }
      host = rest[..<colon]
      port = number
    }
    guard !host.isEmpty, (1...65535).contains(port) else { return nil }
    address = .tcp(host: String(host), port: port)
  }

  /// A `%` without two hexadecimal digits behind it stands for itself.
  private static func decoded(_ text: Substring) -> String {
    let octets = Array(text.utf8)
    var plain: [UInt8] = []
    var index = 0
    while index < octets.count {
      if octets[index] == UInt8(ascii: "%"), index + 2 < octets.count, octets[index + 1] != UInt8(ascii: "+"),
        octets[index + 1] != UInt8(ascii: "-"), let octet = UInt8(String(decoding: octets[index + 1...index + 2], as: UTF8.self), radix: 16)
      {
        plain.append(octet)
        index += 3
      } else {
        plain.append(octets[index])
        index += 1
      }
    }
    return String(decoding: plain, as: UTF8.self)
  }
}
