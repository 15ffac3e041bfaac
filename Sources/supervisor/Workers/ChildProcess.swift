import CShims
@preconcurrency import Dispatch
import Glibc

/// Faults of processes that we start.
enum ProcessError: Error, Equatable, CustomStringConvertible {
  case spawn(path: String, errno: Int32)
  case watch(errno: Int32)

  var description: String {
    switch self {
    case .spawn(let path, let code): "cannot start \(path): \(String(cString: strerror(code)))"
    case .watch(let code): "cannot watch a process: \(String(cString: strerror(code)))"
    }
  }
}

/// A process that is watched by pidfd, so that neither a signal handler nor a reused pid can mislead.
final class ChildProcess: Sendable {
  enum Exit: Sendable, Equatable {
    case code(Int32)
    case signal(Int32)
    /// Not our child: how it ended is not ours to know.
    case unknown
  }

  let pid: pid_t
  private let descriptor: Int32
  private let isChild: Bool

  /// Starts a program.
  /// - Parameters:
  ///   - control: becomes its descriptor 3; stays open here.
  ///   - environment: whole, as `NAME=value`.
  static func spawn(_ path: String, _ arguments: [String], environment: [String], control: Int32?) throws(ProcessError)
    -> ChildProcess
  {
    var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var pid: pid_t = 0
    let code = shim_spawn(path, &argv, &envp, control ?? -1, -1, &pid)
    guard code == 0 else { throw .spawn(path: path, errno: code) }
    do { return try ChildProcess(pid: pid, isChild: true) } catch {
      // Without a descriptor left it could not be watched: then there is none.
      var status: Int32 = 0
      kill(pid, SIGKILL)
      _ = shim_wait(pid, 1, &status)
      throw error
    }
  }

  /// Starts a program that a service manager's SIGTERM to all processes does not end, and that does not outlive us: it gets
  /// SIGINT when the calling thread ends, which must therefore stay until ``waitForEnd()`` has returned.
  /// - Parameter control: as of ``spawn(_:_:environment:control:)``.
  static func spawnBound(_ path: String, _ arguments: [String], environment: [String], control: Int32?) throws(ProcessError)
    -> ChildProcess
  {
    var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var pid: pid_t = 0
    let code = shim_spawn_bound(path, &argv, &envp, control ?? -1, &pid)
    guard code == 0 else { throw .spawn(path: path, errno: code) }
    return try ChildProcess(pid: pid, isChild: true)
  }

  /// Blocks the thread until it has ended; whoever calls ``exit()`` learns how.
  func waitForEnd() { shim_pidfd_wait(descriptor) }

  /// Takes over the watch of a process that somebody else started.
  static func adopt(pid: pid_t) throws(ProcessError) -> ChildProcess { try ChildProcess(pid: pid, isChild: false) }

  private init(pid: pid_t, isChild: Bool) throws(ProcessError) {
    self.pid = pid
    self.isChild = isChild
    descriptor = shim_pidfd_open(pid)
    guard descriptor >= 0 else { throw .watch(errno: errno) }
  }

  deinit { close(descriptor) }

  func send(signal: Int32) { _ = shim_pidfd_kill(descriptor, signal) }

  /// Waits for its end.
  func exit() async -> Exit {
    let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
    await withCheckedContinuation { continuation in
      source.setEventHandler { source.cancel() }
      source.setCancelHandler { continuation.resume() }
      source.resume()
    }
    guard isChild else { return .unknown }
    var status: Int32 = 0
    guard shim_wait(pid, 1, &status) == 1 else { return .unknown }
    return status & 0x7F == 0 ? .code((status >> 8) & 0xFF) : .signal(status & 0x7F)
  }
}
