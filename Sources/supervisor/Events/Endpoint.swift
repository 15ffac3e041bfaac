import MTAConfig
import MailModel
import Synchronization

/// One webhook endpoint, by name (its URL).
struct Endpoint: Sendable, Equatable {
  var name: String
  var secret: String
  /// Empty = all.
  var events: Set<String>
  var ratePerSecond: Int

  init(_ webhook: MTAConfig.Webhook) {
    name = webhook.url
    secret = webhook.secret
    events = Set(webhook.events)
    ratePerSecond = webhook.ratePerSecond
  }

  func takes(_ event: DoneRecord.Event) -> Bool {
    events.isEmpty || events.contains(event.kind) || (event.fallbackJSON != nil && events.contains("failed"))
  }

  /// The event in words that this endpoint knows (DESIGN section 8.4).
  func body(_ event: EventOutbox.Pending) -> String {
    events.isEmpty || events.contains(event.kind) ? event.json : event.fallback ?? event.json
  }
}

/// The endpoints in force; a reload may change them.
final class Endpoints: Sendable {
  private let list = Mutex<[Endpoint]>([])

  var all: [Endpoint] { list.withLock { $0 } }
  func set(_ endpoints: [Endpoint]) { list.withLock { $0 = endpoints } }
}
