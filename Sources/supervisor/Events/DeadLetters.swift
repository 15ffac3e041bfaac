import MailFormat
import MailModel

/// Events that an endpoint refused for good, for people: look, send once more, discard. One event is one letter for each
/// endpoint that refused it.
actor DeadLetters {
  enum Retry: Sendable, Equatable {
    case delivered
    case failed(attempts: Int)
    /// Absent, or being sent by another call.
    case unavailable
  }

  private let outbox: EventOutbox
  private let senders: WebhookSenders
  private var claimed: Set<String> = []

  init(outbox: EventOutbox, senders: WebhookSenders) {
    self.outbox = outbox
    self.senders = senders
  }

  /// `<event id>.<endpoint>`, the endpoint as the start of its name's hash.
  static func id(_ letter: EventOutbox.Dead) -> String { "\(letter.id).\(mark(letter.endpoint))" }

  private static func mark(_ endpoint: String) -> String { String(Digest.hex(Digest.sha256(Array(endpoint.utf8))).prefix(8)) }

  func list(limit: Int, offset: Int) async throws -> [EventOutbox.Dead] { try await outbox.dead(limit: limit, offset: offset) }

  func stats() async throws -> (total: Int, oldest: Milliseconds?, newest: Milliseconds?) { try await outbox.deadStats() }

  func retry(_ id: String) async throws -> Retry {
    guard let letter = try await find(id), claimed.insert(id).inserted else { return .unavailable }
    defer { claimed.remove(id) }
    guard let sender = senders.sender(of: letter.endpoint) else { return .failed(attempts: letter.attempts) }
    guard let status = await sender.resend(letter) else {
      // Discarded meanwhile: it was delivered all the same.
      _ = try await outbox.discard(endpoint: letter.endpoint, id: letter.id)
      return .delivered
    }
    try await outbox.failedAgain(endpoint: letter.endpoint, id: letter.id, status: status == 0 ? nil : status)
    return .failed(attempts: letter.attempts + 1)
  }

  func retryAll() async throws -> (delivered: Int, failed: Int, total: Int) {
    var delivered = 0
    var total = 0
    var failed = 0
    let count = try await outbox.deadStats().total
    // Those that fail stay in the list: walk past them.
    while total < count {
      let letters = try await outbox.dead(limit: 100, offset: failed)
      guard !letters.isEmpty else { break }
      for letter in letters {
        total += 1
        if try await retry(Self.id(letter)) == .delivered { delivered += 1 } else { failed += 1 }
      }
    }
    return (delivered, failed, total)
  }

  func discard(_ id: String) async throws -> Bool {
    guard let letter = try await find(id) else { return false }
    return try await outbox.discard(endpoint: letter.endpoint, id: letter.id)
  }

  private func find(_ id: String) async throws -> EventOutbox.Dead? {
    guard let dot = id.lastIndex(of: ".") else { return nil }
    let event = String(id[..<dot])
    let mark = id[id.index(after: dot)...]
    let known = Set(senders.all.map(\.endpoint.name)).union(try await outbox.deadEndpoints())
    guard let endpoint = known.first(where: { Self.mark($0) == mark }) else { return nil }
    return try await outbox.dead(endpoint: endpoint, id: event)
  }
}
