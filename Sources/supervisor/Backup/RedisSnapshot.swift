import Foundation
import Glibc
import Redis

/// Takes a snapshot of a running Redis as a replica would (`SYNC`): one moment of all its data, whatever is written meanwhile,
/// without touching its files.
enum RedisSnapshot {
  /// - Returns: octets written to `path` (an RDB file).
  static func save(_ endpoint: RedisEndpoint, to path: String) throws -> Int {
    let wire = try Wire(endpoint)
    try authenticate(wire, endpoint)
    // A server that does not know the word is asked all the same: it only lets us leave early.
    _ = try wire.ask(["REPLCONF", "rdb-only", "1"])
    try wire.send(["SYNC"])
    let header = try wire.line()
    guard header.hasPrefix("$"), let length = Int(header.dropFirst()) else { throw SetupError("Redis gives no snapshot: \(header)") }
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw SetupError("\(path) cannot be written: \(String(cString: strerror(errno)))") }
    defer { close(file) }
    try wire.copy(length, to: file)
    guard fsync(file) == 0 else { throw SetupError("\(path) cannot be written: \(String(cString: strerror(errno)))") }
    return length
  }

  /// How many members a set has.
  static func members(of key: String, _ endpoint: RedisEndpoint) throws -> Int {
    let wire = try Wire(endpoint)
    try authenticate(wire, endpoint)
    let answer = try wire.ask(["SCARD", key])
    guard answer.hasPrefix(":"), let count = Int(answer.dropFirst()) else { throw SetupError("Redis does not tell its hosts: \(answer)") }
    return count
  }

  private static func authenticate(_ wire: Wire, _ endpoint: RedisEndpoint) throws {
    let password = endpoint.currentPassword
    guard !password.isEmpty else { return }
    let words = ["AUTH"] + (endpoint.username.isEmpty ? [] : [endpoint.username]) + [password]
    guard try wire.ask(words).hasPrefix("+") else { throw SetupError("Redis refuses our credentials") }
  }

  /// A blocking connection: this runs in a command of an operator.
  private final class Wire {
    /// Redis sends a life sign every few seconds while it prepares.
    private static let patience = 20

    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var at = 0

    init(_ endpoint: RedisEndpoint) throws {
      switch endpoint.address {
      case .unix(let path): descriptor = try Self.connect(unix: path)
      case .tcp(let host, let port): descriptor = try Self.connect(host: host, port: port)
      }
      var limit = timeval()
      limit.tv_sec = Self.patience
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    private static func connect(unix path: String) throws -> Int32 {
      let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
      let code = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
      }
      guard code == 0 else {
        close(descriptor)
        throw SetupError("Redis at \(path) does not answer: \(String(cString: strerror(errno)))")
      }
      return descriptor
    }

    private static func connect(host: String, port: Int) throws -> Int32 {
      var hints = addrinfo()
      hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
      var found: UnsafeMutablePointer<addrinfo>?
      guard getaddrinfo(host, String(port), &hints, &found) == 0 else { throw SetupError("\(host) has no address") }
      defer { freeaddrinfo(found) }
      var next = found
      while let info = next {
        let descriptor = socket(info.pointee.ai_family, info.pointee.ai_socktype, info.pointee.ai_protocol)
        if descriptor >= 0, Glibc.connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 { return descriptor }
        if descriptor >= 0 { close(descriptor) }
        next = info.pointee.ai_next
      }
      throw SetupError("Redis at \(host):\(port) does not answer")
    }

    func send(_ words: [String]) throws {
      let text = "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
      guard write(descriptor, text, text.utf8.count) == text.utf8.count else { throw SetupError("Redis closed the connection") }
    }

    func ask(_ words: [String]) throws -> String {
      try send(words)
      return try line()
    }

    /// The next line that is not empty: empty ones are life signs.
    func line() throws -> String {
      while true {
        if let end = buffer[at...].firstIndex(of: 0x0A) {
          let text = String(decoding: buffer[at..<end], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
          at = end + 1
          if !text.isEmpty { return text }
        } else {
          try fill()
        }
      }
    }

    func copy(_ count: Int, to file: Int32) throws {
      var left = count
      while left > 0 {
        if at == buffer.count { try fill() }
        let length = min(left, buffer.count - at)
        let done = buffer[at..<at + length].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        guard done > 0 else { throw SetupError("the snapshot cannot be written: \(String(cString: strerror(errno)))") }
        at += done
        left -= done
      }
    }

    private func fill() throws {
      if at == buffer.count {
        buffer.removeAll(keepingCapacity: true)
        at = 0
      }
      var chunk = [UInt8](repeating: 0, count: 1 << 18)
      let count = read(descriptor, &chunk, chunk.count)
      guard count != 0 else { throw SetupError("Redis closed the connection") }
      guard count > 0 else { throw SetupError("Redis does not answer: it said nothing for \(Self.patience) s") }
      buffer += chunk[..<count]
    }
  }
}
