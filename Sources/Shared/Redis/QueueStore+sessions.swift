package import MailModel

/// What a host holds and wants of the sessions that all IPs share under one lane key.
package struct SessionClaim: Sendable, Equatable {
  package var key: String
  package var limit: Int
  package var held: Int
  /// Beside what is held.
  package var wanted: Int

  package init(key: String, limit: Int, held: Int, wanted: Int) {
    self.key = key
    self.limit = limit
    self.held = held
    self.wanted = wanted
  }
}

package struct SessionGrant: Sendable, Equatable {
  package var granted: Int
  /// What other hosts want and have not got.
  package var wantedElsewhere: Int

  package init(granted: Int, wantedElsewhere: Int) {
    self.granted = granted
    self.wantedElsewhere = wantedElsewhere
  }
}

extension QueueStore {
  /// Says what this host holds and asks for more: of each key all hosts together never hold more than its limit, unless what
  /// is held already is. Answers in the order of the claims.
  /// - Parameter lease: what is held is forgotten when nothing is said for so long.
  package func claimSessions(host: String, lease: Milliseconds, _ claims: [SessionClaim]) async throws -> [SessionGrant] {
    var command = RedisCommand.function("mta1_sessions", prefix: keys.prefix)
    command.add(host)
    command.add(lease)
    command.add(claims.count)
    for claim in claims {
      command.add(claim.key)
      command.add(claim.limit)
      command.add(claim.held)
      command.add(claim.wanted)
    }
    let rows = try await client.send(command).array ?? []
    guard rows.count == claims.count else { throw RedisError.unexpected("sessions") }
    return try rows.map { row in
      guard let pair = row.array, pair.count == 2, let granted = pair[0].int, let elsewhere = pair[1].int else {
        throw RedisError.unexpected("sessions")
      }
      return SessionGrant(granted: granted, wantedElsewhere: elsewhere)
    }
  }
}
