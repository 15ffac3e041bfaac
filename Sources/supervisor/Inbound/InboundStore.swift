import Foundation
import GRDB
import MailModel

/// Mail of inbound routes that is ours until somebody took it (`inbound.db`): forwards to endpoints that wait for an answer, and
/// mail that a route holds. Committed before the client is told 250.
final class InboundStore: Sendable {
  enum State: String, Sendable { case forwarding, held }

  struct Mail: Sendable {
    /// Derived from envelope and content, so that a client that missed our answer does not make two.
    var id: String
    var state: State
    /// ``InboundRoutes/Route/id``.
    var routeID: String
    var from: String
    var recipient: String
    var subject: String
    /// JSON as it will be posted or told.
    var payload: String
    var size: Int
    var receivedAt: Milliseconds
    var tries = 0
  }

  private let database: DatabaseQueue

  init(path: String) throws {
    var configuration = Configuration()
    configuration.prepareDatabase { try EventOutbox.tune($0) }
    database = try DatabaseQueue(path: path, configuration: configuration)
    try database.write { db in
      try db.execute(
        sql: """
          CREATE TABLE IF NOT EXISTS mail(id TEXT PRIMARY KEY, state TEXT NOT NULL, route TEXT NOT NULL, sender TEXT NOT NULL,
            recipient TEXT NOT NULL, subject TEXT NOT NULL, payload TEXT NOT NULL, size INTEGER NOT NULL, received_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
          CREATE INDEX IF NOT EXISTS mail_by_due ON mail(state, due_at);
          CREATE TABLE IF NOT EXISTS seen(id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
          CREATE INDEX IF NOT EXISTS seen_by_time ON seen(at);
          """)
    }
  }

  /// Durable when it returns. What was stored before, even if it has left since, is not stored again.
  func store(_ mail: Mail) async throws {
    try await database.write { db in
      try db.execute(sql: "INSERT OR IGNORE INTO seen(id, at) VALUES (?, ?)", arguments: [mail.id, mail.receivedAt])
      guard db.changesCount > 0 else { return }
      try db.execute(
        sql: """
          INSERT INTO mail(id, state, route, sender, recipient, subject, payload, size, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          mail.id, mail.state.rawValue, mail.routeID, mail.from, mail.recipient, mail.subject, mail.payload, mail.size, mail.receivedAt,
        ])
    }
  }

  func due(now: Milliseconds, limit: Int) async throws -> [Mail] {
    try await rows("state = 'forwarding' AND due_at <= ? ORDER BY due_at, received_at LIMIT ?", [now, limit])
  }

  func held(limit: Int, offset: Int) async throws -> [Mail] {
    try await rows("state = 'held' ORDER BY received_at LIMIT ? OFFSET ?", [limit, offset])
  }

  func heldMail(_ id: String) async throws -> Mail? { try await rows("state = 'held' AND id = ?", [id]).first }

  func postpone(_ id: String, until: Milliseconds) async throws {
    try await change("UPDATE mail SET due_at = ?, tries = tries + 1 WHERE id = ?", [until, id])
  }

  /// Refused for good or too long: kept, shown among the held, and no longer tried.
  func giveUp(_ id: String) async throws { try await change("UPDATE mail SET state = 'held' WHERE id = ?", [id]) }

  /// Taken, or told, or dropped by an operator. False when it was not there.
  @discardableResult
  func drop(_ id: String) async throws -> Bool { try await change("DELETE FROM mail WHERE id = ?", [id]) }

  /// Forgets whom it has seen; what waits stays.
  func prune(before limit: Milliseconds) async throws { try await change("DELETE FROM seen WHERE at < ?", [limit]) }

  func counts() async throws -> (forwarding: Int, held: Int) {
    try await database.read { db in
      (
        try Int.fetchOne(db, sql: "SELECT count(*) FROM mail WHERE state = 'forwarding'") ?? 0,
        try Int.fetchOne(db, sql: "SELECT count(*) FROM mail WHERE state = 'held'") ?? 0
      )
    }
  }

  @discardableResult
  private func change(_ sql: String, _ arguments: StatementArguments) async throws -> Bool {
    try await database.write { db in
      try db.execute(sql: sql, arguments: arguments)
      return db.changesCount > 0
    }
  }

  private func rows(_ condition: String, _ arguments: StatementArguments) async throws -> [Mail] {
    try await database.read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM mail WHERE " + condition, arguments: arguments).map { row in
        Mail(
          id: row["id"], state: State(rawValue: row["state"]) ?? .held, routeID: row["route"], from: row["sender"],
          recipient: row["recipient"], subject: row["subject"], payload: row["payload"], size: row["size"],
          receivedAt: row["received_at"], tries: row["tries"])
      }
    }
  }
}
