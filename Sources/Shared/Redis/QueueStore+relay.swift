import MailModel

extension QueueStore {
  /// How a message to postmaster ended, for the host that took it in, whose history may not be the one that has it.
  package func noteRelayEnd(_ messageID: String, _ state: String) async throws {
    _ = try await client.send(RedisCommand("SET", keys.relayEnd(messageID), state, "PX", "\(16 * 86_400_000)"))
  }

  package func relayEnd(_ messageID: String) async throws -> String? {
    try await client.send(RedisCommand("GET", keys.relayEnd(messageID))).string
  }
}
