import MailModel
import Observability
import Redis

/// What operators do to waiting mail: look, cancel, hurry. Each on one message or on all that a filter matches.
struct QueueAdmin: Sendable {
  /// Messages that a preview names.
  static let sampleSize = 10

  struct Preview: Encodable, Sendable {
    var count: Int
    var sample: [Job]
  }

  /// One waiting message in a list.
  struct Job: Encodable, Sendable {
    var id: String
    var messageId: String
    var organizationId: String
    var to: String
    var domain: String
    var ipPool: String
    var state: String
    var attempts: Int
    var acceptedAt: Milliseconds
    var nextAttemptAt: Milliseconds?
    var campaignId: String?

    init(_ message: QueuedMessage) {
      id = message.record.workAttemptID ?? message.record.messageID
      messageId = message.record.messageID
      organizationId = message.part.organisation
      to = message.record.recipient
      domain = message.part.group.domain
      ipPool = message.record.pool
      attempts = message.deferrals
      acceptedAt = message.record.acceptedAt
      nextAttemptAt = message.dueAt
      campaignId = message.record.campaignID
      state =
        switch message.state {
        case .queued: "queued"
        case .waiting: message.deferrals == 0 ? "scheduled" : "deferred"
        case .held: "held"
        case .dispatched, .settled: "dispatched"
        case .uncertain: "uncertain"
        }
    }
  }

  private struct Enough: Error {}

  let store: QueueStore
  let host: String
  let heads: @Sendable ([QueueHead]) async -> Void

  private var walk: QueueWalk { QueueWalk(store: store) }

  /// How many a filter matches, and the first few.
  func preview(_ filter: MessageFilter, in places: [QueueWalk.Place] = QueueWalk.Place.allCases) async throws -> Preview {
    var preview = Preview(count: 0, sample: [])
    try await walk.visit(filter, in: places) { messages in
      preview.count += messages.count
      preview.sample += messages.prefix(Self.sampleSize - preview.sample.count).map(Job.init)
      return 0
    }
    return preview
  }

  func jobs(_ filter: MessageFilter, offset: Int, limit: Int) async throws -> [Job] {
    var jobs: [Job] = []
    var skipped = 0
    do {
      try await walk.visit(filter) { messages in
        for message in messages {
          if skipped < offset { skipped += 1 } else { jobs.append(Job(message)) }
          if jobs.count == limit { throw Enough() }
        }
        return 0
      }
    } catch is Enough {}
    return jobs
  }

  /// Ends them: each is told as `failed` CANCELLED. What a worker has is not touched.
  /// - Parameter progress: how many so far, after each slice.
  func cancel(_ filter: MessageFilter, progress: (Int) -> Void = { _ in }) async throws -> Int {
    var count = 0
    try await walk.visit(filter) { messages in
      let (ended, heads) = try await store.conclude(
        host: host, outcome: Dispatcher.outcome(.cancelled, SystemClock.now()), messages.map(\.number))
      await self.heads(heads)
      count += ended
      progress(count)
      return ended
    }
    return count
  }

  /// What waits for its time goes now; gates hold it all the same.
  func retry(_ filter: MessageFilter, progress: (Int) -> Void = { _ in }) async throws -> Int {
    var count = 0
    try await walk.visit(filter, in: [.waiting]) { messages in
      let (moved, heads) = try await store.hurry(host: host, messages.map(\.number))
      await self.heads(heads)
      count += moved
      progress(count)
      return moved
    }
    return count
  }

  /// The message of an id, wherever it is; nil when it lives no more.
  func job(_ id: String, organisation: String?) async throws -> Job? {
    let numbers = try await store.numbers(identity: id)
    guard organisation != nil || numbers.count <= 1 else { throw Explainer.ambiguous }
    let number = organisation.map { numbers[$0] } ?? numbers.values.first
    guard let number else { return nil }
    return try await store.peek([number]).first.map(Job.init)
  }
}
