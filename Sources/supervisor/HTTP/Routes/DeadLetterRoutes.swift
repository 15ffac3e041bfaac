import HTTPTypes
import MailModel
import Observability

/// `/dlq…` (contract section 1.7).
struct DeadLetterRoutes: Sendable {
  let letters: DeadLetters

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/dlq", access: .master) { call in
        let rows = try await letters.list(
          limit: try call.number("limit", 1...500, 50), offset: try call.number("offset", 0...10_000_000, 0))
        return HTTPAnswer(
          .ok,
          JSONObject([
            ("entries", JSONObject.list(rows.map(Self.json))), ("total", .number(Int64(try await letters.stats().total))),
          ]).string)
      },
      APIRoute(method: .get, path: "/dlq/stats", access: .master) { _ in
        let stats = try await letters.stats()
        let now = SystemClock.now()
        var object = JSONObject([("total", .number(Int64(stats.total)))])
        object.fields.append(("oldestAge", .raw(stats.oldest.map { String(now - $0) } ?? "null")))
        object.fields.append(("newestAge", .raw(stats.newest.map { String(now - $0) } ?? "null")))
        return HTTPAnswer(.ok, object.string)
      },
      APIRoute(method: .post, path: "/dlq/:id/retry", access: .master) { call in
        switch try await letters.retry(call.parameters["id"] ?? "") {
        case .delivered: return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("delivered", .bool(true))]).string)
        case .failed(let attempts):
          return HTTPAnswer(
            .ok,
            JSONObject([("success", .bool(false)), ("delivered", .bool(false)), ("attempts", .number(Int64(attempts)))]).string)
        case .unavailable: throw APIError(status: 409, text: "DLQ entry unavailable or already claimed")
        }
      },
      APIRoute(method: .post, path: "/dlq/retry-all", access: .master) { _ in
        let counts = try await letters.retryAll()
        return HTTPAnswer(
          .ok,
          JSONObject([
            ("success", .bool(true)), ("delivered", .number(Int64(counts.delivered))), ("failed", .number(Int64(counts.failed))),
            ("total", .number(Int64(counts.total))),
          ]).string)
      },
      APIRoute(method: .delete, path: "/dlq/:id", access: .master) { call in
        let removed = try await letters.discard(call.parameters["id"] ?? "")
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .bool(removed))]).string)
      },
    ]
  }

  private static func json(_ letter: EventOutbox.Dead) -> JSONObject {
    var failure = JSONObject([("category", .text(letter.status == nil ? "transport" : "http"))])
    failure.add("status", letter.status.map(Int64.init))
    return JSONObject([
      ("dlqId", .text(DeadLetters.id(letter))), ("event", .raw(letter.json)), ("failure", .raw(failure.string)),
      ("attempts", .number(Int64(letter.attempts))), ("createdAt", .number(letter.createdAt)),
      ("endpoint", .text(letter.endpoint)),
    ])
  }
}
