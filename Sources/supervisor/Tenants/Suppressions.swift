import MailModel
import Observability
import Redis

/// Addresses that get no mail: for everybody (scope `*`) or for one organisation. Read by accept and dispatch in Redis; this
/// is the side that people and clients write.
struct Suppressions: Sendable {
  static let reasons = ["hard_bounce", "complaint", "manual"]
  /// Upstream's: what is suppressed by hand over `POST /suppression` is forgotten after a week, bulk imports never.
  static let manualLife: Milliseconds = 7 * 86_400_000
  static let everybody = "*"

  struct Entry: Sendable, Equatable {
    var email: String
    var reason: String
    var source: String?
    var suppressedAt: Milliseconds
    var expiresAt: Milliseconds?
  }

  private let store: QueueStore

  init(store: QueueStore) { self.store = store }

  private func hash(_ scope: String) -> RedisHash { RedisHash(client: store.client, key: store.keys.suppression(scope)) }

  func add(_ entries: [Entry], scope: String) async throws {
    guard !entries.isEmpty else { return }
    try await hash(scope).set(
      entries.map { entry in
        (
          entry.email,
          SuppressionRow(
            scope: scope, address: entry.email, until: entry.expiresAt ?? 0, reason: entry.reason, since: entry.suppressedAt,
            source: entry.source ?? ""
          ).value
        )
      })
  }

  /// The row that holds now: everybody's, else the organisation's. One that is past its time is not there.
  func find(_ email: String, organisation: String?, now: Milliseconds) async throws -> Entry? {
    for scope in [Self.everybody] + (organisation.map { [$0] } ?? []) {
      guard let text = try await hash(scope).get(email), let entry = Self.entry(email, text) else { continue }
      if Self.holds(entry, now) { return entry }
    }
    return nil
  }

  /// The rows of one scope that hold now, in the order of the addresses.
  func rows(_ emails: [String], scope: String, now: Milliseconds) async throws -> [Entry?] {
    zip(emails, try await hash(scope).get(emails)).map { email, text in
      text.flatMap { Self.entry(email, $0) }.flatMap { Self.holds($0, now) ? $0 : nil }
    }
  }

  func remove(_ email: String, scope: String) async throws -> Bool { try await hash(scope).remove(email) }

  /// A page of entries from a cursor; rows past their time are left out and forgotten.
  func page(scope: String, cursor: String, limit: Int, reason: String?, now: Milliseconds) async throws -> (
    entries: [Entry], next: String?
  ) {
    let hash = hash(scope)
    let (rows, next) = try await hash.scan(from: cursor, count: limit)
    var entries: [Entry] = []
    for (email, text) in rows {
      guard let entry = Self.entry(email, text) else { continue }
      guard Self.holds(entry, now) else {
        _ = try await hash.remove(email)
        continue
      }
      if reason == nil || reason == entry.reason { entries.append(entry) }
    }
    return (entries.sorted { $0.email < $1.email }, next)
  }

  /// Counts by reason: exact up to 10,000 rows, beyond that from a sample of as many.
  func stats(scope: String, now: Milliseconds) async throws -> (total: Int, byReason: [String: Int]) {
    let hash = hash(scope)
    let total = try await hash.count()
    let rows = total <= 10_000 ? try await hash.all() : try await hash.sample(10_000)
    let entries = rows.compactMap { Self.entry($0.field, $0.row) }.filter { Self.holds($0, now) }
    var counts: [String: Int] = [:]
    for entry in entries { counts[Self.reasons.contains(entry.reason) ? entry.reason : "unknown", default: 0] += 1 }
    guard total > rows.count, !rows.isEmpty else { return (entries.count, counts) }
    let factor = Double(total) / Double(rows.count)
    return (Int(Double(entries.count) * factor), counts.mapValues { Int((Double($0) * factor).rounded()) })
  }

  private static func holds(_ entry: Entry, _ now: Milliseconds) -> Bool { entry.expiresAt.map { $0 > now } ?? true }

  private static func entry(_ email: String, _ row: String) -> Entry? {
    let words = row.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count >= 3, let until = Int64(words[0]), let since = Int64(words[2]) else { return nil }
    return Entry(
      email: email, reason: String(words[1]), source: words.count > 3 && !words[3].isEmpty ? String(words[3]) : nil,
      suppressedAt: since, expiresAt: until == 0 ? nil : until)
  }
}
