import Logging
import Observability
import Redis
import ServiceLifecycle

/// Feeds systemd's watchdog only while the loops that matter turn (waiting for Redis with a deadline is turning), and keeps
/// `STATUS=` true (DESIGN section 9).
struct Watchdog: Service {
  let outcomes: OutcomeLoop
  let store: QueueStore
  let fleet: Fleet
  let log: Logger

  func run() async throws {
    let interval = SystemdNotifier.watchdogInterval() ?? 5_000
    await cancelWhenGracefulShutdown {
      var lastStatus = ""
      while !Task.isCancelled {
        let silence = SystemClock.monotonic() - (await outcomes.lastTurn)
        if silence < 20_000 { SystemdNotifier.watchdog() }
        let rows = await fleet.list()
        let active = rows.count { $0.state == .active }
        let redis = store.client.session == nil ? "Redis is away: intake answers 503; " : ""
        let status = "\(redis)\(active) of \(rows.count) IPs active"
        if status != lastStatus {
          SystemdNotifier.status(status)
          lastStatus = status
        }
        try? await Task.sleep(for: .milliseconds(min(interval, 5_000)))
      }
    }
  }
}
