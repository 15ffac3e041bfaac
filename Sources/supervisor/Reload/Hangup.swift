import Observability
import ServiceLifecycle
import UnixSignals

/// SIGHUP: as `supervisor reload`, with the result in the log.
struct Hangup: Service {
  let reload: Reload

  func run() async throws {
    await cancelWhenGracefulShutdown {
      for await _ in await UnixSignalsSequence(trapping: .sighup) { _ = await reload.reload() }
    }
  }
}
