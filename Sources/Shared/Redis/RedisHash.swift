internal import NIOCore

/// One hash of this installation as a table: text rows by field. For what is configured by the API, not for mail.
package struct RedisHash: Sendable {
  private let client: RedisClient
  private let key: String

  package init(client: RedisClient, key: String) {
    self.client = client
    self.key = key
  }

  package func get(_ field: String) async throws -> String? {
    try await client.send(RedisCommand("HGET", key, field)).string
  }

  /// Rows of several fields, in their order.
  package func get(_ fields: [String]) async throws -> [String?] {
    guard !fields.isEmpty else { return [] }
    var command = RedisCommand("HMGET", key)
    for field in fields { command.add(field) }
    return (try await client.send(command).array ?? []).map(\.string)
  }

  package func set(_ field: String, _ row: String) async throws {
    _ = try await client.send(RedisCommand("HSET", key, field, row))
  }

  /// Many rows in calls of at most 500.
  package func set(_ rows: [(field: String, row: String)]) async throws {
    var start = 0
    while start < rows.count {
      let slice = rows[start..<min(start + 500, rows.count)]
      var command = RedisCommand("HSET", key, capacity: slice.count * 96)
      for (field, row) in slice {
        command.add(field)
        command.add(row)
      }
      _ = try await client.send(command)
      start += slice.count
    }
  }

  package func setIfAbsent(_ field: String, _ row: String) async throws -> Bool {
    try await client.send(RedisCommand("HSETNX", key, field, row)).int == 1
  }

  /// Makes of a row (nil: none) another (nil: none); of what stands there then once more when somebody else changed it meanwhile.
  /// - Parameter step: what stands there → what is to, and what the caller wants to know of it.
  /// - Throws: what `step` throws; ``RedisError/unexpected(_:)`` when others change it all the time.
  package func change<Finding>(_ field: String, _ step: (String?) throws -> (row: String?, finding: Finding)) async throws -> Finding {
    for turn in 0..<20 {
      let before = try await get(field)
      let after = try step(before)
      if after.row == before { return after.finding }
      if try await swap(field, from: before, to: after.row) { return after.finding }
      // Out of step with whoever was faster, who may have more to change.
      try await Task.sleep(for: .milliseconds(Int64.random(in: 0...(1 << min(turn, 6)))))
    }
    throw RedisError.unexpected("the row \(field.prefix(80)) changes all the time")
  }

  /// Changes a row only when it still is what was read; nil: there is none. False when it is another by now.
  private func swap(_ field: String, from before: String?, to row: String?) async throws -> Bool {
    var command = RedisCommand.function("mta1_swap", prefix: key)
    for word in [field, before ?? "", row ?? ""] { command.add(word) }
    return try await client.send(command).int == 1
  }

  package func remove(_ field: String) async throws -> Bool {
    try await client.send(RedisCommand("HDEL", key, field)).int == 1
  }

  package func count() async throws -> Int { try await client.send(RedisCommand("HLEN", key)).int ?? 0 }

  /// Everything; for tables that stay small.
  package func all() async throws -> [(field: String, row: String)] {
    Self.pairs(try await client.send(RedisCommand("HGETALL", key)).array ?? [])
  }

  /// One slice from a cursor ("0" = from the start); the next cursor is nil at the end. A slice may hold more or fewer rows
  /// than asked, as HSCAN does.
  package func scan(from cursor: String, count: Int) async throws -> (rows: [(field: String, row: String)], next: String?) {
    let reply = try Reply(await client.send(RedisCommand("HSCAN", key, cursor, "COUNT", String(count))))
    let next = reply.values[0].string ?? "0"
    return (Self.pairs(try reply.array(1)), next == "0" ? nil : next)
  }

  /// Up to `count` distinct rows at random.
  package func sample(_ count: Int) async throws -> [(field: String, row: String)] {
    Self.pairs(try await client.send(RedisCommand("HRANDFIELD", key, String(count), "WITHVALUES")).array ?? [])
  }

  private static func pairs(_ flat: [RESPValue]) -> [(field: String, row: String)] {
    stride(from: 0, to: flat.count - 1, by: 2).compactMap { index in
      guard let field = flat[index].string, let row = flat[index + 1].string else { return nil }
      return (field, row)
    }
  }
}
