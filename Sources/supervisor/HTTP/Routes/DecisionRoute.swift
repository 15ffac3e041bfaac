import DeliveryPolicy
import Foundation
import HTTPTypes
import MTAConfig
import MailModel
import NIOCore
import Observability

/// `POST /send/decision` (contract section 1.4): should this message go by the MTA's own IPs, by a relay, or later? The answers
/// have exactly the contract's keys: clients refuse others. Leases are given out and never asked for: what a gate says at
/// dispatch counts, and mail whose capacity is merely later is held here instead of being sent around.
struct DecisionRoute: Sendable {
  /// When nothing better is known, ms.
  static let pause: Milliseconds = 60_000
  /// A message older than this is no candidate (upstream's figure).
  static let maxAge: Milliseconds = 4 * 86_400_000

  let config: ConfigInForce
  let book: PolicyBook
  let rules: PoolRules
  let destinations: Destinations
  let dispatcher: Dispatcher

  var all: [APIRoute] { [APIRoute(method: .post, path: "/send/decision", access: .tenant, handler: decide)] }

  private struct Request {
    var organisation: String
    var recipient: EmailAddress
    var from: EmailAddress
    var isRelay: Bool
    var allowsOverflow: Bool
    var isProduction: Bool
    var pool: String
    var requiresProbe: Bool
  }

  @Sendable private func decide(_ call: APIRequest) async throws -> HTTPAnswer {
    let now = SystemClock.now()
    guard let body = try? JSONBody(Data((try await call.body()).readableBytesView)), let request = read(body, now) else {
      throw APIError.bad("Invalid routing decision request")
    }
    if let own = call.organisation, call.principal != .master, own != request.organisation {
      throw APIError.forbidden("Organization does not match credential")
    }
    return HTTPAnswer(.ok, await answer(request, now).string)
  }

  private static let keys: Set<String> = [
    "messageId", "workAttemptId", "routingReentryToken", "startedAt", "deliveryDomain", "messageType", "organizationId", "recipient",
    "from", "candidateProvider", "allowWarmupOverflow", "ipPool",
  ]

  /// Nil unless it has every key and no other.
  private func read(_ body: JSONBody, _ now: Milliseconds) -> Request? {
    var given = Set(body.object.keys)
    var requiresProbe = false
    if given.remove("requireProviderProbe") != nil {
      guard let value = try? body.bool("requireProviderProbe") else { return nil }
      requiresProbe = value
    }
    func text(_ name: String, _ limit: Int) -> String? {
      (body.object[name] as? String).flatMap { (1...limit).contains($0.utf8.count) ? $0 : nil }
    }
    guard given == Self.keys, text("messageId", 256) != nil, text("workAttemptId", 128) != nil, text("routingReentryToken", 512) != nil,
      let organisation = text("organizationId", 128), let recipient = text("recipient", 320).flatMap({ EmailAddress($0) }),
      let from = text("from", 1000).flatMap({ SendValidator.author($0)?.address }), let started = body.double("startedAt"),
      started <= Double(now), Double(now) - started < Double(Self.maxAge), let domain = text("deliveryDomain", 32),
      ["production", "member_test"].contains(domain), let type = text("messageType", 32),
      ["campaign", "transactional", "automation"].contains(type), let candidate = text("candidateProvider", 16),
      ["mta", "relay"].contains(candidate), let overflow = try? body.bool("allowWarmupOverflow"), let pool = text("ipPool", 64),
      config.pools.contains(where: { $0.name == pool })
    else { return nil }
    return Request(
      organisation: organisation, recipient: recipient, from: from, isRelay: candidate == "relay", allowsOverflow: overflow,
      isProduction: domain == "production", pool: pool, requiresProbe: requiresProbe)
  }

  private func answer(_ request: Request, _ now: Milliseconds) async -> JSONObject {
    let whole = await book.state(of: request.organisation, at: nil, now: now)
    if whole.state == .open { return Self.later("global_safety", after: whole.until - now) }
    if request.isRelay {
      return whole.state == .closed ? Self.relay(nil) : Self.later("global_safety", after: Self.pause)
    }
    var provider = MailboxProvider.other
    if case .known(let known) = await destinations.answer(for: request.recipient.domain) { provider = known.provider }
    let part = await book.state(of: request.organisation, at: provider, now: now)
    if part.state == .open {
      return whole.state == .closed ? Self.relay("provider_breaker") : Self.later("global_safety", after: Self.pause)
    }
    if request.requiresProbe, part.state != .halfOpen { return Self.relay("provider_hysteresis") }
    let set = await set(request)
    let open = await dispatcher.whereabouts([]).open
    let addresses = set.addresses(pools: Dictionary(config.pools.map { ($0.name, $0.ips) }, uniquingKeysWith: { first, _ in first }))
    let eligible = addresses.filter(open.contains)
    guard !eligible.isEmpty else { return Self.later("no_owned_ip", after: Self.pause) }
    if request.allowsOverflow, request.isProduction, await !dispatcher.hasCapacity(eligible) { return Self.relay("warmup_overflow") }
    return JSONObject([
      ("decision", .text("mta")),
      (
        "lease",
        .raw(
          JSONObject([
            ("token", .text(UUID().uuidString.lowercased())), ("providerProbe", .bool(part.state == .halfOpen)),
            ("globalProbe", .bool(whole.state == .halfOpen)),
          ]).string)
      ),
    ])
  }

  private func set(_ request: Request) async -> IPSet {
    let rule = try? await rules.rule(request.organisation, from: request.from.domain, to: request.recipient.domain)
    if let address = rule?.dedicatedIp { return .dedicated(address) }
    return .pool(rule?.pool ?? request.pool)
  }

  private static func relay(_ reason: String?) -> JSONObject {
    var object = JSONObject([("decision", .text("relay"))])
    object.add("reason", reason)
    return object
  }

  private static func later(_ reason: String, after: Milliseconds) -> JSONObject {
    JSONObject([("decision", .text("defer")), ("reason", .text(reason)), ("retryAfterMs", .number(max(1, after)))])
  }
}
