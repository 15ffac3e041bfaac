import Observability
import ServiceLifecycle
import UnixSignals

/// SIGHUP: as `supervisor reload`, with the result in the log.
struct Hangup: Service {
  let reload: Reload
  let audit: AuditLog

  func run() async throws {
    await cancelWhenGracefulShutdown {
      for await _ in await UnixSignalsSequence(trapping: .sighup) {
        let report = await reload.reload()
        await audit.note(
          who: "SIGHUP", from: nil, what: "reload", details: [:],
          outcome: report.applied ? "done" : "refused: \(report.problems.first?.text.prefix(200) ?? "")")
      }
    }
  }
}
