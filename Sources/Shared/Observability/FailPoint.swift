internal import Glibc

/// Places at which a test may have a release program killed, named in `OWLAT_FAILPOINT` as `name@/path/of/a/file`: the
/// process kills itself with SIGKILL the first time it passes the place while the file exists, having removed it. A file that
/// says `pid:N` has that process killed instead, once; `hold` has whoever passes wait there, its pid in `FILE.held`, until that
/// file is gone; `spin` keeps the thread that passes busy for an hour, `spin:N` for N ms; one that says anything else stays, and ends whoever passes
/// with the message id that it holds, as a crash would (SIGABRT). With the name `any` the file's first word
/// is the place. Off, and a single comparison, unless the variable is set.
package enum FailPoint: String, Sendable, CaseIterable {
  case workerBeforeBegin = "worker-before-begin"
  case workerBeforeDot = "worker-before-dot"
  case workerAfterDotJournal = "worker-after-dot-journal"
  case workerAfterDot = "worker-after-dot"
  case workerAfterReply = "worker-after-reply"
  case workerBeforeSettle = "worker-before-settle"
  case workerAfterSettle = "worker-after-settle"
  /// A journal told to a run of Redis that the worker has not met.
  case workerBeforeReplay = "worker-before-replay"
  case workerAfterReplay = "worker-after-replay"
  case supervisorBeforeAccept = "supervisor-before-accept"
  case supervisorAfterAccept = "supervisor-after-accept"
  case supervisorBeforeDispatch = "supervisor-before-dispatch"
  case supervisorAfterDispatch = "supervisor-after-dispatch"
  case supervisorBeforeEffects = "supervisor-before-effects"
  case supervisorAfterEffects = "supervisor-after-effects"
  /// Between an event in Redis and the outbox on disk.
  case supervisorBeforeOutbox = "supervisor-before-outbox"
  case supervisorAfterOutbox = "supervisor-after-outbox"
  case supervisorAfterHistory = "supervisor-after-history"
  /// Messages that are due, back to their queues.
  case supervisorBeforeReady = "supervisor-before-ready"
  case supervisorAfterReady = "supervisor-after-ready"
  case supervisorBeforeExpire = "supervisor-before-expire"
  case supervisorAfterExpire = "supervisor-after-expire"
  case supervisorBeforeConclude = "supervisor-before-conclude"
  case supervisorAfterConclude = "supervisor-after-conclude"
  /// A dead worker's journal: before anything is told to Redis, between its entries and its lost lines, behind both.
  case supervisorBeforeRecovery = "supervisor-before-recovery"
  case supervisorInRecovery = "supervisor-in-recovery"
  case supervisorAfterRecovery = "supervisor-after-recovery"
  /// Half of a new configuration is in force.
  case supervisorInReload = "supervisor-in-reload"

  private static let armed: (name: String, file: String)? = {
    guard let value = getenv("OWLAT_FAILPOINT") else { return nil }
    let parts = String(cString: value).split(separator: "@", maxSplits: 1)
    guard parts.count == 2 else { return nil }
    return (String(parts[0]), String(parts[1]))
  }()

  /// Dies here when armed for this place (and this message).
  package func pass(message id: String = "") {
    guard let armed = Self.armed, armed.name == rawValue || armed.name == "any", var victim = Self.victim(armed.file) else { return }
    if armed.name == "any" {
      let words = victim.split(separator: " ", maxSplits: 1)
      guard let place = words.first, place == rawValue else { return }
      victim = words.count > 1 ? String(words[1]) : ""
    }
    if victim == "hold" { return Self.hold(armed.file) }
    if victim.hasPrefix("pid:"), let other = Int32(victim.dropFirst(4)) {
      if unlink(armed.file) == 0 { kill(other, SIGKILL) }
      return
    }
    if victim == "spin" || victim.hasPrefix("spin:") {
      guard unlink(armed.file) == 0 else { return }
      let end = ContinuousClock.now + (Int(victim.dropFirst(5)).map { .milliseconds($0) } ?? .seconds(3600))
      while ContinuousClock.now < end {}
      return
    }
    guard victim.isEmpty ? unlink(armed.file) == 0 : victim == id else { return }
    kill(getpid(), victim.isEmpty ? SIGKILL : SIGABRT)
    while true { pause() }
  }

  /// Whoever takes the file waits; blocks its thread, as a process that is stopped there would.
  private static func hold(_ file: String) {
    let held = file + ".held"
    guard rename(file, held) == 0 else { return }
    let descriptor = open(held, O_WRONLY | O_TRUNC | O_CLOEXEC)
    if descriptor >= 0 {
      let pid = Array("\(getpid()) ".utf8)
      _ = write(descriptor, pid, pid.count)
      close(descriptor)
    }
    while access(held, F_OK) == 0 { usleep(500) }
  }

  /// Content of the file; nil when there is none.
  private static func victim(_ file: String) -> String? {
    let descriptor = open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &bytes, bytes.count)
    return count >= 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
