import MTAConfig
import MailModel

/// Figures of what is looked at before mail is accepted, and of what comes back of it.
struct FurtherMetrics: Sendable {
  let inspectors: Inspectors
  let bulk: BulkSenders
  let returned: ReturnedMail
  let book: PolicyBook

  func add(to page: inout MetricsPage) async {
    await inspections(&page)
    await bulkSenders(&page)
    await feedback(&page)
  }

  private func inspections(_ page: inout MetricsPage) async {
    var rows: [MetricsPage.Row] = []
    let counts = await inspectors.counts
    for kind in Set(inspectors.inspectors.map(\.kind)).sorted(by: { $0.rawValue < $1.rawValue }) {
      for result in Inspectors.Result.allCases {
        rows.append(
          ([("inspector", kind.rawValue), ("result", result.rawValue)], Double(counts[.init(kind: kind, result: result)] ?? 0)))
      }
    }
    page.add(
      "mta_inspections_total", .counter,
      "Contents shown to an inspector: clean, rejected, or error when it did not answer (mail then passes or is refused, as configured).",
      rows)
  }

  private func bulkSenders(_ page: inout MetricsPage) async {
    var senders: [MailboxProvider: Int] = [:]
    for row in await book.bulkSenders() { if let provider = row.key.provider { senders[provider, default: 0] += 1 } }
    func rows(_ counts: [MailboxProvider: Int]) -> [MetricsPage.Row] {
      counts.sorted { $0.key.rawValue < $1.key.rawValue }.map { ([("isp", $0.key.rawValue)], Double($0.value)) }
    }
    page.add("mta_bulk_senders", .gauge, "Organizations that a provider's rules for bulk senders apply to.", rows(senders))
    page.add(
      "mta_one_click_missing_total", .counter,
      "Promotional messages of bulk senders without one-click unsubscription (RFC 8058), accepted with a warning.",
      rows(bulk.missingOneClick))
  }

  private func feedback(_ page: inout MetricsPage) async {
    let counts = await returned.counts.sorted { "\($0.key)" < "\($1.key)" }
    page.add(
      "mta_fbl_complaints_total", .counter, "Complaints that were attributed to a message, by the provider that it went to.",
      counts.filter { $0.key.kind == "complaint" }.map {
        ([("isp", $0.key.provider.rawValue), ("attributed", "true")], Double($0.value))
      })
    page.add(
      "mta_late_bounces_total", .counter, "Bounces that came as mail, after the delivery, by type (hard, soft).",
      counts.filter { $0.key.kind != "complaint" }.map { ([("type", $0.key.kind), ("isp", $0.key.provider.rawValue)], Double($0.value)) })
    let answers = await returned.answers
    page.add(
      "mta_feedback_total", .counter,
      "Complaints and late bounces by what was done: taken, repeated, ended (it was not delivered), early (its end is not on disk), unknown.",
      ReturnedMail.Answer.allCases.compactMap { answer in
        answers[answer].map { ([("result", answer.rawValue)], Double($0)) }
      })
  }
}
