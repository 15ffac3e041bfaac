internal import CShims
internal import Foundation
internal import Glibc

/// A program that a test starts: leads its own process group, is waited for without Foundation (whose `waitUntilExit` may
/// spin for ever off the main thread).
package final class TestProcess: @unchecked Sendable {
  // Only one test holds it.
  package let pid: Int32
  private var status: Int32?

  package init(_ program: String, _ arguments: [String], environment: [String: String]? = nil, output: String = "/dev/null") throws {
    let variables = (environment ?? ProcessInfo.processInfo.environment).map { "\($0)=\($1)" }
    var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    let descriptor = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw TimedOut(description: "cannot open \(output)") }
    defer { close(descriptor) }
    var pid: pid_t = 0
    let code = shim_spawn(program, &argv, &envp, -1, descriptor, &pid)
    guard code == 0 else { throw TimedOut(description: "cannot start \(program): \(String(cString: strerror(code)))") }
    self.pid = pid
  }

  /// Exit code, or 128 + signal; nil while it runs.
  package var exitCode: Int32? {
    if let status { return status }
    var raw: Int32 = 0
    guard shim_wait(pid, 0, &raw) != 0 else { return nil }
    let code = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F)
    status = code
    return code
  }

  package var isRunning: Bool { exitCode == nil }

  package func send(_ signal: Int32) { if isRunning { kill(pid, signal) } }

  /// SIGKILL to the whole group, and its end.
  package func destroy() {
    guard isRunning else { return }
    kill(-pid, SIGKILL)
    var raw: Int32 = 0
    _ = shim_wait(pid, 1, &raw)
    status = 128 + 9
  }

  package func waitUntilExit(within limit: Duration = .seconds(45)) async throws -> Int32 {
    try await eventually("process \(pid) ends", within: limit) { self.exitCode != nil }
    return exitCode ?? -1
  }
}

/// Runs a program to its end; blocks.
package func run(_ program: String, _ arguments: [String]) throws -> (code: Int32, output: String, errors: String) {
  let folder = try Scratch()
  defer { folder.remove() }
  let process = try TestProcess(
    "/bin/sh", ["-c", "exec \"$0\" \"$@\" >\(folder.file("o")) 2>\(folder.file("e")) </dev/null", program] + arguments)
  while process.exitCode == nil { usleep(2000) }
  func text(_ name: String) -> String { (try? String(contentsOfFile: folder.file(name), encoding: .utf8)) ?? "" }
  return (process.exitCode ?? -1, text("o"), text("e"))
}
