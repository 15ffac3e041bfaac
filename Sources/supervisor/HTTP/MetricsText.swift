import ControlProtocol
import MailModel
import Observability

/// `GET /metrics`: the first few figures, in Prometheus's text form.
struct MetricsText: Sendable {
  let intake: Intake
  let dispatcher: Dispatcher
  let outcomes: OutcomeLoop
  let fleet: Fleet
  let outbox: EventOutbox
  let senders: [WebhookSender]

  func render() async -> String {
    let figures = await dispatcher.figures()
    var text = ""
    func metric(_ name: String, _ type: String, _ help: String, _ rows: [(labels: String, value: Int)]) {
      text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
      for row in rows { text += "\(name)\(row.labels) \(row.value)\n" }
    }
    metric("mta_accepted_total", "counter", "Messages accepted by this supervisor.", [("", await intake.accepted)])
    metric(
      "mta_accept_writes_total", "counter", "Accept calls to Redis; fewer than messages, by group commit.", [("", await intake.writes)])
    metric("mta_dispatched_total", "counter", "Messages given to workers.", [("", figures.dispatched)])
    metric("mta_outcomes_total", "counter", "Outcomes reduced.", [("", await outcomes.reduced)])
    metric("mta_queue_messages", "gauge", "Messages that wait for their turn now.", [("", figures.queued)])
    metric("mta_queue_groups", "gauge", "Groups that have mail.", [("", figures.groups)])
    metric("mta_messages_out", "gauge", "Messages in workers' hands.", [("", figures.out)])
    metric("mta_index_visits_total", "counter", "Index entries that picks looked at.", [("", figures.visits)])
    let statuses = await fleet.statuses()
    metric(
      "mta_worker_up", "gauge", "1 while the worker of this IP is active.",
      statuses.map { ("{ip=\"\($0.address)\"}", $0.state == .active ? 1 : 0) })
    metric(
      "mta_worker_delivered_total", "counter", "Deliveries of the worker since it started.",
      statuses.map { ("{ip=\"\($0.address)\"}", $0.status.delivered) })
    if let counts = try? await outbox.counts() {
      metric("mta_webhooks_pending", "gauge", "Events that wait for their endpoints.", [("", counts.pending)])
      metric("mta_webhooks_dead", "gauge", "Events refused for good.", [("", counts.dead)])
    }
    return text
  }
}
