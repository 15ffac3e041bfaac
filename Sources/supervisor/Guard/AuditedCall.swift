import ControlProtocol
import Foundation
import HTTPTypes
import NIOCore
import Synchronization

/// One call of the API that changes something, on its way into the audit log.
final class AuditedCall: Sendable {
  /// Members of a body that say what was touched. No other is written down: bodies hold keys and people's addresses.
  private static let told = [
    "organizationId", "domain", "selector", "scope", "name", "address", "ip", "pool", "day", "mode", "reason", "pattern", "provider",
    "allowedDomains",
  ]
  private static let largestBody = 64 << 10

  private let route: APIRoute
  private let token: String?
  private let details: Mutex<[String: String]>

  init(route: APIRoute, token: String?, parameters: [String: String], query: [String: String]) {
    self.route = route
    self.token = token
    details = Mutex(query.merging(parameters) { $1 })
  }

  /// Everything that is not a look, nor mail on its way.
  static func isAction(_ route: APIRoute) -> Bool {
    route.method != .get && route.method != .head && route.access != .open && !route.path.hasPrefix("/send")
  }

  func sees(_ body: ByteBuffer) {
    guard (1...Self.largestBody).contains(body.readableBytes),
      let object = (try? JSONSerialization.jsonObject(with: Data(body.readableBytesView))) as? [String: Any]
    else { return }
    for name in Self.told {
      let text: String
      switch object[name] {
      case let value as String: text = value
      case let value as NSNumber: text = "\(value)"
      case let value as [String]: text = value.joined(separator: " ")
      case is NSNull: text = "null"
      default: continue
      }
      details.withLock { $0[name] = $0[name] ?? text }
    }
  }

  func note(in audit: AuditLog, _ principal: Principal, _ peer: String?, _ answer: HTTPAnswer) async {
    let who: String
    switch principal {
    case .anonymous: who = "anonymous"
    case .master: who = "master key"
    case .organisation(let name, _): who = "key \(token.map { String(Credentials.id($0).prefix(12)) } ?? "?") of \(name)"
    }
    let isDone = (200..<300).contains(answer.status.code)
    await audit.note(
      who: who, from: peer, what: "\(route.method.rawValue) \(route.path)", details: details.withLock { $0 },
      outcome: isDone ? "done" : "refused: \(answer.status.code)")
  }
}

extension AdminCommands {
  /// - Parameter uid: of whoever asked.
  func answer(_ request: AdminRequest, progress: AdminProgress, from uid: Int64, _ audit: AuditLog) async -> AdminReply {
    let reply = await answer(request, progress: progress)
    if AuditLog.isAction(request.command) {
      await audit.note(
        who: "uid \(uid)", from: nil, what: request.command, details: request.arguments,
        outcome: (reply.fault ?? reply.document.flatMap(Self.refusal)).map { "refused: \($0.prefix(200))" } ?? "done")
    }
    return reply
  }

  /// A reload that was refused is answered by a report.
  private static func refusal(_ document: String) -> String? {
    struct Report: Decodable {
      struct Problem: Decodable { var text: String }
      var applied: Bool
      var problems: [Problem]
    }
    guard let report = try? JSONDecoder().decode(Report.self, from: Data(document.utf8)), !report.applied else { return nil }
    return report.problems.first?.text ?? "not applied"
  }
}
