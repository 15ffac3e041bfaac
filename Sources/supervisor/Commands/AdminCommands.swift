import ControlProtocol
import DeliveryPolicy
import Foundation
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import Observability
import Redis

/// What the running supervisor does for each command; one exhaustive place.
struct AdminCommands: Sendable {
  let config: ConfigInForce
  let host: String
  let startedAt: Milliseconds
  let store: QueueStore
  let fleet: Fleet
  let dispatcher: Dispatcher
  let explainer: Explainer
  let history: HistoryStore
  let keys: KeyStore
  let send: SendHandler
  let outbox: EventOutbox
  let queue: QueueAdmin
  let pauses: Pauses
  let suppressions: Suppressions
  let policy: PolicyRoutes
  let reputation: Reputation
  let reputationRoutes: ReputationRoutes
  let runtime: RuntimeCommands

  func answer(_ request: AdminRequest, progress: AdminProgress) async -> AdminReply {
    do {
      return AdminReply(document: try await document(request, progress))
    } catch let error as APIError {
      return AdminReply(fault: error.text)
    } catch is RedisError {
      return AdminReply(fault: "Redis is not reachable")
    } catch {
      return AdminReply(fault: "\(error)")
    }
  }

  private func document(_ request: AdminRequest, _ progress: AdminProgress) async throws -> String {
    let arguments = request.arguments
    if RuntimeCommands.names.contains(request.command) { return try await runtime.document(request, progress) }
    switch request.command {
    case "status": return try encode(await status())
    case "ip list": return try encode(await fleet.list())
    case "ip pull":
      guard try await fleet.pull(arguments["address"] ?? "", reason: arguments["reason"] ?? "operator") else {
        throw Self.unknownIP(arguments)
      }
      return try encode(await fleet.list().filter { $0.address == IPAddress.canonical(arguments["address"] ?? "") })
    case "ip restore":
      guard try await fleet.restore(arguments["address"] ?? "") else { throw Self.unknownIP(arguments) }
      await reputation.overrule(IPAddress.canonical(arguments["address"] ?? "") ?? "", now: SystemClock.now())
      return try encode(await fleet.list().filter { $0.address == IPAddress.canonical(arguments["address"] ?? "") })
    case "ip warming" where arguments["handover"] != nil:
      guard let handover = try? JSONDecoder().decode(WarmingHandover.self, from: Data((arguments["handover"] ?? "").utf8)) else {
        throw APIError.bad("handover is not understood")
      }
      try await reputationRoutes.takeOverWarming(arguments["address"] ?? "", handover)
      return "null"
    case "ip warming":
      let day = arguments["day"].map { Int($0) ?? 0 }
      if let day, !(1...365).contains(day) { throw APIError.bad("day must be a whole number from 1 to 365") }
      try await reputationRoutes.setWarming(arguments["address"] ?? "", day: day)
      return try encode(await fleet.list().filter { $0.address == IPAddress.canonical(arguments["address"] ?? "") })
    case "queue list": return try encode(await queueRows(limit: Int(arguments["limit"] ?? "") ?? 50))
    case "queue explain":
      return try encode(await explainer.explain(arguments["id"] ?? "", organisation: arguments["org"]))
    case "message show":
      let entries = try await history.find(arguments["id"] ?? "", organisation: arguments["org"])
      guard entries.isEmpty else { return try encode(entries) }
      let live = try await explainer.explain(arguments["id"] ?? "", organisation: arguments["org"])
      return try encode([live])
    case "message trace": return try encode(try await trace(arguments))
    case "message resend", "message drop":
      let decision: UncertainMail.Decision = request.command == "message drop" ? .drop : .resend
      let mail = UncertainMail(explainer: explainer, host: queue.host)
      return JSONObject(try await mail.decide(decision, arguments["id"] ?? "", organisation: arguments["org"])).string
    case "org pause", "queue pause": return try await pause(arguments)
    case "org resume", "queue resume":
      let key = try QueueRoutes.key(arguments["scope"], arguments["name"])
      guard let released = try await pauses.resume(key) else { throw APIError(status: 404, text: "\(key) is not paused") }
      return JSONObject([("scope", .text(key.scope.rawValue)), ("name", .text(key.name)), ("released", .number(Int64(released)))]).string
    case "queue pauses":
      guard case .raw(let list) = await QueueRoutes.list(pauses) else { return "[]" }
      return list
    case "queue preview":
      let preview = try await queue.preview(
        try filter(arguments), in: arguments["places"] == "waiting" ? [.waiting] : QueueWalk.Place.allCases)
      return try encode(Preview(count: preview.count, sample: preview.sample.map(Waiting.init)))
    case "queue cancel", "queue flush": return Self.done(try await queue.cancel(try filter(arguments), progress: progress.tell))
    case "queue retry": return Self.done(try await queue.retry(try filter(arguments), progress: progress.tell))
    case "suppression list", "suppression add", "suppression remove": return try await suppression(request)
    case "breaker list": return await policy.breakers()
    case "breaker reset":
      guard try await policy.reset(arguments["org"] ?? "") else {
        throw APIError(status: 404, text: "\(arguments["org"] ?? "") has no breaker")
      }
      return JSONObject([("organizationId", .text(arguments["org"] ?? "")), ("state", .text("closed"))]).string
    case "top": return try encode(await top())
    case "dkim list": return try encode(try await keys.list().map(ListedKey.init))
    case "dkim add":
      let domain = arguments["domain"] ?? ""
      guard let ascii = DomainName.ascii(domain), DomainName.isMailDomain(ascii) else { throw APIError.bad("\(domain) is no domain name") }
      _ = try JSONBody(object: arguments).text("org", limit: 128)
      if let objection = arguments["org"].flatMap(Organisation.objection) { throw APIError.bad("org \(objection)") }
      return try await addKey(ascii, arguments)
    case "send":
      let body = arguments["body"] ?? ""
      let answer = try await send.handle(.send, .master) { ByteBuffer(string: body) }
      return answer.body
    default: throw APIError.bad("unknown command \(request.command)")
    }
  }

