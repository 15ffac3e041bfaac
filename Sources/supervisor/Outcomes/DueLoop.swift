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
  private let signal = Signal()
  private var next: Milliseconds = 0

  init(store: QueueStore, host: String, heads: @escaping @Sendable ([QueueHead]) async -> Void) {
    self.store = store
    self.host = host
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
      do {
        if now >= next { try await moveDue(now) }
        if now >= nextExpiry {
          let (count, heads) = try await store.expire(
            host: host, now: now, limit: 500, outcome: Dispatcher.outcome(.expired, now))
          await self.heads(heads)
          nextExpiry = count == 500 ? now : now + 1000
        }
        if now >= nextHeld {
          let held = try await store.held(limit: 500).filter { $0.1 == "content" }.map(\.0)
          if !held.isEmpty { await heads(try await store.unhold(host: host, held).heads) }
          nextHeld = now + 10_000
        }
      } catch {
        next = 0
      }
      let wait = max(5, min(next, nextExpiry) - SystemClock.now())
      await signal.wait(atMost: .milliseconds(min(wait, 1000)))
    }
  }

  private func moveDue(_ now: Milliseconds) async throws {
    // Read before the call: what is expected while it runs must not be forgotten.
    next = now + 1000
    let (moved, first, heads) = try await store.ready(host: host, now: now, limit: 500)
    await self.heads(heads)
    if moved == 500 {
      next = now
    } else if let first {
      next = min(next, first)
    }
  }
}
