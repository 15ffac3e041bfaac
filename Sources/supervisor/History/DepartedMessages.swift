import Foundation
import GRDB
import MailModel

/// What is known of a message after its end, for what comes back of it.
extension HistoryStore {
  struct Departed: Sendable {
    var number: MessageNumber
    var state: DoneRecord.FinalState
    /// Serial of its last attempt.
    var serial: Int
    var record: MessageRecord
    var result: AttemptResult
    var endedAt: Milliseconds

    var isMemberTest: Bool { record.deliveryDomain == "member_test" }
  }

  /// Nil when it has not ended, or is forgotten (`history.retention_days`).
  func departed(_ number: MessageNumber) async throws -> Departed? {
    try await database.read { db in
      guard
        let row = try Row.fetchOne(
          db, sql: "SELECT state, attempts, record, outcome, ended_at FROM message WHERE number = ?",
          arguments: [Int64(bitPattern: number.value)]),
        let state = DoneRecord.FinalState(rawValue: row["state"])
      else { return nil }
      let record: Data = row["record"]
      let outcome: Data = row["outcome"]
      guard let record = try? MessageRecord(decoding: [UInt8](record)), let result = try? AttemptResult(decoding: [UInt8](outcome)[...])
      else { return nil }
      return Departed(number: number, state: state, serial: row["attempts"], record: record, result: result, endedAt: row["ended_at"])
    }
  }
}
