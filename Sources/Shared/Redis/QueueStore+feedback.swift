package import MailModel

/// What came back of one message, on its way into Redis.
package struct FeedbackItem: Sendable {
  package var number: MessageNumber
  /// One of each kind is taken a message.
  package var kind: String
  /// ms; longer than anything can still come back.
  package var memory: Milliseconds
  /// Events and final record for outbox and history.
  package var done: [UInt8]
  package var suppression: SuppressionRow?

  package init(number: MessageNumber, kind: String, memory: Milliseconds, done: [UInt8], suppression: SuppressionRow?) {
    self.number = number
    self.kind = kind
    self.memory = memory
    self.done = done
    self.suppression = suppression
  }
}

extension QueueStore {
  /// Whether it was taken before: nothing need be learnt then.
  package func knowsFeedback(_ number: MessageNumber, _ kind: String) async throws -> Bool {
    try await client.send(RedisCommand("EXISTS", keys.feedback(number.description, kind))).int == 1
  }

  /// When a report about this message was first asked to come again because no host that was asked knew it; from now on, if never.
  package func firstMissed(_ number: MessageNumber, now: Milliseconds) async throws -> Milliseconds {
    let key = keys.feedback(number.description, "missed")
    _ = try await client.send(RedisCommand("SET", key, "\(now)", "NX", "PX", "\(16 * 86_400_000)"))
    return try await client.send(RedisCommand("GET", key)).int64 ?? now
  }

  /// Takes it in one step with what was learnt from it: event, suppression and policy rows stand or fall together.
  /// - Returns: the `done` id; nil when it was taken before, and then nothing was done.
  package func feedback(host: String, _ item: FeedbackItem, policy: [PolicyRow]) async throws -> String? {
    var command = RedisCommand.function("mta1_feedback", prefix: keys.prefix, capacity: item.done.count + policy.count * 200 + 256)
    command.add(host)
    command.add(item.number.description)
    command.add(item.kind)
    command.add(item.memory)
    command.add(item.done)
    command.add(item.suppression?.scope ?? "")
    command.add(item.suppression?.address ?? "")
    command.add(item.suppression?.value ?? "")
    command.add(policy.count)
    for row in policy {
      command.add(row.field)
      command.add(row.text ?? "")
    }
    guard let id = try await client.send(command).string else { throw RedisError.unexpected("feedback") }
    return id.isEmpty ? nil : id
  }

  /// Somebody leaves a list: row and event in one step.
  /// - Parameters:
  ///   - field: address, line feed, list.
  ///   - done: the event, for the outbox.
  /// - Returns: the `done` id; nil when they had left before, and then only the time at which they asked last is noted.
  package func leave(host: String, organisation: String, field: String, messageID: String, done: [UInt8], now: Milliseconds) async throws
    -> String?
  {
    var command = RedisCommand.function("mta1_leave", prefix: keys.prefix, capacity: done.count + 512)
    command.add(host)
    command.add(organisation)
    command.add(field)
    command.add(now)
    command.add(messageID)
    command.add(done)
    guard let id = try await client.send(command).string else { throw RedisError.unexpected("leave") }
    return id.isEmpty ? nil : id
  }

  /// Somebody is back on a list.
  /// - Parameter before: who asked to leave after it stays away; nil = whenever they asked.
  /// - Returns: whether there was a row and it is gone.
  package func rejoin(organisation: String, field: String, before: Milliseconds?) async throws -> Bool {
    var command = RedisCommand.function("mta1_rejoin", prefix: keys.prefix)
    command.add(organisation)
    command.add(field)
    if let before { command.add(before) } else { command.add("") }
    return try await client.send(command).int == 1
  }
}
