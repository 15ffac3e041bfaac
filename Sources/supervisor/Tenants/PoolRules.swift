import MailModel
import Redis

/// Which IPs an organisation's mail uses when it is not the pool it asked for: by organisation, author's domain and
/// recipient's domain, the narrowest rule first (contract section 10, phase 7). A dedicated IP is never substituted.
struct PoolRules: Sendable {
  struct Rule: Codable, Sendable, Equatable {
    var organizationId: String
    var pool: String?
    var dedicatedIp: String?
    var fromDomain: String?
    var toDomain: String?

    /// A rule for both domains stands over one for the author's, that over one for the recipient's.
    var rank: Int { (fromDomain == nil ? 0 : 2) + (toDomain == nil ? 0 : 1) }

    func matches(from: String?, to: String?) -> Bool {
      (fromDomain == nil || fromDomain == from) && (toDomain == nil || toDomain == to)
    }
  }

  private let table: ConfiguredTable<[Rule]>

  init(store: QueueStore) { table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.poolRules)) }

  /// Replaces the rule of the same domains.
  func set(_ rule: Rule) async throws {
    _ = try await table.replace(rule.organizationId) { rules in
      (rules ?? []).filter { $0.fromDomain != rule.fromDomain || $0.toDomain != rule.toDomain } + [rule]
    }
  }

  func rules(_ organisation: String) async throws -> [Rule] { try await table.row(organisation) ?? [] }

  func remove(_ organisation: String, from: String?, to: String?) async throws -> Bool {
    var wasThere = false
    _ = try await table.replace(organisation) { rules in
      let kept = (rules ?? []).filter { $0.fromDomain != from || $0.toDomain != to }
      wasThere = kept.count < (rules ?? []).count
      return kept.isEmpty ? nil : kept
    }
    return wasThere
  }

  /// Every organisation's.
  func all() async throws -> [Rule] { try await table.all().values.flatMap { $0 } }

  func rule(_ organisation: String, from: String?, to: String?) async throws -> Rule? {
    try await rules(organisation).filter { $0.matches(from: from, to: to) }.max { $0.rank < $1.rank }
  }
}
