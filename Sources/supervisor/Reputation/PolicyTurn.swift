import DequeModule
import Synchronization

/// One at a time from learning to writing what was learnt: outcomes and what comes back of mail teach the same rows, and a row
/// must not be overwritten by an older one.
final class PolicyTurn: Sendable {
  private struct State {
    var isTaken = false
    var waiting = Deque<CheckedContinuation<Void, Never>>()
  }

  // A lock and no actor, so that a `defer` can give it back.
  private let state = Mutex(State())

  func enter() async {
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state in
        if state.isTaken {
          state.waiting.append(continuation)
          return false
        }
        state.isTaken = true
        return true
      }
      if isFree { continuation.resume() }
    }
  }

  /// Hands over to the one that waits longest.
  func leave() {
    let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
      let next = state.waiting.popFirst()
      if next == nil { state.isTaken = false }
      return next
    }
    next?.resume()
  }
}
