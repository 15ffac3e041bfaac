internal import CSystemd
internal import Glibc

/// What systemd is told: readiness, a status line, life signs. Does nothing outside systemd.
package enum SystemdNotifier {
  /// A service manager waits for what this process tells it.
  package static var isSupervised: Bool { getenv("NOTIFY_SOCKET") != nil }

  package static func ready(status: String) { send("READY=1\nSTATUS=\(status)") }
  package static func status(_ text: String) { send("STATUS=\(text)") }
  /// The configuration is being read; ``reloaded()`` ends it, whatever came of it.
  package static func reloading() { send("RELOADING=1\nMONOTONIC_USEC=\(SystemClock.monotonic() * 1000)") }
  /// Leaves the status as it is.
  package static func reloaded() { send("READY=1") }
  package static func stopping() { send("STOPPING=1\nSTATUS=stopping: accepted requests are answered, workers finish") }
  package static func watchdog() { send("WATCHDOG=1") }

  /// Not ready yet, and not stuck: the start may take this much longer.
  package static func starting(status: String, milliseconds: Int64) {
    send("STATUS=\(status)\nEXTEND_TIMEOUT_USEC=\(milliseconds * 1000)")
  }

  /// Half of `WatchdogSec=`, in milliseconds; nil when systemd asks for none.
  package static func watchdogInterval() -> Int64? {
    var microseconds: UInt64 = 0
    guard sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
    return Int64(microseconds / 2000)
  }

  private static func send(_ text: String) { _ = sd_notify(0, text) }
}
