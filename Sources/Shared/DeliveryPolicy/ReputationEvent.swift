package import MailModel

/// An event about an IP or about all of them, with the fields of the contract (section 2.3). All are upstream's own.
package struct ReputationEvent: Codable, Sendable, Equatable {
  package enum Kind: String, Codable, Sendable {
    case blocklisted = "ip.blocklisted"
    case delisted = "ip.delisted"
    case allBlocked = "all_ips_blocked"
  }

  package enum Severity: String, Codable, Sendable {
    case info, warning, critical
  }

  /// What receivers accept, in UTF-16 units (contract section 2.3): a longer field loses the whole event.
  package static let messageLimit = 512
  static let maxBlocklists = 100

  package var kind: Kind
  package var severity: Severity
  package var ip: String?
  package var message: String
  package var blocklists: [String]
  package var timestamp: Milliseconds

  package init(
    _ kind: Kind, severity: Severity, ip: String?, message: String, blocklists: [String], timestamp: Milliseconds
  ) {
    self.kind = kind
    self.severity = severity
    self.ip = ip
    self.message = Self.cut(message)
    self.blocklists = Array(blocklists.prefix(Self.maxBlocklists))
    self.timestamp = timestamp
  }

  /// The same for every telling of one transition, so that an event told twice is stored once.
  package var id: String { "\(kind.rawValue):\(ip ?? "all"):\(severity.rawValue):\(timestamp)" }

  package var json: String {
    var fields = [#""event":"# + JSONText.quoted(kind.rawValue)]
    if let ip { fields.append(#""ip":"# + JSONText.quoted(ip)) }
    if !blocklists.isEmpty { fields.append(#""blocklists":["# + blocklists.map(JSONText.quoted).joined(separator: ",") + "]") }
    fields.append(#""severity":"# + JSONText.quoted(severity.rawValue))
    fields.append(#""message":"# + JSONText.quoted(message))
    fields.append(#""timestamp":"# + String(timestamp))
    return "{" + fields.joined(separator: ",") + "}"
  }

  private static func cut(_ text: String) -> String {
    guard text.utf16.count > messageLimit else { return text }
    var kept = ""
    var units = 1
    for character in text {
      units += character.utf16.count
      guard units <= messageLimit else { break }
      kept.append(character)
    }
    return kept + "…"
  }
}
