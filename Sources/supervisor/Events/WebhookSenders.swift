import MTAConfig
import Synchronization

/// One sender an endpoint; a reload starts, replaces and ends them while the others go on.
final class WebhookSenders: Sendable {
  // Asked from many loops, changed by a reload; held for a copy.
  private let list: Mutex<[WebhookSender]>
  private let outbox: EventOutbox
  private let make: @Sendable (Endpoint) -> WebhookSender
  private let changed = Signal()

  init(_ webhooks: [MTAConfig.Webhook], outbox: EventOutbox, make: @escaping @Sendable (Endpoint) -> WebhookSender) {
    let endpoints = webhooks.map(Endpoint.init)
    outbox.endpoints.set(endpoints)
    self.outbox = outbox
    self.make = make
    list = Mutex(endpoints.map(make))
  }

  var all: [WebhookSender] { list.withLock { $0 } }

  func sender(of endpoint: String) -> WebhookSender? { all.first { $0.endpoint.name == endpoint } }

  func wake() { for sender in all { sender.wake() } }

  /// Events of endpoints that are no more wait on disk, as over a restart.
  func set(_ webhooks: [MTAConfig.Webhook]) {
    let endpoints = webhooks.map(Endpoint.init)
    list.withLock { senders in
      let before = senders
      senders = endpoints.map { endpoint in before.first { $0.endpoint == endpoint } ?? make(endpoint) }
    }
    outbox.endpoints.set(endpoints)
    changed.fire()
  }

  /// Runs whoever is in the list, until cancelled. Who left has ended before his successor begins.
  func run() async {
    var running: [ObjectIdentifier: Task<Void, Never>] = [:]
    while !Task.isCancelled {
      let wanted = all
      let ids = Set(wanted.map { ObjectIdentifier($0) })
      for (id, task) in running where !ids.contains(id) {
        task.cancel()
        await task.value
        running[id] = nil
      }
      for sender in wanted where running[ObjectIdentifier(sender)] == nil {
        running[ObjectIdentifier(sender)] = Task { await sender.run() }
      }
      await changed.wait(atMost: .seconds(3600))
    }
    for task in running.values { task.cancel() }
    for task in running.values { await task.value }
  }
}
