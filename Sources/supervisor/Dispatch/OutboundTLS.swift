import MailModel
import Redis

/// TLS demands of the operator by recipient domain, over what the provider's profile asks: the stricter stands.
struct OutboundTLS: Sendable {
  enum Mode: String, Codable, Sendable, CaseIterable {
    case opportunistic, require
    case requireVerified = "require-verified"

    var demand: Route.TLSDemand { self == .opportunistic ? .opportunistic : .require }
  }

  private let table: ConfiguredTable<Mode>

  init(store: QueueStore) { table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.outboundTLS)) }

  func all() async throws -> [String: Mode] { try await table.all() }
  func set(_ domain: String, _ mode: Mode) async throws { try await table.set(domain, mode) }
  func remove(_ domain: String) async throws -> Bool { try await table.remove(domain) }

  /// What the domain's own mode demands. When Redis cannot be asked and nothing is remembered, nothing goes: the caller waits.
  func demand(for domain: String) async throws -> Route.TLSDemand { try await table.row(domain)?.demand ?? .opportunistic }
}
