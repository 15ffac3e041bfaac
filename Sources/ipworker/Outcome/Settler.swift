import Journal
import MailModel
import Observability
import Redis

/// Settlements on their way to Redis: batched while one call is under way, repeated until Redis has them. Each may be told
/// twice: the Function acts on the first only.
struct Settler {
  static let batch = 128

  private(set) var waiting: [Settlement] = []
  private var underWay: [Settlement]?

  var isFlushing: Bool { underWay != nil }
  var isEmpty: Bool { waiting.isEmpty && !isFlushing }
  var entryIDs: Set<String> { Set((waiting + (underWay ?? [])).map(\.entryID)) }

  mutating func add(_ settlement: Settlement) { waiting.append(settlement) }

  /// The next batch, when none is under way.
  mutating func begin() -> [Settlement] {
    guard !isFlushing, !waiting.isEmpty else { return [] }
    let batch = Array(waiting.prefix(Self.batch))
    waiting.removeFirst(batch.count)
    underWay = batch
    return batch
  }

  mutating func end(_ batch: [Settlement], isDone: Bool) {
    underWay = nil
    if !isDone { waiting.insert(contentsOf: batch, at: 0) }
  }
}
