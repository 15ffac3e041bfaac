import HTTPTypes

/// `/v1/messages/{id}/resend` and `/drop`: whose mail it is decides, so an organisation's own key will do.
struct UncertainRoutes: Sendable {
  let mail: UncertainMail

  var all: [APIRoute] {
    [
      APIRoute(method: .post, path: "/v1/messages/:id/resend", access: .tenant) { try await decide(.resend, $0) },
      APIRoute(method: .post, path: "/v1/messages/:id/drop", access: .tenant) { try await decide(.drop, $0) },
    ]
  }

  private func decide(_ decision: UncertainMail.Decision, _ call: APIRequest) async throws -> HTTPAnswer {
    let fields = try await mail.decide(decision, call.parameters["id"] ?? "", organisation: call.organisation)
    return HTTPAnswer(.ok, JSONObject([("success", .bool(true))] + fields).string)
  }
}
