import Glibc
import Journal
import Logging
import MailModel
import Observability
import Redis

/// Whose the journal is, and what is settled from it.
extension WorkerLife {
  /// Settles the journal while holding its lock; false when that could not be done now.
  func recover() async -> Bool {
    do {
      let lock = try await takeLock()
      return try await recover(holding: lock)
    } catch {
      noteUnsettled(error)
      return false
    }
  }

  /// It is tried again and again, and said once a minute.
  private func noteUnsettled(_ error: any Error) {
    let now = SystemClock.monotonic()
    guard now - unsettledSaidAt > 60_000 else { return }
    unsettledSaidAt = now
    settings.log.warning(
      "journal not settled yet: nothing is sent until it is", metadata: [LogKey.sourceIP: "\(address)", LogKey.error: "\(error)"])
  }

  /// While Redis is away it is waited for, without a word; what it refuses is said once a minute.
  func noteUnstarted(_ error: any Error) {
    if let fault = error as? RedisError {
      let now = SystemClock.monotonic()
      guard case .refused = fault, now - unsettledSaidAt > 60_000 else { return }
      unsettledSaidAt = now
    }
    settings.log.error("worker not started", metadata: [LogKey.sourceIP: "\(address)", LogKey.error: "\(error)"])
  }

  func recover(holding lock: JournalLock, takesOver: Bool = false) async throws -> Bool {
    guard let run = settings.store.client.session?.runID else { throw RedisError.notConnected }
    let blamed = try await recovery.run(
      ip: address, directory: directory, blames: mayBeBlamed, takesOver: takesOver, on: run, now: SystemClock.now())
    mayBeBlamed = false
    // Only marked messages count against themselves, and then not against the IP (DESIGN section 5).
    if blamed, !ends.isEmpty { ends.removeLast() }
    toldRun = run
    await settings.replayed(address, run)
    return withExtendedLifetime(lock) { true }
  }

  /// Waits up to 15 s for a holder that should be on its way out, then kills it, where it can be found. One that is the worker of an
  /// earlier supervisor takes nothing new: it ends in order, or by a blow, and unless it hangs nothing that it had begun is to blame.
  func takeLock() async throws -> JournalLock {
    let deadline = SystemClock.monotonic() + 15_000
    var isHeld = false
    while true {
      switch JournalLock.take(directory: directory) {
      case .success(let lock): return lock
      case .failure(.held(let pid)):
        if !isHeld {
          isHeld = true
          settings.log.info("waiting for an earlier worker to end", metadata: [LogKey.sourceIP: "\(address)", "pid": "\(pid ?? 0)"])
        }
        let hangs = SystemClock.monotonic() > deadline
        if hangs { mayBeBlamed = true }
        // An inode number alone may be another file system's too: both must name the same process.
        if hangs, let pid, pid != getpid(), pid == JournalLock.holder(directory: directory) { killHolder(pid) }
        try await Task.sleep(for: .milliseconds(50))
      case .failure(let error): throw error
      }
    }
  }

  private func killHolder(_ pid: Int32) {
    guard let holder = try? ChildProcess.adopt(pid: pid) else { return }
    settings.log.warning("killing the holder of a journal", metadata: [LogKey.sourceIP: "\(address)", "pid": "\(pid)"])
    holder.send(signal: SIGKILL)
  }
}
