import Foundation
import GRDB
import MailModel

/// What came back of messages after their end, read from the events that tell of it: complaints, late bounces, unsubscriptions. Kept
/// as long as the messages (`history.retention_days`, from the event on).
extension HistoryStore {
  struct Returned: Codable, Sendable, Equatable {
    /// `complained`, `bounced`, `unsubscribed`.
    var kind: String
    var at: String
    var message: String?
    var bounceType: String?
    var sourceIsp: String?
    var list: String?
  }

  static let returnedSchema = """
    CREATE TABLE IF NOT EXISTS returned(id TEXT PRIMARY KEY, at INTEGER NOT NULL, message_id TEXT NOT NULL, organisation TEXT NOT NULL,
      entry TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS returned_by_message ON returned(message_id, organisation);
    CREATE INDEX IF NOT EXISTS returned_by_time ON returned(at);
    """

  private static func tellsOfReturn(_ event: DoneRecord.Event) -> Bool {
    [DeliveryEvent.Kind.complained, .unsubscribed].contains { $0.rawValue == event.kind } || ReturnedEvent.isOne(event)
  }

  static func storeReturned(_ db: Database, _ rows: [DoneRecord]) throws {
    for row in rows {
      for event in row.events where tellsOfReturn(event) {
        guard let fields = try? JSONSerialization.jsonObject(with: Data(event.json.utf8)) as? [String: Any],
          let id = fields["messageId"] as? String, let organisation = fields["organizationId"] as? String
        else { continue }
        let entry = Returned(
          kind: event.kind, at: Timestamp.rfc3339(row.at), message: fields["message"] as? String,
          bounceType: fields["bounceType"] as? String, sourceIsp: fields["sourceIsp"] as? String, list: fields["list"] as? String)
        try db.cachedStatement(sql: "INSERT OR IGNORE INTO returned(id, at, message_id, organisation, entry) VALUES (?, ?, ?, ?, ?)")
          .execute(arguments: [event.id, row.at, id, organisation, String(decoding: try JSONEncoder().encode(entry), as: UTF8.self)])
      }
    }
  }

  /// Oldest first, at most 100.
  static func returned(_ db: Database, messageID: String, organisation: String) throws -> [Returned] {
    try String.fetchAll(
      db, sql: "SELECT entry FROM returned WHERE message_id = ? AND organisation = ? ORDER BY at LIMIT 100",
      arguments: [messageID, organisation]
    ).compactMap { try? JSONDecoder().decode(Returned.self, from: Data($0.utf8)) }
  }
}
