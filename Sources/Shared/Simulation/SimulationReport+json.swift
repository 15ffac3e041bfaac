import DeliveryPolicy
import MailModel

/// The report for programs: one document, keys in a fixed order, so that equal runs make equal text.
extension SimulationReport {
  package var json: String {
    let fields = [
      ("seed", "\(seed)"), ("messages", "\(messages)"), ("delivered", "\(delivered)"), ("bounced", "\(bounced)"),
      ("expired", "\(expired)"), ("left", "\(left)"), ("late", "\(late)"), ("clearedAt", clearedAt.map { "\($0)" } ?? "null"),
      ("doneAt", doneAt.map { "\($0)" } ?? "null"),
      ("providers", Self.array(providers.map { Self.quoted($0.rawValue) })),
      ("longestWait", Self.object(Class.allCases.map { ("\($0)", "\(longestWait[$0.rawValue])") })),
      ("stops", Self.object(Class.allCases.map { ("\($0)", Self.counts(stops[$0.rawValue], Gate.allCases.map(\.rawValue))) })),
      ("days", Self.array(days.map(document))),
      ("events", Self.array(events.map(document))),
    ]
    return Self.object(fields)
  }

  private func document(_ event: Event) -> String {
    let scope =
      switch event.kind {
      case .warming(let ip): ("ip", Self.quoted(ips[ip]))
      case .breaker(let organisation): ("sender", Self.quoted(Self.sender(organisation)))
      }
    return Self.object([("at", "\(event.at)"), scope, ("text", Self.quoted(event.text))])
  }

  private func document(_ day: Day) -> String {
    Self.object([
      ("day", "\(day.number)"), ("arrived", "\(day.arrived)"), ("delivered", "\(day.delivered)"), ("bounced", "\(day.bounced)"),
      ("expired", "\(day.expired)"), ("deferrals", Self.counts(day.deferrals, Cause.allCases.map(\.rawValue))),
      ("held", Self.counts(day.held, Gate.allCases.map(\.rawValue))), ("left", "\(day.left)"),
      ("ips", Self.array(zip(ips, day.ips).map(document))),
    ])
  }

  private func document(_ name: String, _ ip: IPDay) -> String {
    let cells = zip(providers, ip.cells).map { provider, cell in
      (
        provider.rawValue,
        Self.object([
          ("attempts", "\(cell.attempts)"), ("delivered", "\(cell.delivered)"), ("bounced", "\(cell.bounced)"),
          ("deferred", "\(cell.deferred)"), ("cap", Self.number(cell.cap)),
        ])
      )
    }
    return Self.object([
      ("ip", Self.quoted(name)), ("phase", Self.quoted(ip.phase.rawValue)), ("warmingDay", "\(ip.warmingDay)"),
      ("cap", Self.number(ip.cap)), ("campaignCeiling", Self.number(ip.campaignCeiling)), ("attempts", "\(ip.attempts)"),
      ("campaignAttempts", "\(ip.campaignAttempts)"), ("delivered", "\(ip.delivered)"), ("providers", Self.object(cells)),
    ])
  }

  private static func counts(_ counts: [Int], _ names: [String]) -> String {
    object(zip(names, counts).map { ($0, "\($1)") })
  }

  private static func number(_ number: Int?) -> String { number.map { "\($0)" } ?? "null" }
  private static func array(_ items: [String]) -> String { "[" + items.joined(separator: ",") + "]" }

  private static func object(_ fields: [(String, String)]) -> String {
    "{" + fields.map { "\(quoted($0)):\($1)" }.joined(separator: ",") + "}"
  }

  private static func quoted(_ text: String) -> String { JSONText.quoted(text) }
}
