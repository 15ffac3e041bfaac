internal import MailModel

/// The events of one outcome, fields in upstream's order (contract section 2.3; additive ones: DESIGN section 8.4).
struct EventWriter {
  let input: ReducerInput
  let provider: MailboxProvider
  let now: Milliseconds

  private var isMemberTest: Bool { input.record.deliveryDomain == "member_test" }

  private func begin(_ kind: DeliveryEvent.Kind) -> DeliveryEvent {
    var event = DeliveryEvent(kind)
    event.set("messageId", input.record.messageID)
    event.set("organizationId", input.record.organisation, limit: 128)
    return event
  }

  private func end(_ event: DeliveryEvent) -> DeliveryEvent {
    var event = event
    event.set("timestamp", now)
    event.set("deliveryDomain", input.record.deliveryDomain)
    return event
  }

  func sent(_ reply: SMTPReply) -> DeliveryEvent {
    var event = begin(.sent)
    if !isMemberTest {
      event.set("recipient", input.record.recipient, limit: 320)
      event.set("destinationProvider", provider.eventName)
      event.set("primarySendingDomain", RegistrableDomain.of(input.record.dkimDomain), limit: 253)
    }
    event.set("remoteMessageId", Self.remoteMessageID(reply))
    return end(event)
  }

  func bounced(hard: Bool, _ text: String) -> DeliveryEvent {
    var event = begin(.bounced)
    event.set("bounceType", hard ? "hard" : "soft")
    event.set("message", text)
    return end(event)
  }

  func failed(code: String, _ text: String) -> DeliveryEvent {
    var event = begin(.failed)
    event.set("message", text)
    event.set("errorCode", code, limit: 128)
    return end(event)
  }

  func classified(_ reply: SMTPReply) -> DeliveryEvent {
    var event = begin(.classified)
    if !isMemberTest { event.set("destinationProvider", provider.eventName) }
    event.set("smtpCategory", ReplyClassifier.category(reply, provider: provider).rawValue)
    return end(event)
  }

  func deferred(_ reply: SMTPReply?, nextAttemptAt: Milliseconds, attempt: Int) -> DeliveryEvent {
    var event = contact(.deferred)
    event.set("message", reply?.text ?? input.result.text ?? "deferred")
    if let reply {
      event.set("smtpCode", Int64(reply.code))
      event.set("enhancedCode", reply.enhanced?.description)
    }
    event.set("category", ReplyClassifier.category(reply, provider: provider).rawValue)
    event.set("attempt", Int64(attempt))
    event.set("nextAttemptAt", nextAttemptAt)
    return end(event)
  }

  func uncertain() -> DeliveryEvent {
    var event = contact(.uncertain)
    event.set("message", Self.uncertainText(input.result.text))
    event.set("category", ReplyCategory.networkError.rawValue)
    event.set("attempt", Int64(input.deferrals + 1))
    return end(event)
  }

  /// The same for endpoints that know upstream's events only: severity `warning`, no `errorCode`.
  func uncertainFallback() -> DeliveryEvent {
    var event = begin(.failed)
    event.set("message", Self.uncertainText(input.result.text))
    event.set("severity", "warning")
    return end(event)
  }

  private func contact(_ kind: DeliveryEvent.Kind) -> DeliveryEvent {
    var event = begin(kind)
    if !isMemberTest {
      event.set("recipient", input.record.recipient, limit: 320)
      event.set("destinationProvider", provider.eventName)
    }
    event.set("ip", input.result.sourceIP, limit: 64)
    return event
  }

  private static func uncertainText(_ detail: String?) -> String {
    "cut off between the final dot and its reply: delivered or not, unknown"
      + (detail.map { " (\($0))" } ?? "")
  }

  /// Text inside the first `<…>` of the final reply.
  private static func remoteMessageID(_ reply: SMTPReply) -> String? {
    for line in reply.lines {
      guard let open = line.firstIndex(of: "<"), let close = line[open...].firstIndex(of: ">") else { continue }
      let inside = line[line.index(after: open)..<close]
      if !inside.isEmpty { return String(inside) }
    }
    return nil
  }
}

/// The domain under a public suffix. Known two-label suffixes are named; without the whole public suffix list the rest
/// counts as one-label suffixes.
enum RegistrableDomain {
  private static let secondLevels: Set<String> = ["co", "com", "org", "net", "ac", "gov", "edu", "or", "ne", "go"]

  static func of(_ domain: String) -> String {
    let labels = domain.lowercased().split(separator: ".")
    guard labels.count > 2, let top = labels.last else { return domain.lowercased() }
    let isTwoLabel = top.utf8.count == 2 && secondLevels.contains(String(labels[labels.count - 2]))
    return labels.suffix(isTwoLabel ? 3 : 2).joined(separator: ".")
  }
}
