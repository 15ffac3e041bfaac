internal import Glibc

/// Places at which a test may have a release program killed, named in `OWLAT_FAILPOINT` as `name@/path/of/a/file`: the
/// process kills itself with SIGKILL the first time it passes the place while the file exists, having removed it. A file that
/// says `pid:N` has that process killed instead, once; one that says `spin` keeps the thread that passes busy for ever; one that says anything else stays, and kills whoever passes with the
/// message id that it holds. Off, and a single comparison, unless the variable is set.
package enum FailPoint: String, Sendable, CaseIterable {
  case workerBeforeBegin = "worker-before-begin"
  case workerBeforeDot = "worker-before-dot"
  case workerAfterDotJournal = "worker-after-dot-journal"
  case workerAfterDot = "worker-after-dot"
  case workerAfterReply = "worker-after-reply"
  case workerBeforeSettle = "worker-before-settle"
  case workerAfterSettle = "worker-after-settle"
  case supervisorBeforeAccept = "supervisor-before-accept"
  case supervisorAfterAccept = "supervisor-after-accept"
  case supervisorBeforeDispatch = "supervisor-before-dispatch"
  case supervisorAfterDispatch = "supervisor-after-dispatch"
  case supervisorBeforeEffects = "supervisor-before-effects"
  case supervisorAfterEffects = "supervisor-after-effects"
  case supervisorAfterOutbox = "supervisor-after-outbox"

  private static let armed: (name: String, file: String)? = {
    guard let value = getenv("OWLAT_FAILPOINT") else { return nil }
    let parts = String(cString: value).split(separator: "@", maxSplits: 1)
    guard parts.count == 2 else { return nil }
    return (String(parts[0]), String(parts[1]))
  }()

  /// Dies here when armed for this place (and this message).
  package func pass(message id: String = "") {
    guard let armed = Self.armed, armed.name == rawValue, let victim = Self.victim(armed.file) else { return }
    if victim.hasPrefix("pid:"), let other = Int32(victim.dropFirst(4)) {
      if unlink(armed.file) == 0 { kill(other, SIGKILL) }
      return
    }
    if victim == "spin" {
      guard unlink(armed.file) == 0 else { return }
      while true {}
    }
    guard victim.isEmpty ? unlink(armed.file) == 0 : victim == id else { return }
    kill(getpid(), SIGKILL)
    while true { pause() }
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
