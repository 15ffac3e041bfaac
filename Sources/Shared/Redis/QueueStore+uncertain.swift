package import MailModel

/// What a person decides of messages that may have been delivered and may not. Each acts on an uncertain message only, so
/// of two decisions the first holds.
extension QueueStore {
  /// Due at once, as a new attempt. Answers how many were uncertain.
  package func resend(now: Milliseconds, _ numbers: [MessageNumber]) async throws -> Int {
    var command = RedisCommand.function("mta1_resend", prefix: keys.prefix)
    command.add(now)
    for number in numbers { command.add(number.description) }
    return try await client.send(command).int ?? 0
  }

  /// Ended with this outcome. Answers how many were uncertain.
  package func drop(host: String, outcome: [UInt8], _ numbers: [MessageNumber]) async throws -> Int {
    var command = RedisCommand.function("mta1_drop", prefix: keys.prefix)
    command.add(host)
    command.add(outcome)
    for number in numbers { command.add(number.description) }
    return try await client.send(command).int ?? 0
  }
}
