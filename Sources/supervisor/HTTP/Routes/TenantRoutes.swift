import HTTPTypes
import MTAConfig
import MailModel
import Observability

/// What belongs to an organisation: keys, limits, pool rules; and TLS demands by recipient domain (contract section 1.7).
struct TenantRoutes: Sendable {
  let config: ConfigInForce
  let credentials: Credentials
  let limits: OrganisationLimits
  let rules: PoolRules
  let tls: OutboundTLS
  let dispatcher: Dispatcher

  var all: [APIRoute] {
    [
      APIRoute(method: .post, path: "/credentials", access: .master, handler: createCredential),
      APIRoute(method: .get, path: "/credentials", access: .master, handler: listCredentials),
      APIRoute(method: .delete, path: "/credentials/:apiKey", access: .master) { call in
        guard try await credentials.remove(call.parameters["apiKey"] ?? "") else {
          throw APIError(status: 404, text: "Credential not found")
        }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
      APIRoute(method: .patch, path: "/credentials/:apiKey", access: .master, handler: limitCredential),
      APIRoute(method: .post, path: "/org-limits", access: .master, handler: setLimits),
      APIRoute(method: .get, path: "/org-limits/:org", access: .master) {
        HTTPAnswer(.ok, try await usage($0.parameters["org"] ?? "").string)
      },
      APIRoute(method: .get, path: "/org-limits/:org/usage", access: .master) {
        HTTPAnswer(.ok, try await usage($0.parameters["org"] ?? "").string)
      },
      APIRoute(method: .post, path: "/pool-rules", access: .master, handler: setRule),
      APIRoute(method: .get, path: "/pool-rules/:org", access: .master) { call in
        let rule = try await rules.rule(
          call.parameters["org"] ?? "", from: call.query["fromDomain"]?.lowercased(), to: call.query["toDomain"]?.lowercased())
        return HTTPAnswer(.ok, JSONObject([("rule", .raw(rule.map { Self.json($0).string } ?? "null"))]).string)
      },
      APIRoute(method: .get, path: "/pool-rules/:org/all", access: .master) { call in
        HTTPAnswer(.ok, JSONObject([("rules", JSONObject.list(try await rules.rules(call.parameters["org"] ?? "").map(Self.json)))]).string)
      },
      APIRoute(method: .delete, path: "/pool-rules/:org", access: .master) { call in
        let removed = try await rules.remove(
          call.parameters["org"] ?? "", from: call.query["fromDomain"]?.lowercased(), to: call.query["toDomain"]?.lowercased())
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .bool(removed))]).string)
      },
      APIRoute(method: .get, path: "/outbound-tls", access: .master) { _ in
        let overrides = try await tls.all().sorted { $0.key < $1.key }
        return HTTPAnswer(
          .ok,
          JSONObject([
            ("globalMode", .text(OutboundTLS.Mode.opportunistic.rawValue)),
            ("overrides", .raw(JSONObject(overrides.map { ($0.key, .text($0.value.rawValue)) }).string)),
          ]).string)
      },
      APIRoute(method: .post, path: "/outbound-tls", access: .master, handler: setTLS),
      APIRoute(method: .delete, path: "/outbound-tls/:domain", access: .master) { call in
        let domain = (call.parameters["domain"] ?? "").lowercased()
        guard try await tls.remove(domain) else { throw APIError(status: 404, text: "No override for domain") }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("domain", .text(domain))]).string)
      },
    ]
  }

  // MARK: keys

  @Sendable private func createCredential(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard body.has("organizationId"), body.has("name"), let organisation = try body.text("organizationId", limit: 128),
      let name = try body.text("name", limit: 200)
    else { throw APIError.bad("organizationId and name are required") }
    if let objection = Organisation.objection(organisation) { throw APIError.bad("organizationId \(objection)") }
    let (key, row) = try await credentials.create(
      organisation: organisation, name: name, allowedDomains: try body.domains("allowedDomains", max: Credentials.mostDomains))
    return HTTPAnswer(
      .ok, JSONObject([("success", .bool(true)), ("apiKey", .text(key)), ("credential", .raw(Self.json(row).string))]).string)
  }

  /// Null lifts the limit; an empty list lets the key send from no domain.
  @Sendable private func limitCredential(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard body.object["allowedDomains"] != nil else { throw APIError.bad("allowedDomains is required: a list of domain names, or null") }
    let domains = try body.domains("allowedDomains", max: Credentials.mostDomains)
    guard let row = try await credentials.limit(call.parameters["apiKey"] ?? "", to: domains) else {
      throw APIError(status: 404, text: "Credential not found")
    }
    return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("credential", .raw(Self.json(row).string))]).string)
  }

  /// The key itself is never shown again: what upstream calls `apiKey` here is its beginning too.
  @Sendable private func listCredentials(_ call: APIRequest) async throws -> HTTPAnswer {
    let organisation = call.query["organizationId"]
    let rows = try await credentials.list(organisation: organisation).map { id, row in
      JSONObject([
        (organisation == nil ? "apiKeyPrefix" : "apiKey", .text(row.prefix + "...")), ("credential", .raw(Self.json(row).string)),
        ("id", .text(id)),
      ])
    }
    return HTTPAnswer(.ok, JSONObject([("credentials", JSONObject.list(rows))]).string)
  }

  private static func json(_ row: Credentials.Row) -> JSONObject {
    var object = JSONObject([
      ("organizationId", .text(row.organizationId)), ("name", .text(row.name)), ("createdAt", .number(row.createdAt)),
    ])
    object.add("lastUsedAt", row.lastUsedAt)
    if let domains = row.allowedDomains { object.fields.append(("allowedDomains", JSONObject.list(domains))) }
    return object
  }

  // MARK: limits

  @Sendable private func setLimits(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard let organisation = try body.text("organizationId", limit: 128) else {
      throw APIError.bad("Missing required field: organizationId")
    }
    let daily = try body.integer("dailyLimit", 0...1_000_000_000)
    let hourly = try body.integer("hourlyLimit", 0...1_000_000_000)
    guard daily != nil || hourly != nil else { throw APIError.bad("Must provide at least one of: dailyLimit, hourlyLimit") }
    try await limits.set(organisation, daily: daily, hourly: hourly)
    await dispatcher.limitsChanged(organisation)
    var object = JSONObject([("success", .bool(true))])
    object.fields += try await usage(organisation).fields
    return HTTPAnswer(.ok, object.string)
  }

  private func usage(_ organisation: String) async throws -> JSONObject {
    let now = SystemClock.now()
    let used = try await limits.usage(organisation, now: now)
    let own = try await limits.limits(of: organisation)
    return JSONObject([
      ("dailySent", .number(Int64(used.daily))), ("hourlySent", .number(Int64(used.hourly))),
      (
        "limits",
        .raw(JSONObject([("dailyLimit", .number(Int64(own.daily))), ("hourlyLimit", .number(Int64(own.hourly)))]).string)
      ),
    ])
  }

  // MARK: pool rules

  @Sendable private func setRule(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard let organisation = try body.text("organizationId", limit: 128) else { throw APIError.bad("organizationId is required") }
    guard organisation != Organisation.everybody else {
      throw APIError.bad("organizationId must not be *: a rule is of one organization")
    }
    let pool = try body.text("pool")
    let address = try body.text("dedicatedIp")
    guard pool != nil || address != nil else { throw APIError.bad("At least one of pool or dedicatedIp is required") }
    if let pool, !config.pools.contains(where: { $0.name == pool }) {
      // Upstream names its two in this order.
      throw APIError.bad("pool must be " + config.pools.map { "\"\($0.name)\"" }.sorted(by: >).joined(separator: " or "))
    }
    var dedicated: String?
    if let address {
      dedicated = IPAddress.canonical(address)
      guard let dedicated, config.sourceIPs.contains(where: { $0.address == dedicated }) else {
        throw APIError.bad("dedicatedIp must be an IP of this installation")
      }
    }
    try await rules.set(
      PoolRules.Rule(
        organizationId: organisation, pool: pool, dedicatedIp: dedicated, fromDomain: try body.domain("fromDomain"),
        toDomain: try body.domain("toDomain")))
    return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
  }

  private static func json(_ rule: PoolRules.Rule) -> JSONObject {
    var object = JSONObject([("organizationId", .text(rule.organizationId))])
    object.add("pool", rule.pool)
    object.add("dedicatedIp", rule.dedicatedIp)
    object.add("fromDomain", rule.fromDomain)
    object.add("toDomain", rule.toDomain)
    return object
  }

  // MARK: TLS

  @Sendable private func setTLS(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard body.has("domain"), body.has("mode") else { throw APIError.bad("domain and mode are required") }
    guard let domain = try body.domain("domain") else { throw APIError.bad("domain must be a domain name") }
    guard let mode = (body.object["mode"] as? String).flatMap(OutboundTLS.Mode.init) else {
      throw APIError.bad("mode must be one of: " + OutboundTLS.Mode.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard mode != .requireVerified else {
      throw APIError.bad("mode require-verified is not possible yet: certificates are not checked by this version")
    }
    try await tls.set(domain, mode)
    return HTTPAnswer(
      .ok, JSONObject([("success", .bool(true)), ("domain", .text(domain)), ("mode", .text(mode.rawValue))]).string)
  }
}
