import Journal
import MailModel
import Observability
import Redis

/// Settlements on their way to Redis: batched while one call is under way, repeated until Redis has them. Each may be told
/// twice: the Function acts on the first only.
struct Settler {
  static let batch = 128

  private(set) var waiting: [Settlement] = []
  private(set) var isFlushing = false

  var isEmpty: Bool { waiting.isEmpty && !isFlushing }

  mutating func add(_ settlement: Settlement) { waiting.append(settlement) }

  /// The next batch, when none is under way.
  mutating func begin() -> [Settlement] {
    guard !isFlushing, !waiting.isEmpty else { return [] }
    isFlushing = true
    let batch = Array(waiting.prefix(Self.batch))
    waiting.removeFirst(batch.count)
    return batch
  }

  mutating func end(_ batch: [Settlement], isDone: Bool) {
    isFlushing = false
    if !isDone { waiting.insert(contentsOf: batch, at: 0) }
  }
}
