import Foundation
import HTTPTypes
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import Redis

/// What the routes are served from.
struct APIParts: Sendable {
  var config: ConfigInForce
  var store: QueueStore
  var send: SendHandler
  var batch: BatchHandler
  var keys: KeyStore
  var explainer: Explainer
  var dispatcher: Dispatcher
  var history: HistoryStore
  var health: HealthReport
  var metrics: @Sendable () async -> String
  var tenants: TenantRoutes
  var suppressions: SuppressionRoutes
  var queue: QueueRoutes
  var logs: LogRoutes
  var deadLetters: DeadLetterRoutes
  var policy: PolicyRoutes
  var reputation: ReputationRoutes
  var decision: DecisionRoute
  var feedback: FeedbackRoutes
  var unsubscribes: UnsubscribeRoutes
  var inbound: InboundRoutesAPI
  var ips: IPRoutes
}

extension APIServer {
  static let version = "0.1.0"

  /// Every route, in one table.
  static func routes(_ parts: APIParts) -> [APIRoute] {
    mail(parts) + parts.tenants.all + parts.suppressions.all
      + parts.queue.all + parts.logs.all + parts.deadLetters.all + parts.policy.all + parts.reputation.all + parts.decision.all
      + UncertainRoutes(mail: UncertainMail(explainer: parts.explainer, host: parts.queue.admin.host)).all
      + parts.feedback.all
      + parts.unsubscribes.all + parts.inbound.all
      + parts.ips.all
  }

  private static func mail(_ parts: APIParts) -> [APIRoute] {
    [
      APIRoute(method: .get, path: "/", access: .open) { _ in HTTPAnswer(.ok, root) },
      APIRoute(method: .get, path: "/health", access: .open) { _ in HTTPAnswer(.ok, await parts.health.json()) },
      APIRoute(method: .get, path: "/metrics", access: .loopbackOrMaster) { _ in
        var answer = HTTPAnswer(.ok, await parts.metrics())
        answer.contentType = "text/plain; version=0.0.4; charset=utf-8"
        return answer
      },
      APIRoute(method: .post, path: "/send", access: .tenant) { try await parts.send.handle(.send, $0.principal, body: $0.body) },
      APIRoute(method: .post, path: "/send/system", access: .tenant) { try await parts.send.handle(.system, $0.principal, body: $0.body) },
      APIRoute(method: .post, path: "/send/postbox", access: .tenant) {
        try await parts.send.handle(.postbox, $0.principal, body: $0.body)
      },
      APIRoute(method: .post, path: "/send/batch", access: .tenant, streamsBody: true) { try await parts.batch.handle($0) },
      APIRoute(method: .get, path: "/send/receipt/:id", access: .tenant) { try await receipt($0, parts) },
      APIRoute(method: .post, path: "/dkim", access: .master) { try await setKey($0, parts) },
      APIRoute(method: .get, path: "/dkim", access: .master) { _ in
        struct Body: Encodable { var domains: [KeyStore.Listed] }
        return HTTPAnswer(encoding: Body(domains: try await parts.keys.list()))
      },
      APIRoute(method: .delete, path: "/dkim/:domain", access: .master) { call in
        let domain = try domain(call)
        guard try await parts.keys.remove(domain: domain) else {
          throw APIError(status: 404, text: "DKIM key not found")
        }
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
      APIRoute(method: .post, path: "/dkim/:domain/register", access: .master) { try await register($0, parts) },
      APIRoute(method: .get, path: "/v1/messages/:id", access: .tenant) { call in
        struct Body: Encodable { var messages: [HistoryStore.Entry] }
        let entries = try await parts.history.find(call.parameters["id"] ?? "", organisation: call.organisation)
        guard !entries.isEmpty else { throw APIError(status: 404, text: "Message not found") }
        return HTTPAnswer(encoding: Body(messages: entries))
      },
      APIRoute(method: .get, path: "/v1/messages/:id/explain", access: .tenant) { call in
        HTTPAnswer(encoding: try await parts.explainer.explain(call.parameters["id"] ?? "", organisation: call.organisation))
      },
      APIRoute(method: .get, path: "/v1/gates", access: .master) { _ in
        struct Body: Encodable { var gates: [Explanation.Shut] }
        return HTTPAnswer(encoding: Body(gates: await gates(parts.dispatcher)))
      },
    ]
  }

  private static let root = JSONObject([
    ("service", .text("owlat-mta")), ("version", .text(version)),
    (
      "docs",
      .text(
        "POST /send, GET /health, GET /metrics, /credentials, /org-limits, /suppression, /dkim, /outbound-tls, /pool-rules, /inbound/routes, "
          + "/delivery-logs, /queue, /dlq, /isp-profiles, /ip-reputation, /breakers, /send/decision, /v1/messages, /v1/gates, /v1/pauses, /v1/ips, /v1/url-blocklist"
      )
    ),
  ]).string

  static func gates(_ dispatcher: Dispatcher) async -> [Explanation.Shut] {
    await dispatcher.allGates().map { row in
      var shut = Explanation.Shut(row.gate)
      shut.messages = row.messages
      return shut
    }
  }

  private static func receipt(_ call: APIRequest, _ parts: APIParts) async throws -> HTTPAnswer {
    guard call.principal == .master else { throw APIError.forbidden("Receipts require the master credential") }
    let id = call.parameters["id"] ?? ""
    guard (1...200).contains(id.utf8.count) else { throw APIError.bad("Invalid work attempt id") }
    let found = try await parts.store.receipts(identity: id, now: parts.send.clock())
    let receipt: (messageID: String, acceptedAt: Milliseconds)?
    if let organisation = call.query["organizationId"] {
      receipt = found[organisation]
    } else {
      guard found.count <= 1 else { throw Explainer.ambiguous }
      receipt = found.values.first
    }
    guard let receipt else { return HTTPAnswer(.ok, JSONObject([("state", .text("absent"))]).string) }
    return HTTPAnswer(
      .ok,
      JSONObject([
        ("state", .text("accepted")), ("messageId", .text(receipt.messageID)), ("acceptedAt", .number(receipt.acceptedAt)),
      ]).string)
  }

  private static func domain(_ call: APIRequest) throws(APIError) -> String {
    guard let domain = call.parameters["domain"].flatMap({ DomainName.ascii($0) }), DomainName.isMailDomain(domain) else {
      throw .bad("domain must be a domain name")
    }
    return domain
  }

  private static func setKey(_ call: APIRequest, _ parts: APIParts) async throws -> HTTPAnswer {
    struct Body: Decodable {
      var domain: String?
      var selector: String?
      var privateKey: String?
    }
    let data = Data((try await call.body()).readableBytesView)
    guard let object = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] else {
      throw APIError.bad("Request body must be valid JSON")
    }
    guard let body = try? JSONDecoder().decode(Body.self, from: data), let domainText = body.domain, !domainText.isEmpty,
      let selector = body.selector, !selector.isEmpty, let pem = body.privateKey, !pem.isEmpty
    else { throw APIError.bad("domain, selector, and privateKey are required") }
    guard let domain = DomainName.ascii(domainText), DomainName.isMailDomain(domain) else {
      throw APIError.bad("domain must be a domain name")
    }
    guard DomainName.isHostName(selector) else { throw APIError.bad("selector must be a DNS label") }
    let owner = try owner(object)
    do { try await parts.keys.set(domain: domain, selector: selector, pem: pem, organisation: owner) } catch let error as RenderError {
      throw APIError.bad("privateKey is not usable: \(error)")
    } catch KeyStore.Fault.isAnothers { throw Self.isAnothers } catch let fault as KeyStore.Fault {
      throw APIError.bad("privateKey does not fit: \(fault)")
    }
    return HTTPAnswer(
      .ok, JSONObject([("success", .bool(true)), ("domain", .text(domain)), ("selector", .text(selector))]).string)
  }

