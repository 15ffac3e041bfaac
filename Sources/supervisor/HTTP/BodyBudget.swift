import CShims
import DequeModule

/// How many octets of large request bodies may be in memory at once: the next one is read when there is room. A body costs
/// several times its size while it is decoded, packed and written; without this, twenty of them at once would cost as many
/// times more. Small bodies do not ask.
actor BodyBudget {
  /// Bodies up to this size are not counted.
  static let small = 1 << 20

  private let total: Int
  private var used = 0
  private var waiting = Deque<(size: Int, continuation: CheckedContinuation<Void, Never>)>()

  init(total: Int) { self.total = total }

  /// Waits for room, first come first served. A body larger than the whole budget gets all of it.
  func acquire(_ size: Int) async {
    let size = min(size, total)
    if waiting.isEmpty, used + size <= total {
      used += size
      return
    }
    await withCheckedContinuation { waiting.append((size, $0)) }
  }

  func release(_ size: Int) {
    used -= min(size, total)
    while let next = waiting.first, used + next.size <= total {
      used += next.size
      waiting.removeFirst()
      next.continuation.resume()
    }
    // What large bodies left behind goes back to the system, not into the heap's free lists.
    if used == 0 { shim_malloc_trim() }
  }
}
