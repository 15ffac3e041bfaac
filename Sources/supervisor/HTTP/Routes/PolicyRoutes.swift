import DeliveryPolicy
import Foundation
import HTTPTypes
import MailModel
import Observability
import Redis

/// What decides how fast and whether mail goes: provider profiles (contract section 1.7), circuit breakers.
struct PolicyRoutes: Sendable {
  let profiles: ProviderProfiles
  let book: PolicyBook
  let store: QueueStore
  let dispatcher: Dispatcher
  let urls: URLBlocklist

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/isp-profiles", access: .master) { _ in
        let table = await profiles.profiles
        let rows = MailboxProvider.allCases.map { ($0.rawValue, JSONObject.Value.raw(Self.json(table[$0]).string)) }
        return HTTPAnswer(.ok, JSONObject([("profiles", .raw(JSONObject(rows).string))]).string)
      },
      APIRoute(method: .get, path: "/isp-profiles/:provider", access: .master) { call in
        let provider = try Self.provider(call)
        return HTTPAnswer(.ok, Self.row(provider, await profiles.profiles[provider]).string)
      },
      APIRoute(method: .put, path: "/isp-profiles/:provider", access: .master, handler: setProfile),
      APIRoute(method: .delete, path: "/isp-profiles/:provider", access: .master) { call in
        HTTPAnswer(.ok, JSONObject([("deleted", .bool(try await profiles.reset(Self.provider(call))))]).string)
      },
      APIRoute(method: .get, path: "/breakers", access: .master) { _ in HTTPAnswer(.ok, await breakers()) },
      APIRoute(method: .post, path: "/breakers/:organizationId/reset", access: .master) { call in
        let organisation = call.parameters["organizationId"] ?? ""
        guard try await reset(organisation) else { throw APIError(status: 404, text: "No breaker for this organization") }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("organizationId", .text(organisation))]).string)
      },
      APIRoute(method: .get, path: "/v1/url-blocklist", access: .master) { _ in HTTPAnswer(.ok, try await patterns()) },
      APIRoute(method: .post, path: "/v1/url-blocklist", access: .master) { call in
        guard try await urls.add(try Self.patterns(await call.json())) else {
          throw APIError.bad("patterns must be at most \(URLBlocklist.most) in all")
        }
        return HTTPAnswer(.ok, try await patterns())
      },
      APIRoute(method: .delete, path: "/v1/url-blocklist", access: .master) { call in
        let given: [String]
        if let one = call.query["pattern"] { given = [one.lowercased()] } else { given = try Self.patterns(await call.json()) }
        var removed = 0
        for pattern in given where try await urls.remove(pattern) { removed += 1 }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .number(Int64(removed)))]).string)
      },
    ]
  }

  // MARK: blocked URLs

  private func patterns() async throws -> String {
    JSONObject([("patterns", .raw("[" + (try await urls.patterns()).map(JSONText.quoted).joined(separator: ",") + "]"))]).string
  }

  /// `patterns`, or one `pattern`: 4 to 500 characters each, lower case from here on.
  private static func patterns(_ body: JSONBody) throws(APIError) -> [String] {
    let given = body.object["patterns"] as? [String] ?? (body.object["pattern"] as? String).map { [$0] } ?? []
    guard !given.isEmpty, given.count <= 1000, given.allSatisfy({ (4...500).contains($0.utf8.count) && !SendValidator.hasControl($0) })
    else { throw .bad("patterns must be 1 to 1000 texts of 4 to 500 characters") }
    return given.map { $0.lowercased() }
  }

  // MARK: profiles

  private static func provider(_ call: APIRequest) throws(APIError) -> MailboxProvider {
    let name = call.parameters["provider"] ?? ""
    guard let provider = MailboxProvider(rawValue: name) else { throw .bad("Unknown destination provider: \(name)") }
    return provider
  }

  private static func row(_ provider: MailboxProvider, _ profile: ProviderProfile) -> JSONObject {
    JSONObject([("provider", .text(provider.rawValue)), ("profile", .raw(json(profile).string))])
  }

  static func json(_ profile: ProviderProfile) -> JSONObject {
    var object = JSONObject([
      ("defaultRate", .raw(number(profile.defaultRate))), ("ceiling", .raw(number(profile.ceiling))),
      ("floor", .raw(number(profile.floor))), ("backoffFactor", .raw(number(profile.backoffFactor))),
      ("recoveryFactor", .raw(number(profile.recoveryFactor))),
      ("tlsMode", .text(profile.tlsMode == .require ? "require" : "opportunistic")),
      ("maxConnections", .number(Int64(profile.maxConnections))),
      ("maxDeliveriesPerConnection", .number(Int64(profile.maxDeliveriesPerConnection))),
    ])
    // Not upstream's: named where it is in force.
    if profile.maxConnectionsTotal > 0 { object.fields.append(("maxConnectionsTotal", .number(Int64(profile.maxConnectionsTotal)))) }
    return object
  }

  /// Whole numbers without a fraction, as upstream's JSON has them.
  private static func number(_ value: Double) -> String { Int64(exactly: value).map(String.init) ?? String(value) }

  private static let fields: Set<String> = [
    "defaultRate", "ceiling", "floor", "backoffFactor", "recoveryFactor", "tlsMode", "maxConnections", "maxConnectionsTotal",
    "maxDeliveriesPerConnection",
  ]

  @Sendable private func setProfile(_ call: APIRequest) async throws -> HTTPAnswer {
    let provider = try Self.provider(call)
    let body = try await call.json()
    if let unknown = body.object.keys.sorted().first(where: { !Self.fields.contains($0) }) {
      throw APIError.bad("Unknown profile field: \(unknown)")
    }
    var change = ProviderProfiles.Override()
    change.defaultRate = try Self.rate(body, "defaultRate")
    change.ceiling = try Self.rate(body, "ceiling")
    change.floor = try Self.rate(body, "floor")
    change.backoffFactor = try Self.number(body, "backoffFactor", above: 0, below: 1)
    change.recoveryFactor = try Self.number(body, "recoveryFactor", above: 1, to: 100)
    change.maxConnections = try body.integer("maxConnections", 1...100)
    change.maxConnectionsTotal = try body.integer("maxConnectionsTotal", 0...10_000)
    change.maxDeliveriesPerConnection = try body.integer("maxDeliveriesPerConnection", 1...10_000)
    change.tlsMode = try Self.tlsMode(body, provider)
    let next = await profiles.preview(provider, change)
    guard next.floor <= next.defaultRate, next.defaultRate <= next.ceiling else {
      throw APIError.bad("floor, defaultRate and ceiling must satisfy floor <= defaultRate <= ceiling")
    }
    return HTTPAnswer(.ok, Self.row(provider, try await profiles.set(provider, change)).string)
  }

  private static func rate(_ body: JSONBody, _ name: String) throws(APIError) -> Double? {
    guard body.has(name) else { return nil }
    guard let value = body.double(name), value > 0, value <= 1_000_000 else {
      throw .bad("\(name) must be finite and between 0 (exclusive) and 1000000")
    }
    return value
  }

  private static func number(_ body: JSONBody, _ name: String, above: Double, below: Double? = nil, to: Double? = nil) throws(APIError)
    -> Double?
  {
    guard body.has(name) else { return nil }
    guard let value = body.double(name), value > above, below.map({ value < $0 }) ?? true, to.map({ value <= $0 }) ?? true else {
      let end = below.map { "\(Int($0)) (exclusive)" } ?? to.map { "\(Int($0))" } ?? ""
      throw .bad("\(name) must be finite and between \(Int(above)) (exclusive) and \(end)")
    }
    return value
  }

  /// Never below what is built in: a provider that refuses plain sessions would refuse them all.
  private static func tlsMode(_ body: JSONBody, _ provider: MailboxProvider) throws(APIError) -> String? {
    guard let mode = try body.text("tlsMode") else { return nil }
    guard mode == "opportunistic" || mode == "require" else { throw .bad("tlsMode must be one of: opportunistic, require") }
    if mode == "opportunistic", ProviderProfile.builtIn[provider]?.tlsMode == .require {
      throw .bad("\(provider.rawValue) tlsMode cannot be below the checked-in require minimum")
    }
    return mode
  }

  // MARK: breakers

  func breakers() async -> String {
    let now = SystemClock.now()
    let rows = await book.breakerRows(now: now).map { row in
      JSONObject([
        ("organizationId", .text(row.key.organisation)), ("provider", row.key.provider.map { .text($0.rawValue) } ?? .raw("null")),
        ("state", .text(row.breaker.state.rawValue)),
        ("until", row.breaker.state == .open ? .text(Timestamp.rfc3339(row.breaker.until)) : .raw("null")),
        ("bounceRate", .raw(String(row.breaker.bounceRate))), ("complaintRate", .raw(String(row.breaker.complaintRate))),
      ])
    }
    return JSONObject([("breakers", JSONObject.list(rows))]).string
  }

  /// - Returns: false when the organisation has none.
  func reset(_ organisation: String) async throws -> Bool {
    guard let (rows, changes) = await book.reset(organisation, now: SystemClock.now()) else { return false }
    try await store.setPolicy(rows)
    await dispatcher.apply(changes)
    return true
  }
}
