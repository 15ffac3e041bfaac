import DequeModule
import Logging
import MailModel
import Observability
import Redis

/// Brings what the reducer left in `done` to disk: events into the outbox, final records into history, then lets Redis trim.
/// `done` is trimmed only after both have committed (DESIGN section 4.10).
actor DoneWriter {
  static let batch = 500
  /// Rows not yet on disk; more make the reducer wait.
  static let capacity = 5_000

  private let outbox: EventOutbox
  private let history: HistoryStore
  private let committed: @Sendable () async -> Void
  private let log: Logger
  private let signal = Signal()
  private var queue = Deque<(id: String, record: DoneRecord)>()
  private var trimTo: String?
  private var lastTrim: Int64 = 0
  init(outbox: EventOutbox, history: HistoryStore, log: Logger, committed: @escaping @Sendable () async -> Void) {
    self.outbox = outbox
    self.history = history
    self.log = log
    self.committed = committed
  }

  func append(_ rows: [(id: String, record: DoneRecord)]) {
    guard !rows.isEmpty else { return }
    queue.append(contentsOf: rows)
    signal.fire()
  }

  /// The disk takes rows more slowly than they come, or not at all.
  var isFull: Bool { queue.count > Self.capacity }

  /// Waits for room, telling now and then that it does; ends with its task.
  func waitForRoom(_ turning: @Sendable () async -> Void = {}) async throws {
    while isFull {
      await turning()
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Id up to which `done` may be trimmed with the next effects; each is answered once.
  func takeTrim() -> String? {
    defer { trimTo = nil }
    if trimTo != nil { lastTrim = SystemClock.monotonic() }
    return trimTo
  }

  func trimWhenIdle(store: QueueStore, host: String) async {
    guard trimTo != nil, SystemClock.monotonic() - lastTrim > 1000, let id = takeTrim() else { return }
    try? await store.trimDone(host: host, upTo: id)
  }

  /// Rows that an earlier life left in Redis.
  func recover(store: QueueStore, host: String) async throws {
    var after = "-"
    while true {
      let rows = try await store.readDone(host: host, after: after, limit: 500)
      append(rows.compactMap { row in (try? DoneRecord(decoding: row.record)).map { (row.id, $0) } })
      guard let last = rows.last, rows.count == 500 else { return }
      after = last.id
      try await waitForRoom()
    }
  }

  func run() async {
    while !Task.isCancelled {
      if queue.isEmpty { await signal.wait(atMost: .seconds(1)) }
      // A little patience makes one commit of many rows.
      if queue.count < 64 { try? await Task.sleep(for: .milliseconds(10)) }
      await writeBatch()
    }
    while !queue.isEmpty, await writeBatch() {}
  }

  @discardableResult
  private func writeBatch() async -> Bool {
    let count = min(queue.count, Self.batch)
    guard count > 0 else { return true }
    let rows = Array(queue.prefix(count))
    do {
      FailPoint.supervisorBeforeOutbox.pass()
      try await outbox.store(rows.flatMap { row in row.record.events.map { ($0, row.record.at) } })
      FailPoint.supervisorAfterOutbox.pass()
      try await history.store(rows.map(\.record))
      FailPoint.supervisorAfterHistory.pass()
    } catch {
      log.critical("events cannot be written to disk", metadata: [LogKey.error: "\(error)"])
      if !Task.isCancelled { try? await Task.sleep(for: .seconds(1)) }
      return false
    }
    queue.removeFirst(count)
    // MINID keeps the id itself: the next one is the first to stay.
    if let last = rows.last { trimTo = Self.after(last.id) }
    await committed()
    return true
  }

  private static func after(_ id: String) -> String {
    let parts = id.split(separator: "-")
    guard parts.count == 2, let sequence = UInt64(parts[1]) else { return id }
    return "\(parts[0])-\(sequence + 1)"
  }
}
