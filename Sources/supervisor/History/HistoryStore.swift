import Foundation
import GRDB
import MailModel

/// What became of each message (`history.db`): written in batches, off the delivery path; read by `message show`.
final class HistoryStore: Sendable {
  struct Entry: Codable, Sendable {
    var number: String
    var messageId: String
    var workAttemptId: String?
    var organizationId: String
    var recipient: String
    var pool: String
    var ip: String?
    var state: String
    var reason: String?
    var acceptedAt: String
    var endedAt: String
    var attempts: Int
    var mx: String?
    var smtpCode: Int?
    var enhancedCode: String?
    var reply: [String]?
    var tls: String?
    var messageIdHeader: String?
    var campaignId: String?
    var tags: [String]
    /// What came back of it, oldest first; nil = nothing.
    var feedback: [Returned]?
  }

  let database: DatabaseQueue

  init(path: String) throws {
    var configuration = Configuration()
    configuration.prepareDatabase { try EventOutbox.tune($0) }
    database = try DatabaseQueue(path: path, configuration: configuration)
    try database.write { db in
      try db.execute(
        sql: """
          CREATE TABLE IF NOT EXISTS message(number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, organisation TEXT NOT NULL,
            message_id_field TEXT, ended_at INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, attempts INTEGER NOT NULL,
            record BLOB NOT NULL, outcome BLOB NOT NULL);
          CREATE INDEX IF NOT EXISTS message_by_id ON message(message_id, organisation);
          CREATE INDEX IF NOT EXISTS message_by_field ON message(message_id_field) WHERE message_id_field IS NOT NULL;
          CREATE INDEX IF NOT EXISTS message_by_end ON message(ended_at);
          CREATE TABLE IF NOT EXISTS attempt(id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, serial INTEGER NOT NULL,
            at INTEGER NOT NULL, message_id TEXT NOT NULL, organisation TEXT NOT NULL, domain TEXT NOT NULL, status TEXT NOT NULL,
            bounce_type TEXT, record BLOB NOT NULL, outcome BLOB NOT NULL, UNIQUE(number, serial, status));
          CREATE INDEX IF NOT EXISTS attempt_by_time ON attempt(at);
          CREATE INDEX IF NOT EXISTS attempt_by_message ON attempt(message_id);
          """ + Self.returnedSchema)
    }
  }

  func store(_ rows: [DoneRecord]) async throws {
    guard !rows.isEmpty else { return }
    let finals = rows.filter { $0.final != nil }
    try await database.write { db in
      try Self.storeAttempts(db, rows)
      try Self.storeReturned(db, rows)
      let insert = try db.cachedStatement(
        sql: """
          INSERT OR REPLACE INTO message(number, message_id, organisation, message_id_field, ended_at, state, reason, attempts,
            record, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """)
      for row in finals {
        guard let final = row.final, let record = try? MessageRecord(decoding: row.record) else { continue }
        try insert.execute(arguments: [
          Int64(bitPattern: row.number.value), record.messageID, record.organisation, record.messageIDField, row.at,
          final.state.rawValue, final.reason, row.serial, Data(row.record), Data(row.outcome),
        ])
      }
    }
  }

  /// Entries of a message id (or a Message-ID field), newest first, of one organisation or of all.
  func find(_ id: String, organisation: String?) async throws -> [Entry] {
    try await database.read { db in
      let filter = organisation == nil ? "" : " AND organisation = ?"
      var arguments: StatementArguments = [id, id]
      if let organisation { arguments += [organisation] }
      return try Row.fetchAll(
        db,
        sql: "SELECT * FROM message WHERE (message_id = ? OR message_id_field = ?)\(filter) ORDER BY ended_at DESC LIMIT 20",
        arguments: arguments
      ).compactMap(Self.entry).map { entry in
        var entry = entry
        let returned = try Self.returned(db, messageID: entry.messageId, organisation: entry.organizationId)
        entry.feedback = returned.isEmpty ? nil : returned
        return entry
      }
    }
  }

  /// Messages that ended, as long as they are kept.
  func counts() async throws -> (delivered: Int, other: Int) {
    try await database.read { db in
      let delivered = try Int.fetchOne(db, sql: "SELECT count(*) FROM message WHERE state = 'delivered'") ?? 0
      return (delivered, (try Int.fetchOne(db, sql: "SELECT count(*) FROM message") ?? 0) - delivered)
    }
  }

  func prune(before limit: Milliseconds) async throws {
    try await database.write { db in
      try db.execute(sql: "DELETE FROM message WHERE ended_at < ?", arguments: [limit])
      try db.execute(sql: "DELETE FROM attempt WHERE at < ?", arguments: [limit])
      try db.execute(sql: "DELETE FROM returned WHERE at < ?", arguments: [limit])
    }
  }

  private static func entry(_ row: Row) -> Entry? {
    let recordBytes: Data = row["record"]
    let outcomeBytes: Data = row["outcome"]
    guard let record = try? MessageRecord(decoding: [UInt8](recordBytes)[...]),
      let result = try? AttemptResult(decoding: [UInt8](outcomeBytes)[...])
    else { return nil }
    let number: Int64 = row["number"]
    let endedAt: Int64 = row["ended_at"]
    return Entry(
      number: MessageNumber(UInt64(bitPattern: number)).description, messageId: record.messageID,
      workAttemptId: record.workAttemptID, organizationId: record.organisation, recipient: record.recipient,
      pool: record.pool, ip: result.sourceIP.isEmpty ? nil : result.sourceIP, state: row["state"], reason: row["reason"],
      acceptedAt: Timestamp.rfc3339(record.acceptedAt), endedAt: Timestamp.rfc3339(endedAt), attempts: row["attempts"],
      mx: result.host, smtpCode: result.reply?.code, enhancedCode: result.reply?.enhanced?.description,
      reply: result.reply?.lines, tls: result.tls, messageIdHeader: record.messageIDField, campaignId: record.campaignID,
      tags: record.tags)
  }
}
