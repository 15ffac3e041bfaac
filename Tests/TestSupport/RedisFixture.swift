internal import Foundation

/// A real redis-server on a Unix socket, for one test.
package final class RedisFixture: @unchecked Sendable {
  // Only one test holds it; `process` changes in start and stop.
  package let scratch: Scratch
  package let socket: String
  private var process: TestProcess?

  package init() async throws {
    scratch = try Scratch()
    socket = scratch.file("r.sock")
    try await start()
  }

  package var url: String { "unix://" + socket }
  package var pid: Int32 { process?.pid ?? -1 }

  package func start() async throws {
    process = try TestProcess(
      "/usr/bin/redis-server",
      [
        "--port", "0", "--unixsocket", socket, "--dir", scratch.path, "--save", "", "--appendonly", "yes", "--appendfsync",
        "always", "--logfile", scratch.file("redis.log"),
      ])
    try await eventually("redis answers") { (try? self.cli("PING")) == "PONG" }
  }

  package func kill() {
    process?.destroy()
    process = nil
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
