/// What a server answered: three digits and its lines, whole (RFC 5321 §4.2). Data, never an error.
package struct SMTPReply: Sendable, Equatable {
  package var code: Int
  /// From the first line that carries one whose class fits the code (RFC 2034 §4).
  package var enhanced: EnhancedStatusCode?
  /// The text of each line, without code, separator and line end.
  package var lines: [String]

  package init(code: Int, lines: [String]) {
    self.code = code
    self.lines = lines
    self.enhanced = lines.lazy.compactMap { EnhancedStatusCode(startOf: $0) }.first { $0.subjectClass == code / 100 }
  }

  package var isPositive: Bool { (200...399).contains(code) }
  package var isTransient: Bool { (400...499).contains(code) }
  package var isPermanent: Bool { (500...599).contains(code) }
  /// All lines as one, for people and events.
  package var text: String { ([String(code)] + lines).joined(separator: " ") }
}

/// class.subject.detail (RFC 3463).
package struct EnhancedStatusCode: Sendable, Hashable, CustomStringConvertible {
  package let subjectClass: Int
  package let subject: Int
  package let detail: Int

  package init(_ subjectClass: Int, _ subject: Int, _ detail: Int) {
    self.subjectClass = subjectClass
    self.subject = subject
    self.detail = detail
  }

  /// Reads `5.1.1` at the start of a reply line; nil when the line starts otherwise.
  package init?(startOf line: some StringProtocol) {
    let word = line.prefix { $0 != " " && $0 != "\t" }
    let parts = word.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let a = Self.number(parts[0], 1), let b = Self.number(parts[1], 3),
      let c = Self.number(parts[2], 3), a == 2 || a == 4 || a == 5
    else { return nil }
    self.init(a, b, c)
  }

  private static func number(_ text: some StringProtocol, _ digits: Int) -> Int? {
    guard (1...digits).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int(text)
  }

  package var description: String { "\(subjectClass).\(subject).\(detail)" }
}

/// Where in a session something happened (RFC 5321 §3).
package enum SMTPStage: String, Sendable, Codable, CaseIterable {
  case connect, greeting, ehlo, starttls, mail, rcpt, data
  /// After the final dot.
  case dot
}
