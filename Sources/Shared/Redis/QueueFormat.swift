internal import RedisFunctions

/// The number of the format in which the queue lies in Redis. Raise it with every change that an older version would misread,
/// and add the step from the format before to ``steps``.
package enum QueueFormat {
  package static let current = 2

  /// A queue that this version cannot read.
  package struct Unreadable: Error, Equatable, CustomStringConvertible {
    package var description: String
  }

  /// How a format becomes the next, and is marked as such: by its number. Each may be cut off anywhere and begun again.
  private static let steps: [Int: @Sendable (RedisKeys, RedisClient.Sender) async throws -> Void] = [
    // What a message is moved out of workers' reach. Programs of format 1 that still run would read nothing there and forget the message:
    // their Functions go first. Not by a plain SET at the end either: a Redis that is full must be migrated too.
    1: { keys, sender in
      let listed = try await sender.send(RedisCommand("FUNCTION", "LIST", "LIBRARYNAME", "owlatmta_*")).array ?? []
      for name in listed.compactMap({ $0.array?.dropFirst().first?.string }) where name != RedisLibrary.own.name {
        _ = try await sender.send(RedisCommand("FUNCTION", "DELETE", name))
      }
      var cursor = "0"
      repeat {
        var command = RedisCommand.function("mta1_migrate", prefix: keys.prefix)
        command.add(cursor)
        cursor = try await sender.send(command).string ?? "0"
      } while cursor != "0"
    }
  ]

  /// Finds out the format of the queue behind a fresh connection, migrates an older one, and marks a new one.
  /// - Throws: ``Unreadable`` when the queue is of a newer format, or of an older one without a way to here.
  package static func check(_ keys: RedisKeys, _ sender: RedisClient.Sender) async throws {
    // Read first: a Redis that is full writes nothing, and must be connected to all the same.
    guard let text = try await sender.send(RedisCommand("GET", keys.format)).string else {
      _ = try? await sender.send(RedisCommand("SET", keys.format, String(current), "NX"))
      return
    }
    guard var found = Int(text) else { throw Unreadable(description: "\(keys.format) in Redis is no format number: \(text.prefix(40))") }
    guard found <= current else {
      throw Unreadable(
        description: "the queue in Redis has format \(found), and this version knows formats up to \(current): "
          + "run the version that wrote it, or a newer one")
    }
    while found < current {
      guard let step = steps[found] else {
        throw Unreadable(
          description: "the queue in Redis has format \(found), which this version (format \(current)) cannot migrate: "
            + "let the version that wrote it send what waits, or migrate with a version between")
      }
      try await step(keys, sender)
      found += 1
    }
  }
}
