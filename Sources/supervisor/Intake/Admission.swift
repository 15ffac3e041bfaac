import Glibc
import Logging
import MTAConfig
import Observability
import Redis
import Synchronization

/// Whether new mail may come in at all: room on disk, room in Redis, not on the way out. Gauges are read once a second, more
/// often near a limit, and what is let in between is counted, so that intake stops before anything is full.
final class Admission: Sendable {
  private struct State {
    var isStopping = false
    var pressure: Pressure
  }

  private let store: QueueStore
  private let config: ConfigInForce
  private let log: Logger
  private let state: Mutex<State>

  init(store: QueueStore, config: ConfigInForce, log: Logger) {
    self.store = store
    self.config = config
    self.log = log
    state = Mutex(State(pressure: Pressure(limits: Self.limits(config))))
  }

  /// As they are in force now.
  private static func limits(_ config: ConfigInForce) -> Pressure.Limits {
    Pressure.Limits(
      minFree: config.limits.minFreeMiB << 20, queueOctets: EmbeddedRedis.memoryLimit(config.limits.queueMaxMiB) << 20,
      queueMessages: config.limits.queueMaxMessages)
  }

  /// Nil = come in.
  var refusal: APIError? {
    if store.client.session == nil { return Intake.away }
    let state = state.withLock { $0 }
    if state.isStopping { return APIError(status: 503, text: "Service temporarily unavailable: shutting down", retryAfterSeconds: 5) }
    return state.pressure.refusal.map(Self.answer)
  }

  /// Just before messages are written: they are counted, or refused.
  /// - Parameter octets: of their content, compressed.
  func admit(messages: Int, octets: Int) -> APIError? {
    state.withLock { $0.pressure.admit(messages: messages, octets: octets) }.map(Self.answer)
  }

  /// What stands now, for whoever takes in mail that is no submission. That Redis is away shows by itself.
  var standing: Set<Pressure.Refusal> { state.withLock { $0.pressure.standing } }

  /// Just before octets are written to a file of the state directory: they are counted, or false.
  func admitFile(octets: Int) -> Bool { state.withLock { $0.pressure.admitFile(octets: octets) } == nil }

  func stop() { state.withLock { $0.isStopping = true } }

  private static func answer(_ refusal: Pressure.Refusal) -> APIError {
    switch refusal {
    case .diskLow: APIError(status: 503, text: "Service temporarily unavailable: low disk space", retryAfterSeconds: 60)
    case .redisFull: Intake.redisFull
    case .queueFull: Intake.full
    }
  }

  // MARK: gauges

  func run() async {
    var reserve = ReserveFile(directory: config.stateDir)
    var compactedAt: Int64 = -60_000
    var isClockSet = false
    while !Task.isCancelled {
      let disk = Self.disk(config.stateDir)
      let memory = await memory()
      let live = try? await store.liveCount()
      let limits = Self.limits(config)
      let (before, after) = state.withLock { state in
        let before = state.pressure.standing
        state.pressure.limits = limits
        state.pressure.measured(free: disk?.free, usedMemory: memory?.used, maxMemory: memory?.most, live: live)
        return (before, state.pressure.standing)
      }
      tell(before, after)
      if let disk, let held = reserve.follow(free: disk.free, total: disk.total, minFree: config.limits.minFreeMiB << 20) {
        log.log(level: held ? .info : .warning, held ? "a reserve is kept on the disk" : "the disk is nearly full: its reserve is let go")
      }
      if after.contains(.diskLow), let disk, let memory, SystemClock.monotonic() - compactedAt >= 60_000 {
        compactedAt = SystemClock.monotonic()
        await compact(free: disk.free, usedMemory: memory.used)
      }
      // Either clock may have been set.
      try? await store.client.measureClock()
      let lag = SystemClock.wall() - SystemClock.now()
      if (abs(lag) > 2000) != isClockSet {
        isClockSet.toggle()
        log.warning(
          isClockSet ? "the clock was set: times follow it slowly" : "times have caught up with the clock", metadata: ["ms": "\(lag)"])
      }
      try? await Task.sleep(for: .milliseconds(after.isEmpty ? 1000 : 250))
    }
  }

  private func tell(_ before: Set<Pressure.Refusal>, _ after: Set<Pressure.Refusal>) {
    for refusal in Pressure.Refusal.allCases where before.contains(refusal) != after.contains(refusal) {
      let isOver = after.contains(refusal)
      switch refusal {
      case .diskLow: log.warning(isOver ? "disk space is low: intake refuses" : "disk space is back")
      case .redisFull: log.warning(isOver ? "Redis is nearly full: intake refuses" : "Redis has room again")
      case .queueFull: log.warning(isOver ? "the queue is full: intake refuses" : "the queue has room again")
      }
    }
  }

  private static func disk(_ directory: String) -> (free: Int, total: Int)? {
    var status = statvfs()
    guard statvfs(directory, &status) == 0 else { return nil }
    return (Int(status.f_bavail) * Int(status.f_frsize), Int(status.f_blocks) * Int(status.f_frsize))
  }

  private func memory() async -> (used: Int, most: Int)? {
    guard let text = try? await store.client.send(RedisCommand("INFO", "memory")).string else { return nil }
    guard let used = RedisInfo.figure("used_memory", in: text) else { return nil }
    return (used, RedisInfo.figure("maxmemory", in: text) ?? 0)
  }

  /// An append-only file keeps what is long delivered: on a disk that is low, our own Redis writes it anew while that fits.
  private func compact(free: Int, usedMemory: Int) async {
    guard config.redis.url == "embedded", let text = try? await store.client.send(RedisCommand("INFO", "persistence")).string,
      let size = RedisInfo.figure("aof_current_size", in: text), size > usedMemory * 2, free > usedMemory * 2
    else { return }
    _ = try? await store.client.send(RedisCommand("BGREWRITEAOF"))
  }
}
