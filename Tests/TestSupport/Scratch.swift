internal import Foundation

/// A folder of its own for one test, gone afterwards. Short, because Unix sockets live in it.
package struct Scratch: Sendable {
  package let path: String

  package init() throws {
    path = "/tmp/owt-\(UInt32.random(in: .min ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  package func file(_ name: String) -> String { path + "/" + name }

  package func write(_ name: String, _ text: String) throws -> String {
    try text.write(toFile: file(name), atomically: true, encoding: .utf8)
    return file(name)
  }

  package func remove() { try? FileManager.default.removeItem(atPath: path) }
}

package struct TimedOut: Error, CustomStringConvertible {
  package let description: String
}

/// Waits for a condition, checked every 20 ms, at most `limit`.
package func eventually(
  _ what: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
  let clock = ContinuousClock()
  let deadline = clock.now + limit
  while try await !condition() {
    guard clock.now < deadline else { throw TimedOut(description: "not within \(limit): \(what)") }
    try await Task.sleep(for: .milliseconds(20))
  }
}

/// Ports that this process gave out: none twice.
private let givenPorts = Locked<Set<Int>>([])

/// A TCP and UDP port that was free a moment ago, on every address of this host. It is below those that the kernel gives to outgoing
/// connections, so that none of these takes it before its server does. `OWLAT_TEST_PORTS=even` or `odd`: of these only, for
/// processes that test side by side.
package func freePort() throws -> Int {
  let range = try String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
  let lowest = range.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 32_768
  let ports = lowest > 20_000 ? 10_000..<lowest : 61_000..<65_536
  let side: Int? =
    switch ProcessInfo.processInfo.environment["OWLAT_TEST_PORTS"] {
    case "even": 0
    case "odd": 1
    default: nil
    }
  for _ in 0..<1000 {
    var port = Int.random(in: ports)
    if let side { port = port & ~1 | side }
    guard isFree(port, Int32(SOCK_STREAM.rawValue)), isFree(port, Int32(SOCK_DGRAM.rawValue)) else { continue }
    var isNew = false
    givenPorts.change { isNew = $0.insert(port).inserted }
    if isNew { return port }
  }
  throw TimedOut(description: "no free port")
}

private func isFree(_ port: Int, _ type: Int32) -> Bool {
  let descriptor = socket(AF_INET, type, 0)
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
  }
}
