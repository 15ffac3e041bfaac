import Foundation
import GRDB
import MailModel

/// Events that wait for their endpoints, on disk (`outbox.db`): what a receiver does not take today is there tomorrow. An
/// event is stored once by its derived id; each endpoint has a row of its own until it took it.
final class EventOutbox: Sendable {
  struct Pending: Sendable {
    var sequence: Int64
    var id: String
    var kind: String
    var json: String
    var fallback: String?
    var createdAt: Milliseconds
    var tries: Int
  }

  struct Dead: Sendable {
    var endpoint: String
    var id: String
    var kind: String
    var json: String
    var createdAt: Milliseconds
    var diedAt: Milliseconds
    var status: Int?
    var attempts: Int
  }

  private let database: DatabaseQueue

  init(path: String) throws {
    var configuration = Configuration()
    configuration.prepareDatabase { try Self.tune($0) }
    database = try DatabaseQueue(path: path, configuration: configuration)
    try database.write { db in
      try db.execute(
        sql: """
          CREATE TABLE IF NOT EXISTS event(sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
            json TEXT NOT NULL, fallback TEXT, created_at INTEGER NOT NULL);
          CREATE TABLE IF NOT EXISTS pending(endpoint TEXT NOT NULL, sequence INTEGER NOT NULL, due_at INTEGER NOT NULL,
            tries INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(endpoint, sequence)) WITHOUT ROWID;
          CREATE TABLE IF NOT EXISTS dead(endpoint TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, json TEXT NOT NULL,
            created_at INTEGER NOT NULL, died_at INTEGER NOT NULL, status INTEGER, attempts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(endpoint, id)) WITHOUT ROWID;
          """)
      // Files of the first version lack the column.
      if try !db.columns(in: "dead").contains(where: { $0.name == "attempts" }) {
        try db.execute(sql: "ALTER TABLE dead ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0")
      }
    }
  }

  /// Write-ahead log, fsync at each commit: what is stored survives the host's end.
  static func tune(_ db: Database) throws {
    try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
  }

  /// Names of the endpoints in force, each with the kinds it takes (empty = all). Set before the first ``store(_:)``.
  let endpoints = Endpoints()

  func store(_ events: [(event: DoneRecord.Event, at: Milliseconds)]) async throws {
    guard !events.isEmpty else { return }
    let endpoints = endpoints.all
    try await database.write { db in
      let insert = try db.cachedStatement(
        sql: "INSERT OR IGNORE INTO event(id, kind, json, fallback, created_at) VALUES (?, ?, ?, ?, ?)")
      let pending = try db.cachedStatement(sql: "INSERT OR IGNORE INTO pending(endpoint, sequence, due_at) VALUES (?, ?, 0)")
      for (event, at) in events {
        let takers = endpoints.filter { $0.takes(event) }
        guard !takers.isEmpty else { continue }
        try insert.execute(arguments: [event.id, event.kind, event.json, event.fallbackJSON, at])
        guard db.changesCount > 0 else { continue }
        let sequence = db.lastInsertedRowID
        for taker in takers { try pending.execute(arguments: [taker.name, sequence]) }
      }
    }
  }

