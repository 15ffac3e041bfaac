import MailModel

/// When a monitor sweeps: at once, then each time its interval has passed or its settings have changed; never twice at a time.
actor SweepLoop {
  private let pause: @Sendable (Milliseconds) async throws -> Void
  private var running: Task<Void, Never>?
  private var resting: Task<Void, any Error>?
  /// Since the last sweep began to rest.
  private var isChanged = false

  init(pause: @escaping @Sendable (Milliseconds) async throws -> Void) { self.pause = pause }

  /// Until cancelled.
  /// - Parameter interval: asked after each sweep.
  func run(every interval: @Sendable () async -> Milliseconds, _ sweep: @escaping @Sendable () async -> Void) async {
    repeat {
      await once(sweep)
      guard await rest(await interval()) else { return }
    } while !Task.isCancelled
  }

  /// A call during another one waits for that one.
  func once(_ sweep: @escaping @Sendable () async -> Void) async {
    if let running { return await running.value }
    let task = Task { await sweep() }
    running = task
    await withTaskCancellationHandler {
      await task.value
    } onCancel: {
      task.cancel()
    }
    running = nil
  }

  /// The next sweep is due now; one under way is followed by another.
  func change() {
    isChanged = true
    resting?.cancel()
  }

  /// - Returns: false when the run is over.
  private func rest(_ time: Milliseconds) async -> Bool {
    if isChanged {
      isChanged = false
      return true
    }
    let pause = pause
    let task = Task { try await pause(time) }
    resting = task
    let result = await withTaskCancellationHandler {
      await task.result
    } onCancel: {
      task.cancel()
    }
    resting = nil
    let wasChanged = isChanged
    isChanged = false
    if case .failure = result { return wasChanged && !Task.isCancelled }
    return true
  }
}
