import ArgumentParser
import Foundation
import Glibc

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "A live table: each IP and lane, what it sends, what it waits for.",
    discussion: "Ctrl-C ends it. Rates are of the time between two looks.")
  @Option(help: "Seconds between two looks.") var interval = 1.0
  @Flag(help: "One look, then end.") var once = false
  @OptionGroup var common: CommonOptions

  func run() {
    withFaults {
      guard interval >= 0.1, interval <= 3600 else { throw CommandFault(code: 2, text: "--interval must be 0.1 to 3600 seconds") }
      var before: (value: [String: Any], at: ContinuousClock.Instant)?
      while true {
        let document = try common.ask("top")
        if common.json { return print(document) }
        let now = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
        let at = ContinuousClock.now
        if isatty(1) == 1 && !once { print("\u{1B}[H\u{1B}[2J", terminator: "") }
        show(now, before?.value, seconds: before.map { (at - $0.at) / .seconds(1) } ?? 0)
        fflush(nil)
        if once { return }
        before = (now, at)
        usleep(UInt32(interval * 1_000_000))
      }
    }
  }

  private func show(_ now: [String: Any], _ before: [String: Any]?, seconds: Double) {
    var delivered: [String: Int] = [:]
    for row in before?["ips"] as? [[String: Any]] ?? [] { delivered[Table.text(row["address"])] = row["delivered"] as? Int }
    print("queued \(Table.text(now["queued"])), at workers \(Table.text(now["out"]))\n")
    Table.print(
      ["IP", "STATE", "SENT", "PER SECOND", "DEFERRED", "BOUNCED", "SENDING", "SESSIONS"],
      (now["ips"] as? [[String: Any]] ?? []).map { row in
        let count = row["delivered"] as? Int ?? 0
        // A worker that started anew counts from zero.
        let rate = delivered[Table.text(row["address"])].map { max(0, Double(count - $0)) / max(0.001, seconds) }
        return [
          Table.text(row["address"]), Table.text(row["state"]), String(count), rate.map { String(format: "%.1f", $0) } ?? "-",
          Table.text(row["deferred"]), Table.text(row["bounced"]), Table.text(row["transactions"]), Table.text(row["connections"]),
        ]
      })
    print("")
    Table.print(
      ["LANE", "OUT", "WINDOW", "RATE/MIN", "GATE", "UNTIL"],
      (now["lanes"] as? [[String: Any]] ?? []).map { row in
        ["lane", "out", "window", "ratePerMinute", "gate", "until"].map { Table.text(row[$0]) }
      })
  }
}
