import Logging
import MailModel
import Observability
import Redis

/// Whether the index lacks queues that the directory has. Heads come with answers, and the directory is read anew with each
/// connection, so it should not; a queue that it lacked all the same would wait until new mail came for it.
struct IndexCheck {
  static let interval: Int64 = 5_000

  struct Figures: Equatable {
    var rows: Int
    var parts: Int
    var messages: Int
    var dispatched: Int
  }

  fileprivate var checkedAt: Int64 = 0
  fileprivate var last: Figures?
}

extension Dispatcher {
  /// Compares the number of rows, every few seconds while there is nothing to pick. True when the directory has more than the
  /// index twice in a row, and nothing moved between.
  func lacksQueues() async -> Bool {
    let now = SystemClock.monotonic()
    guard now - indexCheck.checkedAt >= IndexCheck.interval else { return false }
    indexCheck.checkedAt = now
    guard let rows = try? await store.directorySize() else { return false }
    let figures = IndexCheck.Figures(
      rows: rows, parts: index.mirror.parts.count, messages: index.messageCount, dispatched: dispatched)
    defer { indexCheck.last = figures }
    guard rows > figures.parts, figures == indexCheck.last else { return false }
    log.error("the index lacks queues: it is read anew", metadata: ["directory": "\(rows)", "index": "\(figures.parts)"])
    return true
  }
}