  /// Answers the record of the key that was asked for, whichever of the domain's keys that is.
  private func addKey(_ domain: String, _ arguments: [String: String]) async throws -> String {
    let selector = arguments["selector"]
    let owner: String?? = arguments["shared"] == nil ? arguments["org"].map { .some($0) } : .some(nil)
    func answer(_ selector: String, _ record: String, isCreated: Bool) -> String {
      JSONObject([
        ("domain", .text(domain)), ("selector", .text(selector)), ("dnsRecord", .text(record)),
        ("dnsName", .text("\(selector)._domainkey.\(domain)")), ("created", .bool(isCreated)),
      ]).string
    }
    do {
      if let pem = arguments["pem"] {
        let selector = selector ?? "s1"
        return answer(selector, try await keys.set(domain: domain, selector: selector, pem: pem, organisation: owner), isCreated: true)
      }
      let registration = try await keys.register(domain: domain, organisation: owner, selector: selector)
      return answer(registration.row.selector, registration.dnsRecord, isCreated: registration.isCreated)
    } catch let error as RenderError {
      throw APIError.bad("the key is not usable: \(error)")
    } catch let fault as KeyStore.Fault {
      throw APIError(status: 409, text: "\(domain): \(fault)")
    }
  }

  private static func unknownIP(_ arguments: [String: String]) -> APIError {
    APIError(status: 404, text: "\(arguments["address"] ?? "") is not an address of this installation")
  }

  private static func done(_ count: Int) -> String { JSONObject([("done", .number(Int64(count)))]).string }

  private func filter(_ arguments: [String: String]) throws(APIError) -> MessageFilter {
    var filter = MessageFilter()
    filter.id = arguments["id"]
    filter.organisation = arguments["org"]
    filter.domain = arguments["domain"]?.lowercased()
    filter.pool = arguments["pool"]
    filter.campaign = arguments["campaign"]
    filter.tag = arguments["tag"]
    guard !filter.isEmpty else { throw .bad("say which: a message id, --org, --domain, --pool, --campaign or --tag") }
    return filter
  }

  private func pause(_ arguments: [String: String]) async throws -> String {
    let key = try QueueRoutes.key(arguments["scope"], arguments["name"])
    if key.scope == .pool, !config.pools.contains(where: { $0.name == key.name }) {
      throw APIError(status: 404, text: "\(key.name) is no pool of this installation")
    }
    let held = try await pauses.pause(key, reason: arguments["reason"])
    var object = JSONObject([("scope", .text(key.scope.rawValue)), ("name", .text(key.name))])
    object.add("held", held.map(Int64.init))
    return object.string
  }

  // MARK: times as text

  struct ListedKey: Encodable, Sendable {
    var domain: String
    var selector: String
    var addedAt: String
    var rotatedAt: String
    var ed25519Selector: String?
    var organizationId: String?

    init(_ key: KeyStore.Listed) {
      domain = key.domain
      selector = key.selector
      addedAt = Timestamp.rfc3339(key.addedAt)
      rotatedAt = Timestamp.rfc3339(key.rotatedAt)
      ed25519Selector = key.ed25519Selector
      organizationId = key.organizationId
    }
  }

