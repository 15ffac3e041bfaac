/// Figures of the mail that came in.
struct InboundMetrics: Sendable {
  let counts: InboundCounts
  let mails: InboundStore

  func add(to page: inout MetricsPage) async {
    page.add(
      "mta_inbound_mail_total", .counter, "Mail that came in, and addresses that were refused, by what became of it.",
      counts.all.map { ([("kind", $0.key.rawValue)], Double($0.value)) }.sorted { "\($0.0)" < "\($1.0)" })
    page.add(
      "mta_inbound_waiting_bytes", .gauge, "Octets of that mail on disk; bounce.inbound_max_mib bounds them.", [([], Double(mails.size))])
    guard let waiting = try? await mails.counts() else { return }
    page.add(
      "mta_inbound_waiting", .gauge,
      "Mail of inbound routes on disk: forwarding (its endpoint has not taken it), on_hold, or relaying (to the postmaster).",
      [
        ([("state", "forwarding")], Double(waiting[.forwarding] ?? 0)), ([("state", "on_hold")], Double(waiting[.held] ?? 0)),
        ([("state", "relaying")], Double(waiting[.relaying] ?? 0)),
      ])
  }
}
