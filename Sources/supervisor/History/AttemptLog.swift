import DeliveryPolicy
import Foundation
import GRDB
import MailModel

/// Every attempt that told somebody something, and every end without one: what `/delivery-logs` and `message trace` read.
extension HistoryStore {
  static let statuses = ["delivered", "bounced", "deferred", "suppressed", "screened", "failed"]

  struct Attempt: Sendable {
    var id: Int64
    var serial: Int
    var at: Milliseconds
    var status: String
    var bounceType: String?
    var record: MessageRecord
    var result: AttemptResult
  }

  /// Absent members match all.
  struct AttemptFilter: Sendable {
    var from: Milliseconds
    /// Exclusive.
    var until: Milliseconds
    var organisation: String?
    var status: String?
    var domain: String?
  }

  static func storeAttempts(_ db: Database, _ rows: [DoneRecord]) throws {
    let insert = try db.cachedStatement(
      sql: """
        INSERT OR IGNORE INTO attempt(number, serial, at, message_id, organisation, domain, status, bounce_type, record, outcome)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """)
    for row in rows {
      guard let record = try? MessageRecord(decoding: row.record), let status = status(row) else { continue }
      try insert.execute(arguments: [
        Int64(bitPattern: row.number.value), row.serial, row.at, record.messageID, record.organisation,
        record.recipient.split(separator: "@").last.map(String.init) ?? "", status, bounceType(row), Data(row.record),
        Data(row.outcome),
      ])
    }
  }

  /// Upstream's words, and `expired` and `uncertain` beside them. Nil = nothing that a log tells.
  private static func status(_ row: DoneRecord) -> String? {
    guard let final = row.final else { return row.events.contains { $0.kind == "deferred" } ? "deferred" : nil }
    switch final.state {
    case .failed where final.reason?.hasPrefix("RECIPIENT_SUPPRESSED") == true: return "suppressed"
    case .failed where final.reason?.hasPrefix("CONTENT_SCREENED") == true: return "screened"
    default: return final.state.rawValue
    }
  }

  private static func bounceType(_ row: DoneRecord) -> String? {
    guard let event = row.events.first(where: { $0.kind == "bounced" }) else { return nil }
    return event.json.contains("\"bounceType\":\"hard\"") ? "hard" : "soft"
  }

  /// Oldest first, after an id; filtered before it is cut, so that only the last page is short.
  func attempts(_ filter: AttemptFilter, after: Int64, limit: Int) async throws -> [Attempt] {
    // Ids rise with time but for what a restart tells late: from a little before the first of the range on.
    var sql = """
      SELECT * FROM attempt WHERE id > max(?, coalesce((SELECT id FROM attempt WHERE at >= ? ORDER BY at LIMIT 1), 0) - 10000)
      AND at >= ? AND at < ?
      """
    var arguments: StatementArguments = [after, filter.from, filter.from, filter.until]
    for (column, value) in [("organisation", filter.organisation), ("status", filter.status), ("domain", filter.domain)] {
      guard let value else { continue }
      sql += " AND \(column) = ?"
      arguments += [value]
    }
    let (text, all) = (sql + " ORDER BY id LIMIT ?", arguments + [limit])
    return try await database.read { db in try Row.fetchAll(db, sql: text, arguments: all).compactMap(Self.attempt) }
  }

  func attempts(messageID: String, organisation: String?, since: Milliseconds) async throws -> [Attempt] {
    try await database.read { db in
      let filter = organisation == nil ? "" : " AND organisation = ?"
      var arguments: StatementArguments = [messageID, since]
      if let organisation { arguments += [organisation] }
      return try Row.fetchAll(
        db, sql: "SELECT * FROM attempt WHERE message_id = ? AND at >= ?\(filter) ORDER BY id LIMIT 1000", arguments: arguments
      ).compactMap(Self.attempt)
    }
  }

  /// Counts by status.
  func attemptCounts(_ filter: AttemptFilter) async throws -> [String: Int] {
    try await database.read { db in
      let organisation = filter.organisation == nil ? "" : " AND organisation = ?"
      var arguments: StatementArguments = [filter.from, filter.until]
      if let name = filter.organisation { arguments += [name] }
      let rows = try Row.fetchAll(
        db, sql: "SELECT status, count(*) FROM attempt WHERE at >= ? AND at < ?\(organisation) GROUP BY status", arguments: arguments)
      return Dictionary(rows.map { ($0[0] as String, $0[1] as Int) }, uniquingKeysWith: { first, _ in first })
    }
  }

  private static func attempt(_ row: Row) -> Attempt? {
    let recordBytes: Data = row["record"]
    let outcomeBytes: Data = row["outcome"]
    guard let record = try? MessageRecord(decoding: [UInt8](recordBytes)[...]),
      let result = try? AttemptResult(decoding: [UInt8](outcomeBytes)[...])
    else { return nil }
    return Attempt(
      id: row["id"], serial: row["serial"], at: row["at"], status: row["status"], bounceType: row["bounce_type"], record: record,
      result: result)
  }
}
