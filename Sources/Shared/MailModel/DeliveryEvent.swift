/// One event as it leaves by webhook. Field names and order are upstream's (contract section 2.3); the JSON is written
/// here once, and only stored and signed afterwards.
package struct DeliveryEvent: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    case sent, bounced, failed, deferred, uncertain, complained, unsubscribed
    case classified = "smtp.classified"
    case circuitBreaker = "org.circuit_breaker"
    case complaintRate = "campaign.complaint_rate"
    case blocklisted = "ip.blocklisted"
    case delisted = "ip.delisted"
    case warmingComplete = "ip.warming_complete"
    case allIPsBlocked = "all_ips_blocked"
    case inboundReceived = "inbound.received"

    /// Upstream knows it; the others are additive and go to endpoints whose list is empty or names them.
    package var isUpstream: Bool { self != .deferred && self != .uncertain && self != .unsubscribed }
  }

  package enum Value: Sendable, Equatable {
    case text(String)
    case number(Int64)
    /// A share, 0 to 1.
    case ratio(Double)
    case list([String])
  }

  package var kind: Kind
  package private(set) var fields: [(name: String, value: Value)] = []

  package init(_ kind: Kind) {
    self.kind = kind
    fields.append(("event", .text(kind.rawValue)))
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.kind == b.kind && a.fields.elementsEqual(b.fields) { $0.name == $1.name && $0.value == $1.value }
  }

  /// Empty and absent texts are left out: the receiver's guard wants present fields non-empty.
  package mutating func set(_ name: String, _ text: String?, limit: Int = 512) {
    guard let text, !text.isEmpty else { return }
    fields.append((name, .text(Self.cut(text, limit))))
  }

  package mutating func set(_ name: String, _ number: Int64) { fields.append((name, .number(number))) }

  /// Kept within 0 and 1, which the receiver's guard wants.
  package mutating func set(_ name: String, ratio: Double) {
    fields.append((name, .ratio(ratio.isFinite ? min(max(ratio, 0), 1) : 0)))
  }

  /// Empty lists are left out.
  package mutating func set(_ name: String, _ list: [String]) {
    if !list.isEmpty { fields.append((name, .list(list))) }
  }

  package subscript(_ name: String) -> Value? { fields.first { $0.name == name }?.value }

  package var json: String {
    var text = "{"
    for (index, field) in fields.enumerated() {
      if index > 0 { text += "," }
      text += JSONText.quoted(field.name) + ":"
      switch field.value {
      case .text(let value): text += JSONText.quoted(value)
      case .number(let value): text += String(value)
      case .ratio(let value): text += String(value)
      case .list(let values): text += "[" + values.map(JSONText.quoted).joined(separator: ",") + "]"
      }
    }
    return text + "}"
  }

  /// At most `limit` UTF-16 units, which is how the receiver counts; never half a character.
  private static func cut(_ text: String, _ limit: Int) -> String {
    guard text.utf16.count > limit else { return text }
    var kept = ""
    var units = 0
    for character in text {
      units += character.utf16.count
      guard units <= limit else { break }
      kept.append(character)
    }
    return kept
  }
}

/// JSON strings without Foundation.
package enum JSONText {
  package static func quoted(_ text: String) -> String {
    var output = "\""
    output.reserveCapacity(text.utf8.count + 8)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": output += "\\\""
      case "\\": output += "\\\\"
      case "\n": output += "\\n"
      case "\r": output += "\\r"
      case "\t": output += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output + "\""
  }
}
