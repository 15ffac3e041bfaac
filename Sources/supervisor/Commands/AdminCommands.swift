import ControlProtocol
import Foundation
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import Observability
import Redis

/// What the running supervisor does for each command; one exhaustive place.
struct AdminCommands: Sendable {
  let config: MTAConfig
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

  func answer(_ request: AdminRequest) async -> AdminReply {
    do {
      return AdminReply(document: try await document(request))
    } catch let error as APIError {
      return AdminReply(fault: error.text)
    } catch is RedisError {
      return AdminReply(fault: "Redis is not reachable")
    } catch {
      return AdminReply(fault: "\(error)")
    }
  }

  private func document(_ request: AdminRequest) async throws -> String {
    let arguments = request.arguments
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
      return try encode(await fleet.list().filter { $0.address == IPAddress.canonical(arguments["address"] ?? "") })
    case "queue list": return try encode(await queueRows(limit: Int(arguments["limit"] ?? "") ?? 50))
    case "queue explain":
      return try encode(await explainer.explain(arguments["id"] ?? "", organisation: arguments["org"]))
    case "message show":
      let entries = try await history.find(arguments["id"] ?? "", organisation: arguments["org"])
      guard entries.isEmpty else { return try encode(entries) }
      let live = try await explainer.explain(arguments["id"] ?? "", organisation: arguments["org"])
      return try encode([live])
    case "dkim list": return try encode(try await keys.list())
    case "dkim add":
      let domain = arguments["domain"] ?? ""
      guard let ascii = DomainName.ascii(domain), DomainName.isMailDomain(ascii) else { throw APIError.bad("\(domain) is no domain name") }
      if let pem = arguments["pem"] {
        do { try await keys.set(domain: ascii, selector: arguments["selector"] ?? "s1", pem: pem) } catch let error as RenderError {
          throw APIError.bad("the key is not usable: \(error)")
        }
      }
      let registration = try await keys.register(domain: ascii, returnPathHost: nil)
      return JSONObject([
        ("domain", .text(ascii)), ("selector", .text(registration.row.selector)), ("dnsRecord", .text(registration.dnsRecord)),
        ("dnsName", .text("\(registration.row.selector)._domainkey.\(ascii)")), ("created", .bool(registration.isCreated)),
      ]).string
    case "send":
      let body = arguments["body"] ?? ""
      let answer = try await send.handle(.send, .master) { ByteBuffer(string: body) }
      return answer.body
    default: throw APIError.bad("unknown command \(request.command)")
    }
  }

  private static func unknownIP(_ arguments: [String: String]) -> APIError {
    APIError(status: 404, text: "\(arguments["address"] ?? "") is not an address of this installation")
  }

  struct Status: Codable, Sendable {
    var version: String
    var host: String
    var pid: Int32
    var uptimeSeconds: Int64
    var redis: String
    var queued: Int
    var groups: Int
    var dispatched: Int
    var accepted: Int
    var webhooksPending: Int
    var webhooksDead: Int
    var ips: [String: Int]
    var sandbox: Bool
  }

  private func status() async throws -> Status {
    let figures = await dispatcher.figures()
    let counts = try await outbox.counts()
    var states: [String: Int] = [:]
    for row in await fleet.list() { states[row.state.rawValue, default: 0] += 1 }
    return Status(
      version: APIServer.version, host: host, pid: ProcessInfo.processInfo.processIdentifier,
      uptimeSeconds: (SystemClock.now() - startedAt) / 1000,
      redis: store.client.session != nil ? "connected" : "disconnected: \(store.client.lastFault ?? "starting")",
      queued: (try? await store.liveCount()) ?? figures.queued, groups: figures.groups, dispatched: figures.dispatched,
      accepted: await send.intake.accepted, webhooksPending: counts.pending, webhooksDead: counts.dead, ips: states,
      sandbox: config.smtp.sandbox)
  }

  struct QueueRow: Encodable, Sendable {
    var domain: String
    var pool: String
    var organization: String
    var messages: Int
    var oldest: String
    var gates: [Explanation.Shut]
  }

  /// The largest parts first. Reads the directory: for an operator, not for the dispatcher.
  private func queueRows(limit: Int) async throws -> [QueueRow] {
    var heads: [QueueHead] = []
    try await store.readDirectory { heads += $0 }
    heads.sort { $0.count > $1.count }
    var rows: [QueueRow] = []
    for head in heads.prefix(max(1, limit)) {
      rows.append(
        QueueRow(
          domain: head.part.group.domain, pool: head.part.group.set, organization: head.part.organisation, messages: head.count,
          oldest: Timestamp.rfc3339(head.score), gates: await dispatcher.gates(of: head.part).map(Explanation.Shut.init)))
    }
    return rows
  }

  private func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
