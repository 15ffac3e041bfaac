import HTTPTypes
import MailModel
import Observability
import Redis

/// `/queue…` in upstream's shapes with real contents, and pauses under `/v1` (contract section 1.7).
struct QueueRoutes: Sendable {
  let store: QueueStore
  let admin: QueueAdmin
  let pauses: Pauses
  let dispatcher: Dispatcher
  let history: HistoryStore

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/queue/stats", access: .master, handler: stats),
      APIRoute(method: .get, path: "/queue/pending", access: .master, handler: pending),
      APIRoute(method: .get, path: "/queue/jobs/:id", access: .master) { call in
        guard let job = try await admin.job(call.parameters["id"] ?? "", organisation: call.organisation) else {
          throw APIError(status: 404, text: "Job not found")
        }
        return HTTPAnswer(encoding: job)
      },
      APIRoute(method: .delete, path: "/queue/jobs/:id", access: .master) { call in
        let id = call.parameters["id"] ?? ""
        guard try await admin.job(id, organisation: call.organisation) != nil else { return Self.removed(false) }
        var filter = MessageFilter()
        filter.id = id
        filter.organisation = call.organisation
        return Self.removed(try await admin.cancel(filter) > 0)
      },
      APIRoute(method: .post, path: "/queue/flush", access: .master) { call in
        guard let organisation = call.query["orgId"], !organisation.isEmpty else { throw APIError.bad("orgId query parameter required") }
        var filter = MessageFilter()
        filter.organisation = organisation
        let count = try await admin.cancel(filter)
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("flushed", .number(Int64(count)))]).string)
      },
      APIRoute(method: .get, path: "/v1/pauses", access: .master) { _ in
        HTTPAnswer(.ok, JSONObject([("pauses", await Self.list(pauses))]).string)
      },
      APIRoute(method: .post, path: "/v1/pauses", access: .master) { call in
        let body = try await call.json()
        let held = try await pauses.pause(
          try Self.key(body.object["scope"] as? String, body.object["name"] as? String), reason: try body.text("reason"))
        var object = JSONObject([("success", .bool(true))])
        object.add("held", held.map(Int64.init))
        return HTTPAnswer(.ok, object.string)
      },
      APIRoute(method: .delete, path: "/v1/pauses/:scope/:name", access: .master) { call in
        guard let released = try await pauses.resume(try Self.key(call.parameters["scope"], call.parameters["name"])) else {
          throw APIError(status: 404, text: "Not paused")
        }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("released", .number(Int64(released)))]).string)
      },
    ]
  }

  private static func removed(_ isRemoved: Bool) -> HTTPAnswer {
    HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .bool(isRemoved))]).string)
  }

  /// As Redis has them; while that is away, as they were.
  static func list(_ pauses: Pauses) async -> JSONObject.Value {
    try? await pauses.refresh()
    return JSONObject.list(
      pauses.rows.sorted { $0.key.description < $1.key.description }.map { key, row in
        var object = JSONObject([
          ("scope", .text(key.scope.rawValue)), ("name", .text(key.name)), ("since", .text(Timestamp.rfc3339(row.since))),
        ])
        object.add("reason", row.reason)
        return object
      })
  }

  static func key(_ scope: String?, _ name: String?) throws(APIError) -> Pauses.Key {
    guard let scope = scope.flatMap(Pauses.Scope.init) else {
      throw .bad("scope must be one of: " + Pauses.Scope.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard let name, (1...256).contains(name.utf8.count), !SendValidator.hasControl(name) else {
      throw .bad("name must be 1 to 256 octets without control characters")
    }
    guard scope == .domain else { return Pauses.Key(scope: scope, name: name) }
    guard let domain = DomainName.ascii(name), DomainName.isMailDomain(domain) else { throw .bad("name must be a domain name") }
    return Pauses.Key(scope: scope, name: domain)
  }

  @Sendable private func stats(_ call: APIRequest) async throws -> HTTPAnswer {
    let figures = await dispatcher.figures()
    let ended = try await history.counts()
    return HTTPAnswer(
      .ok,
      JSONObject([
        ("pending", .number(Int64(figures.queued))), ("active", .number(Int64(figures.out))),
        ("completed", .number(Int64(ended.delivered))), ("failed", .number(Int64(ended.other))),
        ("delayed", .number(Int64(try await store.waitingCount()))),
      ]).string)
  }

  @Sendable private func pending(_ call: APIRequest) async throws -> HTTPAnswer {
    let limit = try call.number("limit", 1...500, 50)
    let offset = try call.number("offset", 0...10_000_000, 0)
    var filter = MessageFilter()
    filter.domain = call.query["domain"]?.lowercased()
    filter.organisation = call.query["orgId"]
    let jobs = HTTPAnswer(encoding: try await admin.jobs(filter, offset: offset, limit: limit)).body
    return HTTPAnswer(
      .ok, JSONObject([("jobs", .raw(jobs)), ("limit", .number(Int64(limit))), ("offset", .number(Int64(offset)))]).string)
  }
}
