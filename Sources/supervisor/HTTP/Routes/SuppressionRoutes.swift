import HTTPTypes
import MailModel
import Observability

/// `/suppression…`: everybody's list, and with `organizationId` an organisation's own (contract section 1.7).
struct SuppressionRoutes: Sendable {
  static let maxBulk = 10_000

  let list: Suppressions

  var all: [APIRoute] {
    [
      APIRoute(method: .post, path: "/suppression", access: .master, handler: add),
      APIRoute(method: .post, path: "/suppression/bulk", access: .master, handler: addBulk),
      APIRoute(method: .get, path: "/suppression/export", access: .master, handler: export),
      APIRoute(method: .get, path: "/suppression/stats", access: .master, handler: stats),
      APIRoute(method: .get, path: "/suppression/check/:email", access: .master, handler: check),
      APIRoute(method: .delete, path: "/suppression/:email", access: .master) { call in
        let removed = try await list.remove(try address(call.parameters["email"] ?? ""), scope: try scope(call.query["organizationId"]))
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .bool(removed))]).string)
      },
    ]
  }

  @Sendable private func add(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard let values = body.object["emails"] as? [Any], !values.isEmpty else {
      throw APIError.bad("Missing required field: emails (non-empty array)")
    }
    guard let emails = values as? [String] else { throw APIError.bad("emails must be a list of texts") }
    guard emails.count <= Self.maxBulk else { throw APIError.bad("emails must be at most \(Self.maxBulk)") }
    let now = SystemClock.now()
    let reason = try reason(body) ?? "manual"
    let source = try source(body)
    let entries = try emails.map { email in
      Suppressions.Entry(
        email: try address(email), reason: reason, source: source, suppressedAt: now,
        expiresAt: reason == "manual" ? now + Suppressions.manualLife : nil)
    }
    try await list.add(entries, scope: try scope(try body.text("organizationId", limit: 128)))
    return suppressed(entries)
  }

  @Sendable private func addBulk(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard let entries = body.object["entries"] as? [Any] else { throw APIError.bad("Missing required field: entries (array)") }
    guard entries.count <= Self.maxBulk else { throw APIError.bad("Maximum 10,000 entries per request") }
    let rows = try body.objects("entries", max: Self.maxBulk) ?? []
    let now = SystemClock.now()
    let fresh = try rows.enumerated().map { index, row in
      guard let email = row.object["email"] as? String else { throw APIError.bad("entries[\(index)].email is required") }
      do {
        return Suppressions.Entry(
          email: try address(email), reason: try reason(row) ?? "manual", source: try source(row), suppressedAt: now, expiresAt: nil)
      } catch let error as APIError { throw APIError.bad("entries[\(index)]: \(error.text)") }
    }
    try await list.add(fresh, scope: try scope(try body.text("organizationId", limit: 128)))
    return suppressed(fresh)
  }

  private func suppressed(_ entries: [Suppressions.Entry]) -> HTTPAnswer {
    HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("suppressed", .number(Int64(entries.count)))]).string)
  }

  @Sendable private func export(_ call: APIRequest) async throws -> HTTPAnswer {
    let limit = try call.number("limit", 1...1000, 100)
    let cursor = call.query["cursor"] ?? "0"
    guard UInt64(cursor) != nil else { throw APIError.bad("cursor must be the nextCursor of an answer") }
    let page = try await list.page(
      scope: try scope(call.query["organizationId"]), cursor: cursor, limit: limit, reason: call.query["reason"],
      now: SystemClock.now())
    var object = JSONObject([("entries", JSONObject.list(page.entries.map { Self.json($0, withAddress: true) }))])
    object.add("nextCursor", page.next)
    return HTTPAnswer(.ok, object.string)
  }

  @Sendable private func stats(_ call: APIRequest) async throws -> HTTPAnswer {
    let stats = try await list.stats(scope: try scope(call.query["organizationId"]), now: SystemClock.now())
    let counts = (Suppressions.reasons + ["unknown"]).map { ($0, JSONObject.Value.number(Int64(stats.byReason[$0] ?? 0))) }
    return HTTPAnswer(.ok, JSONObject([("total", .number(Int64(stats.total))), ("byReason", .raw(JSONObject(counts).string))]).string)
  }

  @Sendable private func check(_ call: APIRequest) async throws -> HTTPAnswer {
    let email = try address(call.parameters["email"] ?? "")
    let entry = try await list.find(email, organisation: call.query["organizationId"], now: SystemClock.now())
    var object = JSONObject([("suppressed", .bool(entry != nil))])
    if let entry { object.fields += Self.json(entry, withAddress: false).fields }
    return HTTPAnswer(.ok, object.string)
  }

  private static func json(_ entry: Suppressions.Entry, withAddress: Bool) -> JSONObject {
    var object = JSONObject(withAddress ? [("email", .text(entry.email))] : [])
    object.add("reason", entry.reason)
    object.add("source", entry.source)
    object.add("suppressedAt", entry.suppressedAt)
    object.add("expiresAt", entry.expiresAt)
    return object
  }

  private func address(_ text: String) throws(APIError) -> String {
    guard let address = EmailAddress(text) else { throw .bad("Invalid email address: \(text.prefix(320))") }
    return address.normalised
  }

  /// A row is one line of words in Redis: a reason is one word.
  private func reason(_ body: JSONBody) throws(APIError) -> String? {
    guard let reason = try body.text("reason", limit: 64) else { return nil }
    guard !reason.contains(" "), !reason.contains("\t") else { throw .bad("reason must be one word") }
    return reason
  }

  private func source(_ body: JSONBody) throws(APIError) -> String? { try body.text("source", limit: 128) }

  private func scope(_ organisation: String?) throws(APIError) -> String {
    guard let organisation else { return Suppressions.everybody }
    guard (1...128).contains(organisation.utf8.count), !SendValidator.hasControl(organisation), organisation != Suppressions.everybody
    else { throw .bad("organizationId must be 1 to 128 characters without control characters") }
    return organisation
  }
}
