import HTTPTypes
import MailModel
import Observability

/// `/u/<token>`: what stands in our mail's List-Unsubscribe (RFC 8058), open to all because the token is the proof; and under
/// `/v1` who has left.
struct UnsubscribeRoutes: Sendable {
  let unsubscriptions: Unsubscriptions

  var all: [APIRoute] {
    [
      // A GET changes nothing: scanners follow links (RFC 8058 §3.2).
      APIRoute(method: .get, path: "/u/:token", access: .open) { call in
        guard unsubscriptions.token(call.parameters["token"] ?? "") != nil else { throw APIError(status: 404, text: "Not Found") }
        return Self.page(
          "<p>Do you want to get no more mail of this list?</p>"
            + "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">"
            + "<button type=\"submit\">Unsubscribe</button></form>")
      },
      APIRoute(method: .post, path: "/u/:token", access: .open) { call in
        guard let token = unsubscriptions.token(call.parameters["token"] ?? "") else { throw APIError(status: 404, text: "Not Found") }
        try await unsubscriptions.leave(token, now: SystemClock.now())
        return Self.page("<p>You will get no more mail of this list.</p>")
      },
      APIRoute(method: .get, path: "/v1/unsubscribes", access: .tenant, handler: list),
      APIRoute(method: .delete, path: "/v1/unsubscribes/:list/:email", access: .tenant) { call in
        guard let email = call.parameters["email"].flatMap({ EmailAddress($0) }) else { throw APIError.bad("Invalid email address") }
        var before: Milliseconds?
        if let text = call.query["before"] {
          before = Timestamp.milliseconds(text)
          guard before != nil else { throw APIError.bad("before must be a time like 2030-01-01T00:00:00Z") }
        }
        let removed = try await unsubscriptions.comeBack(
          email.normalised, list: call.parameters["list"] ?? "", organisation: try Self.organisation(call), before: before)
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("removed", .bool(removed))]).string)
      },
    ]
  }

  @Sendable private func list(_ call: APIRequest) async throws -> HTTPAnswer {
    let limit = try call.number("limit", 1...1000, 100)
    let cursor = call.query["cursor"] ?? "0"
    guard UInt64(cursor) != nil else { throw APIError.bad("cursor must be the nextCursor of an answer") }
    let page = try await unsubscriptions.page(try Self.organisation(call), cursor: cursor, limit: limit)
    let entries = page.entries.map { entry in
      JSONObject([
        ("email", .text(entry.address)), ("list", .text(entry.list)), ("since", .text(Timestamp.rfc3339(entry.since))),
        ("last", .text(Timestamp.rfc3339(entry.last))), ("messageId", .text(entry.messageID)),
      ])
    }
    var object = JSONObject([("entries", JSONObject.list(entries))])
    object.add("nextCursor", page.next)
    return HTTPAnswer(.ok, object.string)
  }

  private static func organisation(_ call: APIRequest) throws(APIError) -> String {
    guard let organisation = call.organisation, !organisation.isEmpty else { throw .bad("organizationId is required") }
    return organisation
  }

  private static func page(_ content: String) -> HTTPAnswer {
    var answer = HTTPAnswer(
      .ok,
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
        + "<meta name=\"robots\" content=\"noindex\"><title>Unsubscribe</title></head><body>\(content)</body></html>")
    answer.contentType = "text/html; charset=utf-8"
    return answer
  }
}
