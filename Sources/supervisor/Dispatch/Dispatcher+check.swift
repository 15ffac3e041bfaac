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

  /// Messages that were out and are not, though no outcome told it: a run of Redis that lost their dispatch.
  func findLost() async throws {
    let numbers = Array(out.keys)
    for start in stride(from: 0, to: numbers.count, by: 500) {
      let slice = Array(numbers[start..<min(start + 500, numbers.count)])
      let known = Set(try await store.peek(slice).filter { $0.state == .dispatched || $0.state == .settled }.map(\.number))
      settled(slice.filter { !known.contains($0) }.map { Settled(number: $0, wasBegun: true, isRefunded: false) })
    }
  }
}
