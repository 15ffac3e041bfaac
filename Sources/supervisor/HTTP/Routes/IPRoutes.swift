import Foundation
import HTTPTypes
import MailModel
import NIOCore
import Observability

/// `/v1/ips`: which IPs there are, and orders about them. What is ordered here stands over the configuration file.
struct IPRoutes: Sendable {
  let reload: Reload
  let fleet: Fleet
  let reputation: Reputation

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/v1/ips", access: .master) { _ in
        struct Body: Encodable { var ips: [Fleet.Row] }
        return HTTPAnswer(encoding: Body(ips: await fleet.list()))
      },
      APIRoute(method: .post, path: "/v1/ips", access: .master, handler: add),
      APIRoute(method: .delete, path: "/v1/ips/:address", access: .master) { call in
        _ = try await reload.remove(call.parameters["address"] ?? "")
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
      APIRoute(method: .post, path: "/v1/ips/:address/drain", access: .master) { call in
        try await order(call, standard: "operator: drained") { try await fleet.drain($0, reason: $1) }
      },
      APIRoute(method: .post, path: "/v1/ips/:address/pull", access: .master) { call in
        try await order(call, standard: "operator") { try await fleet.pull($0, reason: $1) }
      },
      APIRoute(method: .post, path: "/v1/ips/:address/restore", access: .master) { call in
        try await order(call, standard: "") { address, _ in
          guard try await fleet.restore(address) else { return false }
          await reputation.overrule(address, now: SystemClock.now())
          return true
        }
      },
    ]
  }

  @Sendable private func add(_ call: APIRequest) async throws -> HTTPAnswer {
    let body = try await call.json()
    guard let address = try body.text("address", limit: 64) else { throw APIError.bad("address is required") }
    guard let pool = try body.text("pool", limit: 64) else { throw APIError.bad("pool is required") }
    let added = try await reload.add(
      OperatorOrders.NewIP(
        address: address, pool: pool, ehlo: try body.text("ehlo", limit: 253), public: try body.text("public", limit: 64),
        warmed: try body.bool("warmed")))
    return try await answer(added)
  }

  private func order(_ call: APIRequest, standard: String, _ act: (String, String) async throws -> Bool) async throws -> HTTPAnswer {
    let text = call.parameters["address"] ?? ""
    let address = IPAddress.canonical(text) ?? text
    var reason = standard
    // A body can be read once.
    let body = try await call.body()
    if body.readableBytes > 0 { reason = try JSONBody(Data(body.readableBytesView)).text("reason") ?? standard }
    guard try await act(address, reason) else { throw RuntimeCommands.unknown(text) }
    return try await answer(address)
  }

  private func answer(_ address: String) async throws -> HTTPAnswer {
    struct Body: Encodable {
      var success = true
      var ip: Fleet.Row
    }
    guard let row = await fleet.list().first(where: { $0.address == address }) else { throw RuntimeCommands.unknown(address) }
    return HTTPAnswer(encoding: Body(ip: row))
  }
}
