internal import Foundation
internal import Glibc

/// A real redis-server on a Unix socket, for one test.
package final class RedisFixture: @unchecked Sendable {
  // Only one test holds it; `process` changes in start and stop.
  package let scratch: Scratch
  package let socket: String
  private var process: Process?

  package init() async throws {
    scratch = try Scratch()
    socket = scratch.file("r.sock")
    try await start()
  }

  package var url: String { "unix://" + socket }

  package func start() async throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/redis-server")
    process.arguments = [
      "--port", "0", "--unixsocket", socket, "--dir", scratch.path, "--save", "", "--appendonly", "yes", "--appendfsync",
      "always", "--logfile", scratch.file("redis.log"),
    ]
    try process.run()
    self.process = process
    try await eventually("redis answers") { (try? self.cli("PING")) == "PONG" }
  }

  package func kill() {
    guard let process else { return }
    Glibc.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    self.process = nil
  }

  package func stop() {
    kill()
    scratch.remove()
  }

  @discardableResult
  package func cli(_ words: String...) throws -> String {
    try run("/usr/bin/redis-cli", ["-s", socket] + words).output.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
