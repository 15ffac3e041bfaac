import Foundation
import MailModel
import Observability
import Redis

/// A table that the API configures: rows in Redis as JSON, remembered here for a few seconds, since other hosts may change
/// them. Our own changes are seen at once.
actor ConfiguredTable<Row: Codable & Sendable> {
  static var memory: Milliseconds { 5000 }

  private let hash: RedisHash
  private var known: [String: (row: Row?, at: Milliseconds)] = [:]

  init(_ hash: RedisHash) { self.hash = hash }

  func row(_ key: String) async throws -> Row? { try await rows([key])[key] }

  /// The rows that exist of these keys; one call to Redis for all that are not fresh.
  func rows(_ keys: [String]) async throws -> [String: Row] {
    let now = SystemClock.now()
    if known.count > 50_000 { known = [:] }
    let stale = keys.filter { key in known[key].map { now - $0.at >= Self.memory } ?? true }
    if !stale.isEmpty {
      for (key, text) in zip(stale, try await hash.get(stale)) { known[key] = (text.flatMap(Self.decode), now) }
    }
    return Dictionary(keys.compactMap { key in known[key]?.row.map { (key, $0) } }, uniquingKeysWith: { first, _ in first })
  }

  func all() async throws -> [String: Row] {
    let rows = try await hash.all().compactMap { field, text in Self.decode(text).map { (field, $0) } }
    return Dictionary(rows, uniquingKeysWith: { first, _ in first })
  }

  func set(_ key: String, _ row: Row) async throws {
    try await hash.set(key, String(decoding: try JSONEncoder().encode(row), as: UTF8.self))
    known[key] = (row, SystemClock.now())
  }

  /// Changes a row from what Redis has; nil when it has none. A row that is removed meanwhile stays removed.
  func change(_ key: String, _ step: (inout Row) -> Void) async throws -> Row? {
    try await replace(key) { row in
      guard var row else { return nil }
      step(&row)
      return row
    }
  }

  /// Makes of the row that Redis has (nil: none) another (nil: none); once more when somebody else changed it meanwhile.
  /// - Returns: what is there now.
  /// - Throws: when what is there cannot be read, which stays as it is.
  func replace(_ key: String, _ step: (Row?) -> Row?) async throws -> Row? {
    let row = try await hash.change(key) { text in
      let before = text.flatMap(Self.decode)
      if text != nil, before == nil { throw RedisError.unexpected("a row that cannot be read: \(key.prefix(80))") }
      let row = step(before)
      return (try row.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }, row)
    }
    known[key] = (row, SystemClock.now())
    return row
  }

  func remove(_ key: String) async throws -> Bool {
    let wasThere = try await hash.remove(key)
    known[key] = (nil, SystemClock.now())
    return wasThere
  }

  private static func decode(_ text: String) -> Row? { try? JSONDecoder().decode(Row.self, from: Data(text.utf8)) }
}
