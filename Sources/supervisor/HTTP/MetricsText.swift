import ControlProtocol
import MailModel
import Observability
import Redis

/// `GET /metrics` in Prometheus's text form. Every name, unit and label is explained by its HELP line; labels are bounded:
/// IPs, pools, providers, states and reasons, never a domain, an organisation or a message.
struct MetricsText: Sendable {
  let intake: Intake
  let dispatcher: Dispatcher
  let outcomes: OutcomeLoop
  let fleet: Fleet
  let outbox: EventOutbox
  let senders: WebhookSenders
  let deliveries: DeliveryMetrics
  let further: FurtherMetrics
  let store: QueueStore
  let startedAt: Milliseconds
  let inbound: InboundMetrics

  func render() async -> String {
    var page = MetricsPage()
    await intakeAndQueue(&page)
    attempts(&page)
    await workers(&page)
    await webhooks(&page)
    await further.add(to: &page)
    await inbound.add(to: &page)
    page.add("mta_redis_connected", .gauge, "1 while Redis is connected.", [([], store.client.session == nil ? 0 : 1)])
    page.add(
      "mta_start_time_seconds", .gauge, "When this supervisor started, Unix time in seconds.", [([], Double(startedAt) / 1000)])
    return page.text
  }

  private func intakeAndQueue(_ page: inout MetricsPage) async {
    let figures = await dispatcher.figures()
    page.add("mta_accepted_total", .counter, "Messages accepted by this supervisor.", [([], Double(await intake.accepted))])
    page.add(
      "mta_deduplications_total", .counter, "Messages that were accepted before and not again.", [([], Double(await intake.duplicates))])
    page.add(
      "mta_accept_writes_total", .counter, "Accept calls to Redis; fewer than messages, by group commit.",
      [([], Double(await intake.writes))])
    page.add("mta_dispatched_total", .counter, "Messages given to workers.", [([], Double(figures.dispatched))])
    page.add("mta_outcomes_total", .counter, "Outcomes reduced.", [([], Double(await outcomes.reduced))])
    let waiting = (try? await store.waitingCount()) ?? 0
    page.add(
      "mta_queue_depth", .gauge, "Messages by state: queued (their turn is now), waiting (for their time), active (at a worker).",
      [
        ([("state", "queued")], Double(figures.queued)), ([("state", "waiting")], Double(waiting)),
        ([("state", "active")], Double(figures.out)),
      ])
    page.add("mta_queue_groups", .gauge, "Groups (set of IPs and recipient domain) that have mail.", [([], Double(figures.groups))])
    // Its score has the hours of its band in it: the time itself is in the record.
    var oldest: Milliseconds?
    if let part = figures.oldest, let numbers = try? await store.queued(part, from: 0, limit: 1) {
      oldest = (try? await store.peek(numbers))?.first?.record.acceptedAt
    }
    page.add(
      "mta_queue_oldest_age_seconds", .gauge, "Age of the message that leaves first of those whose turn is now; 0 when none waits.",
      [([], oldest.map { max(0, Double(SystemClock.now() - $0) / 1000) } ?? 0)])
    page.add("mta_index_visits_total", .counter, "Index entries that picks looked at.", [([], Double(figures.visits))])
    var gated: [String: Int] = [:]
    for row in await dispatcher.allGates() { gated[row.gate.reason.rawValue, default: 0] += row.messages }
    page.add(
      "mta_gated_messages", .gauge, "Messages behind a shut gate, by its reason; one message may stand behind several.",
      gated.sorted { $0.key < $1.key }.map { ([("reason", $0.key)], Double($0.value)) })
  }

