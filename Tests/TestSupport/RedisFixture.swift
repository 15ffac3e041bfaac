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

  /// What is done to its `appendonlydir` before each start, as by our own units.
  package var mend: @Sendable (String) throws -> Void = { folder in
    let result = try run(MTAFixture.binaries + "/supervisor", ["mend-aof", folder])
    guard result.code == 0 else { throw TimedOut(description: result.errors) }
  }

  /// The file that it appends to.
  package func appendedFile() throws -> String {
    let folder = scratch.file("appendonlydir")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".incr.aof") }.sorted()
    return folder + "/" + (names.last ?? "")
  }

  package func start() async throws {
    if FileManager.default.fileExists(atPath: scratch.file("appendonlydir")) { try mend(scratch.file("appendonlydir")) }
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
  package func cli(_ words: String...) throws -> String { try cli(words) }

  @discardableResult
  package func cli(_ words: [String]) throws -> String {
    try run("/usr/bin/redis-cli", ["-s", socket] + words).output.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
