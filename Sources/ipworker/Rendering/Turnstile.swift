import DequeModule

/// Lets one in at a time, first come first served. Belongs to one actor and is used on it only.
final class Turnstile {
  private var isTaken = false
  private var waiting = Deque<CheckedContinuation<Void, Never>>()

  func enter() async {
    guard isTaken else { return isTaken = true }
    // Whoever leaves hands over: it stays taken.
    await withCheckedContinuation { waiting.append($0) }
  }

  func leave() {
    guard let next = waiting.popFirst() else { return isTaken = false }
    next.resume()
  }
}
