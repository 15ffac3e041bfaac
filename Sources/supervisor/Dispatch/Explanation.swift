import MailModel
import Observability
import Redis

/// Why a message is where it is, and until when (DESIGN section 8.2): the record's state, and the gates on the dispatcher's
/// own values.
struct Explanation: Encodable, Sendable {
  struct Shut: Encodable, Sendable {
    var scope: String
    var key: String
    var reason: String
    var since: String?
    var until: String?

    init(_ gate: Gate) {
      scope = gate.scope.rawValue
      key = gate.key
      reason = gate.reason.rawValue
      since = gate.since > 0 ? Timestamp.rfc3339(gate.since) : nil
      until = gate.until.map(Timestamp.rfc3339)
    }

    enum CodingKeys: String, CodingKey { case scope, key, reason, since, until, messages }

    var messages: Int?

    func encode(to encoder: any Encoder) throws {
      var box = encoder.container(keyedBy: CodingKeys.self)
      try box.encode(scope, forKey: .scope)
      try box.encode(key, forKey: .key)
      try box.encode(reason, forKey: .reason)
      try box.encode(since, forKey: .since)
      try box.encode(until, forKey: .until)
      try box.encodeIfPresent(messages, forKey: .messages)
    }
  }

  var messageId: String
  var state: String
  var gates: [Shut]
  var nextAttemptAt: String?
  var position: Int?

  enum CodingKeys: String, CodingKey { case messageId, state, gates, nextAttemptAt, position }

  func encode(to encoder: any Encoder) throws {
    var box = encoder.container(keyedBy: CodingKeys.self)
    try box.encode(messageId, forKey: .messageId)
    try box.encode(state, forKey: .state)
    try box.encode(gates, forKey: .gates)
    try box.encode(nextAttemptAt, forKey: .nextAttemptAt)
    try box.encode(position, forKey: .position)
  }
}

/// Finds a message by its id and explains it.
struct Explainer: Sendable {
  let store: QueueStore
  let history: HistoryStore
  let dispatcher: Dispatcher
  let pauses: Pauses

  /// - Throws: ``APIError`` 404 when nobody knows the id, 409 when several organisations have it.
  func explain(_ id: String, organisation: String?) async throws -> Explanation {
    if let number = try await find(id, organisation), let snapshot = try await store.snapshot(number) {
      return await explain(snapshot)
    }
    let entries = try await history.find(id, organisation: organisation)
    guard let entry = entries.first else { throw APIError(status: 404, text: "Message not found") }
    if organisation == nil, Set(entries.map(\.organizationId)).count > 1 { throw Self.ambiguous }
    return Explanation(messageId: entry.messageId, state: entry.state, gates: [])
  }

  /// Number of a live message; nil when none of that id lives.
  func find(_ id: String, _ organisation: String?) async throws -> MessageNumber? {
    let numbers = try await store.numbers(messageID: id)
    if let organisation { return numbers[organisation] }
    guard numbers.count <= 1 else { throw Self.ambiguous }
    return numbers.values.first
  }

  static let ambiguous = APIError(status: 409, text: "Several organizations have a message with this id: give organizationId")

  private func explain(_ message: MessageSnapshot) async -> Explanation {
    var gates = await dispatcher.gates(of: message.part)
    var explanation = Explanation(messageId: message.record.messageID, state: "queued", gates: [])
    switch message.state {
    case .queued: explanation.position = message.position
    case .dispatched, .settled:
      explanation.state = "dispatched"
      gates = []
    case .uncertain:
      explanation.state = "uncertain"
      gates = []
    case .waiting:
      let isFirst = message.deferrals == 0 && message.serial == 0
      explanation.state = isFirst ? "scheduled" : "deferred"
      explanation.nextAttemptAt = message.dueAt.map(Timestamp.rfc3339)
      gates.append(
        Gate(
          scope: .message, key: message.record.messageID, reason: isFirst ? .scheduled : .deferred, since: 0,
          until: message.dueAt))
    case .held:
      let pause = message.heldFor.flatMap(Pauses.Key.init)
      gates.append(
        Gate(
          scope: .message, key: pause?.description ?? message.record.messageID, reason: pause == nil ? .content : .queuePaused,
          since: pause.flatMap { pauses.rows[$0]?.since } ?? 0, until: nil))
    }
    explanation.gates = gates.map(Explanation.Shut.init)
    return explanation
  }
}
