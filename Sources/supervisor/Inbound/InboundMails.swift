import Foundation
import MailFormat
import MailModel
import SMTPServer

/// Mail of inbound routes: to an endpoint, to the webhooks, or held. Each is on disk when its client is told 250.
struct InboundMails: Sendable {
  let store: InboundStore
  let forwarder: InboundForwarder
  let counts: InboundCounts
  /// Whether a webhook takes this kind of event.
  let isTold: @Sendable (_ kind: String) -> Bool
  /// Stores events durably, each once by its id.
  let tell: @Sendable ([DoneRecord.Event]) async throws -> Void

  func take(
    _ mail: ReceivedMail, _ octets: [UInt8], _ authentication: MailAuthentication?, to recipient: String, by route: InboundRoutes.Route
  ) async throws {
    let payload = InboundPayload(
      octets: octets, returnPath: mail.returnPath, recipient: recipient, verdicts: authentication?.fields ?? [])
    let name = Array("\(mail.returnPath)\n\(recipient)\n\(Digest.hex(Digest.sha256(octets)))".utf8)
    var row = InboundStore.Mail(
      id: "in-" + Digest.hex(Array(Digest.sha256(name).prefix(16))), state: route.mode == .endpoint ? .forwarding : .held,
      routeID: route.id, from: payload.from, recipient: recipient, subject: payload.subject, size: octets.count,
      receivedAt: mail.receivedAt)
    let json = payload.json
    switch route.mode {
    case .endpoint:
      try await store.store(row, content: Array(json.utf8))
      forwarder.wake()
    case .hold: try await store.store(row, content: Array(json.utf8))
    // Told to nobody it would be gone.
    case .accept where !isTold(DeliveryEvent.Kind.inboundReceived.rawValue):
      row.reason = Self.untold
      try await store.store(row, content: Array(json.utf8))
    case .accept: try await tell([Self.event(row, json, route.organizationId, messageID: payload.messageID)])
    case .bounce, .reject: return
    }
    counts.add(.routed)
  }

  private static let untold = "no webhook takes inbound.received"

  /// To its endpoint after all.
  func forwardAgain(_ mail: InboundStore.Mail) async throws {
    try await store.resume(mail.id, as: .forwarding, tries: 0)
    forwarder.wake()
  }

  /// Told after all; then it is no longer held.
  /// - Throws: ``APIError`` when nobody would hear it; it is held still.
  func release(_ mail: InboundStore.Mail, organisation: String?) async throws {
    guard isTold(DeliveryEvent.Kind.inboundReceived.rawValue) else { throw APIError(status: 409, text: "Not released: \(Self.untold)") }
    guard let content = try await store.content(mail.id) else { return }
    try await tell([Self.event(mail, String(decoding: content, as: UTF8.self), organisation, messageID: nil)])
    try await store.drop(mail.id)
  }

  /// `inbound.received` (contract section 2.3).
  private static func event(_ mail: InboundStore.Mail, _ payload: String, _ organisation: String?, messageID: String?) -> DoneRecord.Event {
    var head = DeliveryEvent(.inboundReceived)
    head.set("messageId", messageID ?? mail.id)
    head.set("organizationId", organisation ?? Organisation.system, limit: 128)
    head.set("message", "Inbound from \(mail.from) to \(mail.recipient)")
    let json = head.json.dropLast() + ",\"inboundPayload\":\(payload),\"timestamp\":\(mail.receivedAt)}"
    return DoneRecord.Event(id: mail.id, kind: head.kind.rawValue, json: String(json), fallbackJSON: nil)
  }
}
