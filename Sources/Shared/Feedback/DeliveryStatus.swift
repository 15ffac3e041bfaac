internal import MIME

/// The fields of a message/delivery-status body (RFC 3464 §2), in groups: first the message's, then one a recipient. Borne:
/// missing or extra empty lines, several recipients in a group, values wrapped without indentation.
struct DeliveryStatus {
  typealias Group = [(name: String, value: String)]

  private(set) var message: Group = []
  private(set) var recipients: [Group] = []

  static let maxRecipients = 512
  private static let recipientStarts: Set<String> = ["original-recipient", "final-recipient"]
  private static let known: Set<String> = [
    "original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code", "last-attempt-date", "final-log-id",
    "will-retry-until", "x-actual-recipient", "localized-description", "x-display-name", "x-supplementary-info",
  ]

  init(_ octets: [UInt8]) {
    var groups: [Group] = [[]]
    var scanner = LineScanner(octets[...])
    var isBroken = false
    while let line = scanner.next(), groups.count <= Self.maxRecipients {
      if line.trimmed.isEmpty {
        if groups.last?.isEmpty == false { groups.append([]) }
        continue
      }
      let last = groups.count - 1
      if let (name, valueStart) = HeaderBlock.fieldName(line) {
        let value = EncodedWords.decode(Array(line[valueStart...].trimmed.prefix(4096)))
        if name == "final-recipient", groups[last].contains(where: { $0.name == name }) {
          // Another recipient without an empty line between; its original address came just before.
          var next: Group = []
          if let tail = groups[last].last, tail.name == "original-recipient", groups[last].count(where: { $0.name == tail.name }) > 1 {
            next = [groups[last].removeLast()]
          }
          groups.append(next + [(name, value)])
        } else if groups[last].count < 64 {
          groups[last].append((name, value))
        }
        isBroken = false
      } else if let tail = groups[last].indices.last, groups[last][tail].value.utf8.count < 4096 {
        if line.starts(with: [0x2D, 0x2D]) { isBroken = true }
        if !isBroken { groups[last][tail].value += " " + EncodedWords.decode(Array(line.trimmed.prefix(1024))) }
      }
    }
    for group in groups where !group.isEmpty {
      let startsRecipient = group.contains { Self.recipientStarts.contains($0.name) || $0.name == "x-actual-recipient" }
      if startsRecipient {
        recipients.append(group)
      } else if !recipients.isEmpty, group.contains(where: { Self.known.contains($0.name) }) {
        recipients[recipients.count - 1] += group
      } else if recipients.isEmpty {
        message += group
      }
    }
  }

  static func value(_ group: Group, _ name: String) -> String? { group.first { $0.name == name }?.value }

  /// Whether text that is not marked so is the body of a delivery-status.
  static func isStatus(_ text: ASCIIText) -> Bool {
    text.contains("final-recipient:") && (text.contains("action:") || text.contains("status:"))
  }
}
