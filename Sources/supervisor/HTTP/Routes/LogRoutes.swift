import DeliveryPolicy
import Foundation
import HTTPTypes
import MailModel
import Observability

/// `/delivery-logs…` in upstream's shapes, from history (contract section 1.7).
struct LogRoutes: Sendable {
  /// How far back a message is looked for.
  static let lookback: Milliseconds = 3 * 86_400_000

  let history: HistoryStore
  let providers: ProviderTable

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/delivery-logs", access: .master, handler: list),
      APIRoute(method: .get, path: "/delivery-logs/stats", access: .master, handler: stats),
      APIRoute(method: .get, path: "/delivery-logs/:messageId", access: .master) { call in
        let id = call.parameters["messageId"] ?? ""
        let rows = try await history.attempts(messageID: id, organisation: call.organisation, since: SystemClock.now() - Self.lookback)
        return HTTPAnswer(.ok, JSONObject([("messageId", .text(id)), ("events", JSONObject.list(rows.map(json)))]).string)
      },
    ]
  }

  @Sendable private func list(_ call: APIRequest) async throws -> HTTPAnswer {
    let limit = try call.number("limit", 1...1000, 100)
    var filter = try range(call)
    filter.organisation = call.query["orgId"]
    filter.status = call.query["status"]
    filter.domain = call.query["domain"]?.lowercased()
    let cursor = call.query["cursor"] ?? "0"
    guard let after = Int64(cursor.split(separator: "-").last ?? "") else {
      throw APIError.bad("cursor must be the nextCursor of an answer")
    }
    let rows = try await history.attempts(filter, after: after, limit: limit)
    var object = JSONObject([("entries", JSONObject.list(rows.map(json)))])
    if rows.count == limit { object.add("nextCursor", rows.last.map(Self.id)) }
    return HTTPAnswer(.ok, object.string)
  }

  @Sendable private func stats(_ call: APIRequest) async throws -> HTTPAnswer {
    let day = call.query["date"] ?? Self.day(SystemClock.now())
    guard let from = Self.start(day) else { throw APIError.bad("date must be YYYY-MM-DD") }
    var filter = HistoryStore.AttemptFilter(from: from, until: from + 86_400_000)
    filter.organisation = call.query["orgId"]
    let counts = try await history.attemptCounts(filter)
    var stats = JSONObject(HistoryStore.statuses.map { ($0, .number(Int64(counts[$0] ?? 0))) })
    stats.fields.append(("total", .number(Int64(counts.values.reduce(0, +)))))
    return HTTPAnswer(
      .ok,
      JSONObject([
        ("date", .text(day)), ("orgId", .raw(filter.organisation.map(JSONText.quoted) ?? "null")), ("stats", .raw(stats.string)),
      ]).string)
  }

  /// One day, or from one to another, both included; today when nothing is said. Days are UTC.
  private func range(_ call: APIRequest) throws(APIError) -> HistoryStore.AttemptFilter {
    let today = Self.day(SystemClock.now())
    let first = call.query["date"] ?? call.query["startDate"] ?? call.query["endDate"] ?? today
    let last = call.query["date"] ?? call.query["endDate"] ?? (call.query["startDate"] == nil ? first : today)
    guard let from = Self.start(first), let end = Self.start(last) else { throw .bad("date, startDate and endDate must be YYYY-MM-DD") }
    return HistoryStore.AttemptFilter(from: from, until: end + 86_400_000)
  }

  private static func day(_ at: Milliseconds) -> String { String(Timestamp.rfc3339(at).prefix(10)) }

  private static func start(_ day: String) -> Milliseconds? { day.utf8.count == 10 ? Timestamp.milliseconds(day + "T00:00:00Z") : nil }

  private static func id(_ row: HistoryStore.Attempt) -> String { "\(row.at)-\(row.id)" }

  private func json(_ row: HistoryStore.Attempt) -> JSONObject {
    let record = row.record
    let result = row.result
    var object = JSONObject([
      ("id", .text(Self.id(row))), ("messageId", .text(record.messageID)), ("to", .text(record.recipient)),
      ("from", .text(record.author)), ("orgId", .text(record.organisation)), ("status", .text(row.status)),
      ("domain", .text(record.recipient.split(separator: "@").last.map(String.init) ?? "")), ("timestamp", .number(row.at)),
    ])
    object.add("smtpCode", result.reply.map { Int64($0.code) })
    object.add("smtpResponse", result.reply?.text ?? result.text)
    object.add("bounceType", row.bounceType)
    if !result.sourceIP.isEmpty { object.add("ip", result.sourceIP) }
    object.add("pool", record.pool)
    if !result.sourceIP.isEmpty { object.add("durationMs", result.duration) }
    if let host = result.host { object.add("provider", providers.provider(mx: [host]).rawValue) }
    return object
  }
}
