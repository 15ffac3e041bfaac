import Foundation
import Glibc
import Logging
import MTAConfig
import Observability
import Redis
import Synchronization

/// Whether new mail may come in at all: room on disk, room in Redis, not on the way out. Measured once a second, asked by
/// every request.
final class Admission: Sendable {
  private struct State {
    var isStopping = false
    var isDiskLow = false
    var isRedisFull = false
  }

  private let store: QueueStore
  private let config: ConfigInForce
  private let log: Logger
  private let state = Mutex(State())

  init(store: QueueStore, config: ConfigInForce, log: Logger) {
    self.store = store
    self.config = config
    self.log = log
  }

  /// Nil = come in.
  var refusal: APIError? {
    if store.client.session == nil { return Intake.away }
    let state = state.withLock { $0 }
    if state.isStopping { return APIError(status: 503, text: "Service temporarily unavailable: shutting down", retryAfterSeconds: 5) }
    if state.isDiskLow {
      return APIError(status: 503, text: "Service temporarily unavailable: low disk space", retryAfterSeconds: 60)
    }
    return state.isRedisFull ? Intake.full : nil
  }

  func stop() { state.withLock { $0.isStopping = true } }

  func run() async {
    while !Task.isCancelled {
      let isLow = freeMiB().map { $0 < config.limits.minFreeMiB } ?? false
      let isFull = await usedMiB().map { $0 >= EmbeddedRedis.memoryLimit(config.limits.queueMaxMiB) } ?? false
      let (wasLow, wasFull) = state.withLock { state in
        defer {
          state.isDiskLow = isLow
          state.isRedisFull = isFull
        }
        return (state.isDiskLow, state.isRedisFull)
      }
      if isLow != wasLow { log.warning(isLow ? "disk space is low: intake refuses" : "disk space is back") }
      if isFull != wasFull { log.warning(isFull ? "the queue is full: intake refuses" : "the queue has room again") }
      try? await Task.sleep(for: .seconds(1))
    }
  }

  private func freeMiB() -> Int? {
    var status = statvfs()
    guard statvfs(config.stateDir, &status) == 0 else { return nil }
    return (Int(status.f_bavail) * Int(status.f_frsize)) >> 20
  }

  private func usedMiB() async -> Int? {
    guard let text = try? await store.client.send(RedisCommand("INFO", "memory")).string,
      let line = text.split(separator: "\r\n").first(where: { $0.hasPrefix("used_memory:") })
    else { return nil }
    return Int(line.dropFirst("used_memory:".count)).map { $0 >> 20 }
  }
}
