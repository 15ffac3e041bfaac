import MailModel
import Redis

/// Which mail for other addresses than our own is taken in, and what becomes of it (contract section 1.7). Rows are configured by
/// the API; an exact address stands over its domain's `*`.
struct InboundRoutes: Sendable {
  enum Mode: String, Codable, Sendable, CaseIterable {
    /// Posted, signed, to the route's URL.
    case endpoint
    /// Told as `inbound.received` to the configured webhooks.
    case accept
    /// Kept until somebody releases or drops it.
    case hold
    /// Refused as an address that does not exist; never by a mail of our own, which would go to whoever was named as its sender.
    case bounce
    case reject

    var takesMail: Bool {
      switch self {
      case .endpoint, .accept, .hold: true
      case .bounce, .reject: false
      }
    }
  }

  struct Route: Codable, Sendable, Equatable {
    var domain: String
    /// Local part in lower case, or `*`.
    var address: String
    var mode: Mode
    var endpointUrl: String?
    var organizationId: String?
    var id: String
    var createdAt: Milliseconds
    /// Signs what goes to ``endpointUrl``; nil = the first webhook's secret.
    var secret: String?
  }

  private let table: ConfiguredTable<Route>

  init(store: QueueStore) { table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.inboundRoutes)) }

  static func id(_ domain: String, _ address: String) -> String { "\(domain):\(address)" }

  func set(_ route: Route) async throws { try await table.set(route.id, route) }
  func all() async throws -> [Route] { try await table.all().values.sorted { $0.id < $1.id } }
  func remove(domain: String, address: String) async throws -> Bool { try await table.remove(Self.id(domain, address)) }
  func route(id: String) async throws -> Route? { try await table.row(id) }

  /// The route of a recipient; a detail behind a plus is no part of its name.
  func route(to recipient: EmailAddress) async throws -> Route? {
    let local = recipient.localPart.lowercased()
    let names = [local, String(local.prefix { $0 != "+" }), "*"].map { Self.id(recipient.domain, $0) }
    let rows = try await table.rows(names)
    return names.lazy.compactMap { rows[$0] }.first
  }
}