  private func attempts(_ page: inout MetricsPage) {
    let counts = deliveries.counts
    func rows(_ table: [DeliveryMetrics.Key: Int], _ labels: (DeliveryMetrics.Key) -> [(String, String)]) -> [MetricsPage.Row] {
      table.map { (labels($0.key), Double($0.value)) }.sorted { "\($0.0)" < "\($1.0)" }
    }
    page.add(
      "mta_emails_sent_total", .counter, "Attempts by outcome: delivered, bounced, deferred, rejected, error.",
      rows(counts.attempts) { [("pool", $0.pool), ("isp", $0.provider.rawValue), ("outcome", $0.outcome)] })
    page.add(
      "mta_bounces_total", .counter, "Bounces by type, hard or soft.",
      rows(counts.bounces) { [("type", $0.outcome), ("isp", $0.provider.rawValue)] })
    page.addHistograms(
      "mta_smtp_duration_seconds", "Time of an attempt, from taking the message up to its result, in seconds.",
      counts.durations.sorted { "\($0.key)" < "\($1.key)" }.map { ([("pool", $0.key.pool), ("isp", $0.key.provider.rawValue)], $0.value) })
  }

  private func workers(_ page: inout MetricsPage) async {
    let statuses = await fleet.statuses()
    func rows(_ value: (WorkerStatus) -> Int) -> [MetricsPage.Row] {
      statuses.map { ([("ip", $0.address)], Double(value($0.status))) }
    }
    page.add(
      "mta_worker_up", .gauge, "1 while the worker of this IP takes mail.",
      statuses.map { ([("ip", $0.address)], [.active, .warming, .probation].contains($0.state) ? 1 : 0) })
    page.add("mta_worker_delivered_total", .counter, "Deliveries of the worker since it started.", rows(\.delivered))
    page.add("mta_worker_deferred_total", .counter, "Deferrals of the worker since it started.", rows(\.deferred))
    page.add("mta_worker_bounced_total", .counter, "Permanent refusals of the worker since it started.", rows(\.bounced))
    page.add("mta_worker_transactions", .gauge, "Attempts that the worker is at.", rows(\.transactions))
    page.add("mta_active_connections", .gauge, "SMTP sessions that the worker holds.", rows(\.connections))
    page.add("mta_worker_queued", .gauge, "Messages in the worker's hands that have not begun.", rows(\.queued))
  }

  private func webhooks(_ page: inout MetricsPage) async {
    guard let counts = try? await outbox.counts() else { return }
    page.add("mta_webhooks_pending", .gauge, "Events that wait for their endpoints.", [([], Double(counts.pending))])
    page.add("mta_webhooks_dead", .gauge, "Events refused for good.", [([], Double(counts.dead))])
    var delivered = 0
    var down = 0
    for sender in senders.all {
      delivered += await sender.delivered
      if await sender.isDown { down += 1 }
    }
    page.add(
      "mta_webhooks_delivered_total", .counter, "Events that endpoints took since this supervisor started.", [([], Double(delivered))])
    page.add("mta_webhook_endpoints_down", .gauge, "Endpoints that do not answer or answer 408, 429 or 5xx.", [([], Double(down))])
  }
}

/// The text in the making.
struct MetricsPage {
  enum Kind: String { case counter, gauge }
  typealias Row = (labels: [(String, String)], value: Double)

  private(set) var text = ""

  /// A family without rows is left out: it would say nothing but its name.
  mutating func add(_ name: String, _ kind: Kind, _ help: String, _ rows: [Row]) {
    guard !rows.isEmpty else { return }
    head(name, kind.rawValue, help)
    for row in rows { line(name, row.labels, row.value) }
  }

  mutating func addHistograms(_ name: String, _ help: String, _ rows: [(labels: [(String, String)], histogram: DeliveryMetrics.Histogram)])
  {
    guard !rows.isEmpty else { return }
    head(name, "histogram", help)
    for row in rows {
      var count = 0
      for (index, bound) in (DeliveryMetrics.Histogram.bounds.map { Self.number($0) } + ["+Inf"]).enumerated() {
        count += row.histogram.counts[index]
        line(name + "_bucket", row.labels + [("le", bound)], Double(count))
      }
      line(name + "_sum", row.labels, row.histogram.sum)
      line(name + "_count", row.labels, Double(count))
    }
  }

  private mutating func head(_ name: String, _ kind: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
  }

  private mutating func line(_ name: String, _ labels: [(String, String)], _ value: Double) {
    let list = labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
    text += name + (list.isEmpty ? "" : "{\(list)}") + " \(Self.number(value))\n"
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
