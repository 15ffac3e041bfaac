import DeliveryPolicy
import MailModel

/// The report for people.
extension SimulationReport {
  package var table: String {
    var header = ["DAY", "ARRIVED", "SENT", "BOUNCED", "EXPIRED", "DEFERRED", "WHY", "LEFT", "HELD BY"]
    // More would not fit a screen; the JSON has them.
    let shown = ips.count <= 6 ? ips.count : 0
    header += ips.prefix(shown).map { $0 + " (DAY CAP)" }
    let rows = days.map { day in
      ["\(day.number)", "\(day.arrived)", "\(day.delivered)", "\(day.bounced)", "\(day.expired)", "\(day.deferred)"]
        + [Self.list(day.deferrals, Cause.allCases.map(\.rawValue)), "\(day.left)", Self.list(day.held, Gate.allCases.map(\.rawValue))]
        + day.ips.prefix(shown).map { "\($0.attempts) (\(Self.standing($0)))" }
    }
    var lines = Self.columns([header] + rows)
    lines.append("")
    lines += Self.columns([["PROVIDER", "SENT", "BOUNCED", "DEFERRED"]] + byProvider)
    let told = warmingLines + breakerLines
    if !told.isEmpty { lines += [""] + told }
    lines.append("")
    lines.append(summary)
    if late > 0 { lines.append("\(late) messages waited longer than smtp.max_age before their first attempt: a queue would expire them") }
    return lines.joined(separator: "\n") + "\n"
  }

  private var warmingLines: [String] {
    events.compactMap { event in
      guard case .warming(let ip) = event.kind else { return nil }
      return "\(Self.when(event.at)): \(ips[ip]): \(event.text)"
    }
  }

  /// One line a sender: a breaker may open several times a day.
  private var breakerLines: [String] {
    var counts: [Int: (first: Milliseconds, times: Int)] = [:]
    for event in events {
      guard case .breaker(let organisation) = event.kind else { continue }
      counts[organisation, default: (event.at, 0)].times += 1
    }
    return counts.sorted { $0.key < $1.key }.map { organisation, count in
      "breaker of \(Self.sender(organisation)): opened \(count.times) times, first on \(Self.when(count.first))"
    }
  }

  static func sender(_ organisation: Int) -> String {
    organisation == 0 ? "the transactional sender" : "organization \(organisation)"
  }

  package var summary: String {
    let end =
      switch (clearedAt, doneAt) {
      case (let cleared?, let done?): "all tried by \(Self.when(cleared)), last retry ended \(Self.when(done))"
      case (let cleared?, nil): "all tried by \(Self.when(cleared)), \(left) still wait for a retry"
      default: "not done after \(days.count) days: \(left) left"
      }
    return "\(end); \(delivered) delivered, \(bounced) bounced, \(expired) expired of \(messages) messages (seed \(seed))"
  }

  private var byProvider: [[String]] {
    providers.indices.map { provider in
      var sums = (sent: 0, bounced: 0, deferred: 0)
      for day in days {
        for ip in day.ips {
          sums.sent += ip.cells[provider].delivered
          sums.bounced += ip.cells[provider].bounced
          sums.deferred += ip.cells[provider].deferred
        }
      }
      return [providers[provider].rawValue, "\(sums.sent)", "\(sums.bounced)", "\(sums.deferred)"]
    }
  }

  /// `day 3, 14:05`.
  static func when(_ at: Milliseconds) -> String {
    let minutes = Int(at / 60_000)
    let (hour, minute) = (minutes / 60 % 24, minutes % 60)
    return "day \(minutes / 1440 + 1), \(hour < 10 ? "0" : "")\(hour):\(minute < 10 ? "0" : "")\(minute)"
  }

  private static func standing(_ ip: IPDay) -> String {
    switch ip.phase {
    case .ramp: "\(ip.warmingDay) \(ip.cap ?? 0)"
    case .plateau: "\(ip.warmingDay) \(ip.cap ?? 0) halted"
    case .graduated, .exempt: "warm"
    }
  }

  private static func list(_ counts: [Int], _ names: [String]) -> String {
    let parts = zip(counts, names).filter { $0.0 > 0 }.sorted { $0.0 > $1.0 }.map { "\($0.1) \($0.0)" }
    return parts.isEmpty ? "-" : parts.joined(separator: ", ")
  }

  private static func columns(_ rows: [[String]]) -> [String] {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].utf8.count }.max() ?? 0 }
    return rows.map { row in
      let padded = zip(row, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.utf8.count)) }
      var line = padded.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}