  /// What an endpoint may be sent now, oldest first.
  func due(_ endpoint: String, now: Milliseconds, after: Int64, limit: Int) async throws -> [Pending] {
    try await database.read { db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT e.sequence, e.id, e.kind, e.json, e.fallback, e.created_at, p.tries FROM pending p
          JOIN event e ON e.sequence = p.sequence
          WHERE p.endpoint = ? AND p.sequence > ? AND p.due_at <= ? ORDER BY p.sequence LIMIT ?
          """, arguments: [endpoint, after, now, limit]
      ).map { row in
        Pending(
          sequence: row[0], id: row[1], kind: row[2], json: row[3], fallback: row[4], createdAt: row[5], tries: row[6])
      }
    }
  }

  /// Taken: the endpoint's rows go, and each event with its last row.
  func delivered(_ endpoint: String, _ sequences: [Int64]) async throws {
    guard !sequences.isEmpty else { return }
    try await database.write { db in
      try Self.remove(db, endpoint, sequences)
    }
  }

  private static func remove(_ db: Database, _ endpoint: String, _ sequences: [Int64]) throws {
    let pending = try db.cachedStatement(sql: "DELETE FROM pending WHERE endpoint = ? AND sequence = ?")
    let event = try db.cachedStatement(
      sql: "DELETE FROM event WHERE sequence = ? AND NOT EXISTS (SELECT 1 FROM pending WHERE sequence = event.sequence)")
    for sequence in sequences {
      try pending.execute(arguments: [endpoint, sequence])
      try event.execute(arguments: [sequence])
    }
  }

  /// Refused by itself: tried again then.
  func postpone(_ endpoint: String, _ sequence: Int64, until: Milliseconds) async throws {
    try await database.write { db in
      try db.execute(
        sql: "UPDATE pending SET due_at = ?, tries = tries + 1 WHERE endpoint = ? AND sequence = ?",
        arguments: [until, endpoint, sequence])
    }
  }

  /// Refused too often: to the dead letters of its endpoint.
  /// - Parameter body: as this endpoint got it.
  func bury(_ endpoint: String, _ event: Pending, body: String, status: Int, now: Milliseconds) async throws {
    try await database.write { db in
      try db.execute(
        sql: "INSERT OR REPLACE INTO dead(endpoint, id, kind, json, created_at, died_at, status, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        arguments: [endpoint, event.id, event.kind, body, event.createdAt, now, status, event.tries + 1])
      try Self.remove(db, endpoint, [event.sequence])
    }
  }

  /// Dead letters, newest first.
  func dead(limit: Int, offset: Int) async throws -> [Dead] {
    try await database.read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM dead ORDER BY created_at DESC, id LIMIT ? OFFSET ?", arguments: [limit, offset]).map(
        Self.dead)
    }
  }

  func dead(endpoint: String, id: String) async throws -> Dead? {
    try await database.read { db in
      try Row.fetchOne(db, sql: "SELECT * FROM dead WHERE endpoint = ? AND id = ?", arguments: [endpoint, id]).map(Self.dead)
    }
  }

  func deadEndpoints() async throws -> [String] {
    try await database.read { db in try String.fetchAll(db, sql: "SELECT DISTINCT endpoint FROM dead") }
  }

  /// How many there are, and when the oldest and the newest came about.
  func deadStats() async throws -> (total: Int, oldest: Milliseconds?, newest: Milliseconds?) {
    try await database.read { db in
      let row = try Row.fetchOne(db, sql: "SELECT count(*), min(created_at), max(created_at) FROM dead")
      return (row?[0] ?? 0, row?[1], row?[2])
    }
  }

  /// False when it was not there.
  func discard(endpoint: String, id: String) async throws -> Bool {
    try await database.write { db in
      try db.execute(sql: "DELETE FROM dead WHERE endpoint = ? AND id = ?", arguments: [endpoint, id])
      return db.changesCount > 0
    }
  }

  func failedAgain(endpoint: String, id: String, status: Int?) async throws {
    try await database.write { db in
      try db.execute(
        sql: "UPDATE dead SET attempts = attempts + 1, status = ? WHERE endpoint = ? AND id = ?", arguments: [status, endpoint, id])
    }
  }

  private static func dead(_ row: Row) -> Dead {
    Dead(
      endpoint: row["endpoint"], id: row["id"], kind: row["kind"], json: row["json"], createdAt: row["created_at"],
      diedAt: row["died_at"], status: row["status"], attempts: row["attempts"])
  }

  func counts() async throws -> (pending: Int, dead: Int) {
    try await database.read { db in
      (
        try Int.fetchOne(db, sql: "SELECT count(*) FROM pending") ?? 0, try Int.fetchOne(db, sql: "SELECT count(*) FROM dead") ?? 0
      )
    }
  }
}
