import MTAConfig

/// Figures of what is looked at before mail is accepted.
struct ScreeningMetrics: Sendable {
  let inspectors: Inspectors

  func add(to page: inout MetricsPage) async {
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
}
