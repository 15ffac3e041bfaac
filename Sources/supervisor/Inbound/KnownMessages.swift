import Foundation
import GRDB
import MailFormat
import MailModel
import Observability
import Redis

/// Finds the message that a token names.
struct KnownMessages: Sendable {
  /// A server may return a message before our own history has it.
  static let patience: Milliseconds = 3_000

  enum Fault: Error {
    /// It is not over yet, or another host has its history: a later try finds it.
    case notHereYet
  }

  let history: HistoryStore
  let store: QueueStore

  /// Nil when nothing is known of it any more.
  /// - Throws: ``Fault/notHereYet``, and when Redis or the disk does not answer.
  func find(_ token: VERPSigner.Verdict) async throws -> KnownMessage? {
    switch token {
    case .message(let number):
      let deadline = SystemClock.monotonic() + Self.patience
      while true {
        if let known = try await history.known(number) { return known }
        guard SystemClock.monotonic() < deadline else { break }
        try await Task.sleep(for: .milliseconds(100))
      }
      guard try await store.peek([number]).isEmpty, try await store.hostCount() <= 1 else { throw Fault.notHereYet }
      return nil
    case .messageID(let id): return try await history.known(messageID: id)
    case .forged, .notVERP: return nil
    }
  }
}

extension HistoryStore {
  func known(_ number: MessageNumber) async throws -> KnownMessage? {
    try await known("number = ?", [Int64(bitPattern: number.value)])
  }

  /// The newest of that id; upstream's tokens name no organisation.
  func known(messageID: String) async throws -> KnownMessage? {
    try await known("message_id = ? ORDER BY ended_at DESC", [messageID])
  }

  private func known(_ condition: String, _ arguments: StatementArguments) async throws -> KnownMessage? {
    try await database.read { db in
      guard let row = try Row.fetchOne(db, sql: "SELECT * FROM message WHERE \(condition) LIMIT 1", arguments: arguments) else { return nil }
      let record: Data = row["record"]
      let outcome: Data = row["outcome"]
      let number: Int64 = row["number"]
      guard let record = try? MessageRecord(decoding: [UInt8](record)[...]), let result = try? AttemptResult(decoding: [UInt8](outcome)[...]),
        let state = DoneRecord.FinalState(rawValue: row["state"])
      else { return nil }
      return KnownMessage(
        number: MessageNumber(UInt64(bitPattern: number)), record: record, result: result, serial: row["attempts"], state: state)
    }
  }
}