  private static func register(_ call: APIRequest, _ parts: APIParts) async throws -> HTTPAnswer {
    let domain = try domain(call)
    let object = try object(await call.body())
    let registration: KeyStore.Registration
    do {
      registration = try await parts.keys.register(
        domain: domain, returnPathHost: try returnPathHost(object), organisation: try owner(object))
    } catch KeyStore.Fault.isAnothers { throw Self.isAnothers }
    var fields: [(String, JSONObject.Value)] = [
      ("success", .bool(true)), ("domain", .text(domain)), ("selector", .text(registration.row.selector)),
      ("dnsRecord", .text(registration.dnsRecord)), ("created", .bool(registration.isCreated)),
    ]
    if let host = registration.row.returnPathHost { fields.append(("returnPathHost", .text(host))) }
    if let owner = registration.row.organizationId { fields.append(("organizationId", .text(owner))) }
    return HTTPAnswer(.ok, JSONObject(fields).string)
  }

  private static let isAnothers = APIError(status: 409, text: "\(KeyStore.Fault.isAnothers)")

  /// A body that may be left out.
  private static func object(_ body: ByteBuffer) throws(APIError) -> [String: Any] {
    guard body.readableBytes > 0 else { return [:] }
    guard let value = try? JSONSerialization.jsonObject(with: Data(body.readableBytesView), options: [.fragmentsAllowed]) else {
      throw .bad("Request body must be valid JSON")
    }
    guard let object = value as? [String: Any] else { throw .bad("Request body must be a JSON object") }
    return object
  }

  /// Whose mail alone a key signs. Absent leaves it, null clears it.
  private static func owner(_ object: [String: Any]) throws(APIError) -> String?? {
    guard let value = object["organizationId"] else { return nil }
    if value is NSNull { return .some(nil) }
    guard let name = try JSONBody(object: object).text("organizationId", limit: 128) else { return nil }
    if let objection = Organisation.objection(name) { throw .bad("organizationId \(objection)") }
    return .some(name)
  }

  /// Absent leaves it, null clears it.
  private static func returnPathHost(_ object: [String: Any]) throws(APIError) -> String?? {
    guard let host = object["returnPathHost"] else { return nil }
    if host is NSNull { return .some(nil) }
    guard let text = host as? String, DomainName.isMailDomain(text) else {
      throw .bad("returnPathHost must be a valid DNS hostname (RFC 1123 FQDN)")
    }
    return .some(text.lowercased())
  }
}