  struct Preview: Encodable, Sendable {
    var count: Int
    var sample: [Waiting]
  }

  struct Waiting: Encodable, Sendable {
    var id: String
    var messageId: String
    var organizationId: String
    var to: String
    var domain: String
    var ipPool: String
    var state: String
    var attempts: Int
    var acceptedAt: String
    var nextAttemptAt: String?
    var campaignId: String?

    init(_ job: QueueAdmin.Job) {
      id = job.id
      messageId = job.messageId
      organizationId = job.organizationId
      to = job.to
      domain = job.domain
      ipPool = job.ipPool
      state = job.state
      attempts = job.attempts
      acceptedAt = Timestamp.rfc3339(job.acceptedAt)
      nextAttemptAt = job.nextAttemptAt.map(Timestamp.rfc3339)
      campaignId = job.campaignId
    }
  }

  // MARK: one message's attempts

  struct Trace: Encodable, Sendable {
    var messageId: String
    var organizationId: String
    var attempt: Int
    var at: String
    var status: String
    var ip: String?
    var mx: String?
    var address: String?
    var stage: String?
    var smtpCode: Int?
    var enhancedCode: String?
    var reply: [String]?
    var text: String?
    var tls: String?
    var durationMs: Int64
  }

  private func trace(_ arguments: [String: String]) async throws -> [Trace] {
    let id = arguments["id"] ?? ""
    let rows = try await history.attempts(messageID: id, organisation: arguments["org"], since: 0)
    guard !rows.isEmpty else {
      // A message that waits for its first attempt has none to show; one that nobody knows is told so.
      _ = try await explainer.explain(id, organisation: arguments["org"])
      return []
    }
    guard Set(rows.map(\.record.organisation)).count == 1 else { throw Explainer.ambiguous }
    return rows.map { row in
      Trace(
        messageId: row.record.messageID, organizationId: row.record.organisation, attempt: row.serial, at: Timestamp.rfc3339(row.at),
        status: row.status, ip: row.result.sourceIP.isEmpty ? nil : row.result.sourceIP, mx: row.result.host,
        address: row.result.address, stage: row.result.stage?.rawValue, smtpCode: row.result.reply?.code,
        enhancedCode: row.result.reply?.enhanced?.description, reply: row.result.reply?.lines, text: row.result.text,
        tls: row.result.tls, durationMs: row.result.duration)
    }
  }

  // MARK: suppression

  struct Suppressed: Encodable, Sendable {
    var email: String
    var reason: String
    var source: String?
    var suppressedAt: String
    var expiresAt: String?
  }

  private func suppression(_ request: AdminRequest) async throws -> String {
    let arguments = request.arguments
    let scope = arguments["org"] ?? Suppressions.everybody
    let now = SystemClock.now()
    if request.command == "suppression list" {
      let limit = Int(arguments["limit"] ?? "") ?? 1000
      var found: [Suppressions.Entry] = []
      var cursor: String? = "0"
      while let at = cursor, found.count < limit {
        let page = try await suppressions.page(scope: scope, cursor: at, limit: 500, reason: arguments["reason"], now: now)
        found += page.entries
        cursor = page.next
      }
      return try encode(
        found.prefix(limit).map {
          Suppressed(
            email: $0.email, reason: $0.reason, source: $0.source, suppressedAt: Timestamp.rfc3339($0.suppressedAt),
            expiresAt: $0.expiresAt.map(Timestamp.rfc3339))
        })
    }
    guard let address = EmailAddress(arguments["email"] ?? "") else {
      throw APIError.bad("\(arguments["email"] ?? "") is no email address")
    }
    if request.command == "suppression remove" {
      guard try await suppressions.remove(address.normalised, scope: scope) else {
        throw APIError(status: 404, text: "\(address.normalised) is not suppressed")
      }
    } else {
      let reason = arguments["reason"] ?? "manual"
      guard Suppressions.reasons.contains(reason) else {
        throw APIError.bad("reason must be one of: " + Suppressions.reasons.joined(separator: ", "))
      }
      let entry = Suppressions.Entry(
        email: address.normalised, reason: reason, source: "operator", suppressedAt: now,
        expiresAt: reason == "manual" ? now + Suppressions.manualLife : nil)
      try await suppressions.add([entry], scope: scope)
    }
    return JSONObject([("email", .text(address.normalised)), ("organization", .text(scope))]).string
  }

  private func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
