import MailFormat
import MailModel
import Observability
import Redis

/// Who a request comes from.
enum Principal: Sendable, Equatable {
  case anonymous
  case master
  /// By a key of its own; `allowedDomains` are those that its mail's From may name, nil = any.
  case organisation(String, allowedDomains: [String]?)

  /// The organisation whose mail alone it may touch; nil = all.
  var scope: String? {
    if case .organisation(let name, _) = self { return name }
    return nil
  }
}

/// API keys of organisations: `owlat_` and 32 hex digits, kept only as their SHA-256 (contract section 1.1; upstream keeps
/// them in clear).
struct Credentials: Sendable {
  struct Row: Codable, Sendable {
    var organizationId: String
    var name: String
    var createdAt: Milliseconds
    /// Kept apart; filled in for a list.
    var lastUsedAt: Milliseconds?
    /// What a list shows of the key.
    var prefix: String
    /// Domains (A-labels) that From may name; none in an empty list, any when nil.
    var allowedDomains: [String]?
  }

  static let mostDomains = 1_000

  /// `lastUsedAt` is written at most this often.
  private static let usedResolution: Milliseconds = 60_000

  private let table: ConfiguredTable<Row>
  private let uses: ConfiguredTable<Milliseconds>

  init(store: QueueStore) {
    table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.credentials))
    uses = ConfiguredTable(RedisHash(client: store.client, key: store.keys.credentialUses))
  }

  /// - Returns: the key itself, told this once.
  func create(organisation: String, name: String, allowedDomains: [String]?) async throws -> (key: String, row: Row) {
    let key = "owlat_" + Digest.hex(Digest.randomBytes(16))
    let row = Row(
      organizationId: organisation, name: name, createdAt: SystemClock.now(), lastUsedAt: nil, prefix: String(key.prefix(10)),
      allowedDomains: allowedDomains)
    try await table.set(Self.id(key), row)
    return (key, row)
  }

  /// Whose key this is; nil when nobody's.
  func principal(_ key: String) async throws -> Principal? {
    guard Self.isWellFormed(key) else { return nil }
    return try await principal(id: Self.id(key))
  }

  func principal(id: String) async throws -> Principal? {
    guard let row = try await table.row(id) else { return nil }
    let now = SystemClock.now()
    if now - ((try? await uses.row(id)) ?? 0) >= Self.usedResolution { try? await uses.set(id, now) }
    return .organisation(row.organizationId, allowedDomains: row.allowedDomains)
  }

  /// - Parameters:
  ///   - key: the key, or the id that a list shows.
  ///   - allowedDomains: nil = any.
  /// - Returns: the row as it is now; nil when there is no such key.
  func limit(_ key: String, to allowedDomains: [String]?) async throws -> Row? {
    try await table.change(Self.isWellFormed(key) ? Self.id(key) : key) { $0.allowedDomains = allowedDomains }
  }

  func list(organisation: String?) async throws -> [(id: String, row: Row)] {
    let used = try await uses.all()
    return try await table.all().filter { organisation == nil || $0.value.organizationId == organisation }
      .map { id, row in
        var shown = row
        shown.lastUsedAt = used[id]
        return (id, shown)
      }
      .sorted { ($0.row.createdAt, $0.id) < ($1.row.createdAt, $1.id) }
  }

  /// - Parameter key: the key, or the id that a list shows.
  func remove(_ key: String) async throws -> Bool {
    let id = Self.isWellFormed(key) ? Self.id(key) : key
    _ = try await uses.remove(id)
    return try await table.remove(id)
  }

  static func id(_ key: String) -> String { Digest.hex(Digest.sha256(Array(key.utf8))) }

  static func isWellFormed(_ key: String) -> Bool {
    key.hasPrefix("owlat_") && key.utf8.count == 38
      && key.utf8.dropFirst(6).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }
}
