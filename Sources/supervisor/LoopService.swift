import ServiceLifecycle

/// A loop as a service: cancelled when it is its turn to end.
struct LoopService: Service {
  private let ending: @Sendable () async -> Void
  private let body: @Sendable () async -> Void

  init(ending: @escaping @Sendable () async -> Void = {}, _ body: @escaping @Sendable () async -> Void) {
    self.ending = ending
    self.body = body
  }

  func run() async throws {
    await cancelWhenGracefulShutdown { await body() }
    await ending()
  }
}

/// Tells once that its turn to end has come.
struct StopNotice: Service {
  private let stop: @Sendable () -> Void

  init(_ stop: @escaping @Sendable () -> Void) { self.stop = stop }

  func run() async throws {
    try? await gracefulShutdown()
    stop()
  }
}
