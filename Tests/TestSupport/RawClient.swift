internal import Glibc

/// A TCP client that says exactly what a test wants said. It never blocks a thread.
package final class RawClient: @unchecked Sendable {
  // One test holds it.
  private let descriptor: Int32
  private var unread: [UInt8] = []
  package private(set) var isClosed = false

  /// - Parameter source: a loopback address to come from.
  package init(port: Int, host: String = "127.0.0.1", source: String = "127.0.0.1") throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    func address(_ host: String, _ port: Int) -> sockaddr_in {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(port).bigEndian
      inet_pton(AF_INET, host, &address.sin_addr)
      return address
    }
    func call(_ target: sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
      var target = target
      return withUnsafePointer(to: &target) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
    }
    guard descriptor >= 0, call(address(source, 0), { bind(descriptor, $0, $1) }) == 0,
      call(address(host, port), { connect(descriptor, $0, $1) }) == 0
    else { throw TimedOut(description: "cannot connect to \(host):\(port) from \(source): \(String(cString: strerror(errno)))") }
  }

  deinit { close() }

  package func close() {
    guard !isClosed else { return }
    isClosed = true
    _ = Glibc.close(descriptor)
  }

  package func send(_ text: String) { send(Array(text.utf8)) }

  package func send(_ octets: [UInt8]) { _ = Glibc.send(descriptor, octets, octets.count, Int32(MSG_NOSIGNAL)) }

  /// The next whole reply, lines joined by a bar, without line ends; nil when the server has closed.
  package func reply(within limit: Duration = .seconds(10)) async throws -> String? {
    let deadline = ContinuousClock.now + limit
    while true {
      if let reply = takeReply() { return reply }
      var piece = [UInt8](repeating: 0, count: 4096)
      let count = recv(descriptor, &piece, piece.count, Int32(MSG_DONTWAIT))
      if count > 0 {
        unread += piece[..<count]
        continue
      }
      if count == 0 || (errno != EAGAIN && errno != EINTR) { return nil }
      guard ContinuousClock.now < deadline else { throw TimedOut(description: "no reply") }
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  /// Says a line and reads what is answered.
  package func ask(_ line: String) async throws -> String {
    send(line + "\r\n")
    return try await reply() ?? "closed"
  }

  private func takeReply() -> String? {
    let text = String(decoding: unread, as: UTF8.self)
    var lines: [Substring] = []
    var length = 0
    for line in text.split(separator: "\r\n", omittingEmptySubsequences: false).dropLast() {
      lines.append(line)
      length += line.utf8.count + 2
      if line.count < 4 || line.dropFirst(3).first == " " {
        unread.removeFirst(length)
        return lines.joined(separator: "|")
      }
    }
    return nil
  }
}
