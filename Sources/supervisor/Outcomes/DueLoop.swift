import Logging
import MailModel
import Observability
import Redis

/// Time's work in the queue: due messages back to their queues, expired ones concluded behind whatever gate, held ones
/// looked at again.
actor DueLoop {
  private let store: QueueStore
  private let host: String
  private let heads: @Sendable ([QueueHead]) async -> Void
  private let pauses: Pauses
  private let signal = Signal()
  private var heldCursor = "0"
  private var next: Milliseconds = 0

  init(store: QueueStore, host: String, pauses: Pauses, heads: @escaping @Sendable ([QueueHead]) async -> Void) {
    self.store = store
    self.host = host
    self.pauses = pauses
    self.heads = heads
  }

  /// Something becomes due then: look no later.
  func expect(_ at: Milliseconds) {
    guard at < next else { return }
    next = at
    signal.fire()
  }

  func run() async {
    var nextExpiry: Milliseconds = 0
    var nextHeld: Milliseconds = 0
    while !Task.isCancelled {
      let now = SystemClock.now()
      var rest: Milliseconds = 5
      do {
        if now >= next { try await moveDue(now) }
        if now >= nextExpiry {
          FailPoint.supervisorBeforeExpire.pass()
          let (count, heads) = try await store.expire(
            host: host, now: now, limit: 500, outcome: Dispatcher.outcome(.expired, now))
          FailPoint.supervisorAfterExpire.pass()
          await self.heads(heads)
          nextExpiry = count == 500 ? now : now + 1000
        }
        if now >= nextHeld {
          try await tryHeldContent(now)
          nextHeld = now + (heldCursor == "0" ? 10_000 : 100)
        }
      } catch {
        next = 0
        rest = 200
      }
      let wait = max(rest, min(next, nextExpiry) - SystemClock.now())
      await signal.wait(atMost: .milliseconds(min(wait, 1000)))
    }
  }

  /// Messages whose content was absent: looked at again, a slice of all that is held at a time.
  private func tryHeldContent(_ now: Milliseconds) async throws {
    let (rows, next) = try await store.held(from: heldCursor)
    heldCursor = next ?? "0"
    let numbers = rows.filter { $0.reason == "content" }.map(\.number)
    if !numbers.isEmpty { await heads(try await store.unhold(host: host, now: now, numbers).heads) }
  }

  private func moveDue(_ now: Milliseconds) async throws {
    // Read before the call: what is expected while it runs must not be forgotten.
    next = now + 1000
    try await pauses.holdDue(now)
    FailPoint.supervisorBeforeReady.pass()
    let (moved, first, heads) = try await store.ready(host: host, now: now, limit: 500)
    FailPoint.supervisorAfterReady.pass()
    await self.heads(heads)
    if moved == 500 {
      next = now
    } else if let first {
      next = min(next, first)
    }
  }
}
