import CShims
import Glibc
import Logging
import Observability
import Redis

/// What this process gives up for good, so that a hole in a parser of remote octets is worth little: files and limits at the
/// very start, while there is one thread; system calls before the first message is taken, when everything it needs is open.
/// What a kernel does not have is said and gone without: a host with less is better served than refused.
enum Confinement {
  /// Descriptors: sessions, with room.
  static let files: UInt64 = 16_384
  /// Octets of one file. A journal's segment has 2 MiB, more on a full disk; the log may be a file too.
  static let fileSize: UInt64 = 4 << 30

  /// Private memory: a leak ends this worker, not its neighbours. Half of the host's, between 512 MiB and 2 GiB: content is
  /// bounded by 64 MiB and rendered one at a time when large.
  static var data: UInt64 { min(max(shim_physical_memory() / 2, 512 << 20), 2 << 30) }

  struct Start {
    var missedLimits: Int32
    var landlock: Int32
  }

  /// Call while there is one thread: files are confined for it and for those that it starts.
  static func begin(_ settings: WorkerSettings) -> Start {
    let missed = shim_confine_resources(files, data, fileSize)
    // A worker may make its folder; it cannot be allowed before it is there.
    mkdir(settings.journal, 0o700)
    let landlock = failPointFolder.map { shim_confine_files(settings.journal, $0) } ?? shim_confine_files(settings.journal, nil)
    return Start(missedLimits: missed, landlock: landlock)
  }

  /// Call with the control socket open, before anything is read from Redis.
  static func complete(_ start: Start, settings: WorkerSettings, log: Logger) {
    let code = shim_confine_calls(settings.redis.needsResolving ? 1 : 0, failPointFolder == nil ? 0 : 1)
    if code != 0 {
      log.warning("system calls are not confined", metadata: [LogKey.error: "\(String(cString: strerror(code)))"])
    }
    if start.landlock < 0 {
      log.warning("files are not confined", metadata: [LogKey.error: "\(String(cString: strerror(-start.landlock)))"])
    }
    if start.landlock == 0 { log.warning("files are not confined: this kernel has no Landlock") }
    log.debug(
      "confined", metadata: ["landlock": "\(start.landlock)", "seccomp": "\(code == 0)", "limits.missed": "\(start.missedLimits)"])
  }

  /// A test's fail points are files: they must be seen and removed.
  private static var failPointFolder: String? {
    guard let value = getenv("OWLAT_FAILPOINT") else { return nil }
    let parts = String(cString: value).split(separator: "@", maxSplits: 1)
    guard parts.count == 2, let slash = parts[1].lastIndex(of: "/") else { return nil }
    return String(parts[1][..<slash])
  }
}
