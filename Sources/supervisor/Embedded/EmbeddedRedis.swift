import CShims
import Foundation
import Glibc
import Logging
import MTAConfig
import MailFormat
import Observability
import Redis

/// A private redis-server as a supervised child: append-only file, a Unix socket in the state directory, nothing on the
/// network. One that is still alive from an earlier life of the supervisor is adopted, never doubled: two servers on one
/// append-only file would be the end of both's data.
actor EmbeddedRedis {
  static let programs = ["redis-server", "valkey-server"]

  nonisolated let socket: String
  /// Of its default user. Made once; in `<state_dir>/redis/password`, where an operator finds it.
  nonisolated let password: String
  private let directory: String
  private let durability: MTAConfig.RedisServer.Durability
  private let maxMiB: Int
  private let log: Logger
  private var process: ChildProcess?

  init(stateDir: String, durability: MTAConfig.RedisServer.Durability, maxMiB: Int, log: Logger) throws {
    directory = stateDir + "/redis"
    socket = directory + "/redis.sock"
    self.durability = durability
    self.maxMiB = maxMiB
    self.log = log
    password = try Self.password(directory)
    guard socket.utf8.count < 108 else { throw SetupError("state_dir is too long for a socket's path") }
  }

  /// Read, or made; and told to redis-server by a file, because a command line is everybody's to read.
  private static func password(_ directory: String) throws -> String {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let password = try PrivateFile.textMadeOnce(directory + "/password") { Digest.hex(Digest.randomBytes(32)) }
    try PrivateFile.write("requirepass \(password)\n", to: directory + "/auth.conf")
    return password
  }

  /// Keeps it running until cancelled, then ends it and waits.
  func run() async {
    var delay = 100
    var waitingSince: Int64?
    while !Task.isCancelled {
      let started = SystemClock.monotonic()
      do {
        guard let child = try await adoptOrStart() else {
          // It takes a moment; one that takes longer is somebody's to look at, and said once.
          if started - (waitingSince ?? started) > 5000 {
            log.warning("an earlier redis-server still has its files", metadata: ["lock": "\(directory)/lock"])
            waitingSince = .max
          }
          waitingSince = waitingSince ?? started
          try? await Task.sleep(for: .milliseconds(20))
          continue
        }
        waitingSince = nil
        process = child
        _ = await withTaskCancellationHandler {
          await child.exit()
        } onCancel: {
          // SIGTERM may be blocked; this one ends it in the same way.
          child.send(signal: SIGINT)
        }
        process = nil
        if Task.isCancelled { return }
        log.error("redis-server ended; starting it again")
      } catch {
        log.error("redis-server cannot be started", metadata: [LogKey.error: "\(error)"])
      }
      // One that worked for a while did not end by what it was started with.
      if SystemClock.monotonic() - started > 3000 { delay = 100 }
      try? await Task.sleep(for: .milliseconds(delay))
      delay = min(delay * 2, 5000)
    }
  }

  /// An adopted server has what it was started with: it gets what is configured now.
  func meet(_ sender: RedisClient.Sender) async throws {
    for (name, value) in [("appendfsync", durability.rawValue), ("maxmemory", "\(maxMiB)mb")] {
      _ = try await sender.send(RedisCommand("CONFIG", "SET", name, value))
    }
  }

  /// The server of an earlier life: who listens on our socket.
  private func adopt() throws -> ChildProcess? {
    let pid = shim_listener_pid(socket)
    guard pid > 0 else { return nil }
    log.notice("adopted the running redis-server", metadata: ["pid": "\(pid)"])
    return try ChildProcess.adopt(pid: pid)
  }

  /// A lock that the server holds for its life, since it inherits it: from the moment of its birth, when nothing tells of it yet.
  /// Nil while another one is being born, or ends.
  private func lock() throws -> Int32? {
    let path = directory + "/lock"
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw SetupError("\(path) cannot be opened: \(String(cString: strerror(errno)))") }
    guard shim_lock(descriptor) != 0 else { return descriptor }
    close(descriptor)
    return nil
  }

  /// Nil when that has to wait.
  private func adoptOrStart() async throws -> ChildProcess? {
    if let adopted = try adopt() { return adopted }
    guard let lock = try lock() else { return nil }
    // The child has its own copy by then.
    defer { close(lock) }
    return try await start(lock)
  }

  private func start(_ lock: Int32) async throws -> ChildProcess {
    guard let program = Self.find() else { throw SetupError("redis-server is not installed (Debian: redis-server)") }
    if let (path, octets) = try AppendOnlyFile.mend(directory + "/appendonlydir") {
      log.notice("half a step was cut off Redis's append-only file", metadata: ["path": "\(path)", "octets": "\(octets)"])
    }
    try? FileManager.default.removeItem(atPath: socket)
    let arguments = [
      directory + "/auth.conf", "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", directory, "--pidfile",
      directory + "/redis.pid", "--daemonize", "no", "--logfile", directory + "/redis.log", "--save", "", "--appendonly",
      "yes", "--appendfsync", durability.rawValue, "--maxmemory", "\(maxMiB)mb", "--maxmemory-policy", "noeviction",
      "--hash-max-listpack-value", "1024", "--stream-node-max-bytes", "65536", "--stream-node-max-entries", "64",
      "--supervised", "no",
    ]
    let environment = ["PATH=/usr/bin:/bin"]
    guard SystemdNotifier.isSupervised else {
      return try ChildProcess.spawn(program, arguments, environment: environment, control: lock)
    }
    // Systemd ends all processes of the unit at once; requests under way need Redis a little longer.
    return try await withCheckedThrowingContinuation { continuation in
      Thread {
        do {
          let child = try ChildProcess.spawnBound(program, arguments, environment: environment, control: lock)
          continuation.resume(returning: child)
          child.waitForEnd()
        } catch { continuation.resume(throwing: error) }
      }.start()
    }
  }

  static func find() -> String? {
    let path = (ProcessInfo.processInfo.environment["PATH"] ?? "") + ":/usr/local/bin:/usr/bin:/usr/sbin:/bin"
    for program in programs {
      for folder in path.split(separator: ":") {
        let candidate = "\(folder)/\(program)"
        if access(candidate, X_OK) == 0 { return candidate }
      }
    }
    return nil
  }

  /// `limits.queue_max_mib`; 0 = half of memory, at most 16,384.
  static func memoryLimit(_ configured: Int) -> Int {
    configured > 0 ? configured : min(16_384, Int(ProcessInfo.processInfo.physicalMemory >> 20) / 2)
  }

  /// `maxmemory` of our own server, MiB: above what intake fills, so that all that drains the queue still works.
  static func maxMemory(_ configured: Int) -> Int {
    let limit = memoryLimit(configured)
    return limit + max(128, limit / 8)
  }
}

/// Something that keeps the supervisor from starting.
struct SetupError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
