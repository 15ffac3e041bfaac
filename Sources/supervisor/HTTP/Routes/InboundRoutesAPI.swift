import Foundation
import HTTPTypes
import MTAConfig
import MailModel
import Observability

/// `/inbound/routes` in upstream's shapes (contract section 1.7), and under `/v1` the mail that routes hold.
struct InboundRoutesAPI: Sendable {
  let config: MTAConfig
  let routes: InboundRoutes
  let mails: InboundStore
  let release: @Sendable (InboundStore.Mail) async throws -> Void

  var all: [APIRoute] {
    [
      APIRoute(method: .post, path: "/inbound/routes", access: .master, handler: add),
      APIRoute(method: .get, path: "/inbound/routes", access: .master) { _ in
        let rows = try await routes.all().map(Self.json)
        return HTTPAnswer(.ok, JSONObject([("routes", JSONObject.list(rows))]).string)
      },
      APIRoute(method: .delete, path: "/inbound/routes/:domain/:address", access: .master) { call in
        let domain = (call.parameters["domain"] ?? "").lowercased()
        guard try await routes.remove(domain: domain, address: (call.parameters["address"] ?? "").lowercased()) else {
          throw APIError(status: 404, text: "Route not found")
        }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
      APIRoute(method: .get, path: "/v1/inbound/held", access: .master) { call in
        let held = try await mails.held(limit: try call.number("limit", 1...500, 50), offset: try call.number("offset", 0...10_000_000, 0))
        return HTTPAnswer(.ok, JSONObject([("mails", JSONObject.list(held.map(Self.json)))]).string)
      },
      APIRoute(method: .post, path: "/v1/inbound/held/:id/release", access: .master) { call in
        guard let mail = try await mails.heldMail(call.parameters["id"] ?? "") else { throw Self.notHeld }
        try await release(mail)
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
      APIRoute(method: .delete, path: "/v1/inbound/held/:id", access: .master) { call in
        guard try await mails.drop(call.parameters["id"] ?? "") else { throw Self.notHeld }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
    ]
  }

  private static let notHeld = APIError(status: 404, text: "Held mail not found")

  @Sendable private func add(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard body.has("domain"), body.has("address"), body.has("mode") else { throw APIError.bad("domain, address, and mode are required") }
    guard let mode = (body.object["mode"] as? String).flatMap(InboundRoutes.Mode.init) else {
      throw APIError.bad("mode must be one of: " + InboundRoutes.Mode.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard let domain = try body.domain("domain") else { throw APIError.bad("domain, address, and mode are required") }
    guard let address = try body.text("address", limit: 64)?.lowercased(), address == "*" || EmailAddress("\(address)@\(domain)") != nil
    else {
      throw APIError.bad("address must be a local part or *")
    }
    let organisation = try body.text("organizationId", limit: 128)
    guard organisation != Organisation.everybody else {
      throw APIError.bad("organizationId must not be *: a route is of one organization, or of none")
    }
    var route = InboundRoutes.Route(
      domain: domain, address: address, mode: mode, endpointUrl: nil, organizationId: organisation,
      id: InboundRoutes.id(domain, address), createdAt: SystemClock.now())
    if mode == .endpoint {
      guard let text = try body.text("endpointUrl", limit: 2048) else { throw APIError.bad("endpointUrl is required for endpoint mode") }
      guard let url = URL(string: text), url.host?.isEmpty == false, ["http", "https"].contains(url.scheme ?? ""), url.user == nil else {
        throw APIError.bad("endpointUrl must be an http or https URL")
      }
      route.endpointUrl = text
      route.secret = try body.text("secret", limit: 256)
      if let secret = route.secret, secret.utf8.count < 16 { throw APIError.bad("secret must have at least 16 octets") }
      guard route.secret != nil || !config.webhooks.isEmpty else {
        throw APIError.bad("secret is required: no webhook is configured whose secret could sign")
      }
    }
    try await routes.set(route)
    return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("route", .raw(Self.json(route).string))]).string)
  }

  /// Never with its secret.
  private static func json(_ route: InboundRoutes.Route) -> JSONObject {
    var object = JSONObject([("domain", .text(route.domain)), ("address", .text(route.address)), ("mode", .text(route.mode.rawValue))])
    object.add("endpointUrl", route.endpointUrl)
    object.add("organizationId", route.organizationId)
    object.fields += [("id", .text(route.id)), ("createdAt", .number(route.createdAt))]
    return object
  }

  private static func json(_ mail: InboundStore.Mail) -> JSONObject {
    var object = JSONObject([
      ("id", .text(mail.id)), ("from", .text(mail.from)), ("recipient", .text(mail.recipient)), ("subject", .text(mail.subject)),
      ("size", .number(Int64(mail.size))), ("receivedAt", .text(Timestamp.rfc3339(mail.receivedAt))),
    ])
    object.add("reason", mail.reason)
    return object
  }
}
