internal import MIME

/// Addresses of a ``Notice`` with what it says about each. Structure first: a line that begins with an address, as nearly all
/// mail systems write (`<a@b>:`, `a@b`, `a@b... reason`, `a@b on DATE`), then `Label: a@b`, then addresses in sentences that speak
/// of a failure.
struct NoticeEntries {
  struct Entry {
    var address: String
    var original: String?
    var diagnostic: String
  }

  enum Certainty: Int { case none, weakLabel, sentence, label, head }

  private(set) var entries: [Entry] = []
  private(set) var certainty = Certainty.none
  /// The line before the first address speaks of a failure: `Your message could not be delivered to`.
  private(set) var isIntroduced = false

  private struct Candidate {
    var address: String
    var original: String?
    var line: Int
    /// What follows the address on its line.
    var rest: String
    var certainty: Certainty
    /// `<a@b>:`, as Postfix and qmail name a recipient and nobody names a contact.
    var isFormal = false
  }

  /// - Parameter foreign: addresses, in lower case, of whoever wrote the report or gets it.
  init(_ notice: Notice, foreign: Set<String>) {
    var candidates: [Candidate] = []
    for (index, line) in notice.lines.enumerated() {
      guard candidates.count < DeliveryStatus.maxRecipients, line.utf8.contains(0x40) else { continue }
      candidates += Self.candidates(line, index, notice.lines)
    }
    // Reports name postmasters and help desks to write to; mail goes to such addresses too.
    let addressed = Set(AddressText.matches(notice.returned?.first("to") ?? "").map { $0.address.lowercased() })
    let named = candidates.filter { $0.isFormal || !Self.isRole($0.address) || addressed.contains($0.address.lowercased()) }
    let usable = named.filter { !foreign.contains($0.address.lowercased()) }
    let second = named.filter { $0.certainty.rawValue >= Certainty.label.rawValue }
    for pool in [usable, second] {
      guard let best = pool.map(\.certainty.rawValue).max(), let level = Certainty(rawValue: best), level != .none else { continue }
      certainty = level
      let lead = pool.first { $0.certainty == level }.flatMap { first in notice.lines[..<first.line].last { !$0.allSatisfy(\.isWhitespace) }
      }
      isIntroduced = lead.map { ASCIIText($0) }.map { $0.containsAny(FeedbackWords.failures) && !$0.contains("please") } ?? false
      fill(pool.filter { $0.certainty == level }, notice.lines)
      return
    }
  }

  private mutating func fill(_ chosen: [Candidate], _ lines: [String]) {
    var seen: [String: Int] = [:]
    let starts = Set(chosen.map(\.line))
    for candidate in chosen {
      let diagnostic = Self.diagnostic(candidate.rest, after: candidate.line, lines, stops: starts)
      let key = candidate.address.lowercased()
      if let known = seen[key] {
        if entries[known].diagnostic.utf8.count < 8 { entries[known].diagnostic = diagnostic }
        continue
      }
      seen[key] = entries.count
      entries.append(Entry(address: candidate.address, original: candidate.original, diagnostic: diagnostic))
    }
    // A list of addresses shares the reason that follows it.
    for index in entries.indices.reversed().dropFirst() where entries[index].diagnostic.isEmpty {
      entries[index].diagnostic = entries[index + 1].diagnostic
    }
  }

  private static func candidates(_ line: String, _ index: Int, _ lines: [String]) -> [Candidate] {
    let bytes = Array(line.utf8.prefix(2_048))
    let matches = AddressText.matches(bytes)
    guard let first = matches.first else { return [] }
    let before = bytes[..<first.range.lowerBound][...]
    let rest = String(decoding: bytes[first.range.upperBound...], as: UTF8.self)
    let head = before.drop {
      $0 == 0x20 || $0 == 0x09 || $0 == 0x2A || $0 == 0x2D || $0 == 0x3E || $0 == 0x22 || $0 == 0x27 || $0 == 0x28 || $0 == 0x5B
        || $0 >= 0x80
    }
    if head.isEmpty {
      var original: String?
      let lower = ASCIIText(rest)
      if matches.count > 1, lower.contains("generated from") || lower.contains("expanded from") { original = matches[1].address }
      if isHeadRest(rest) {
        var list = [Candidate(address: first.address, original: original, line: index, rest: rest, certainty: .head)]
        list[0].isFormal = first.isBracketed && rest.hasPrefix(":")
        // "a@b, c@d" or "a@b c@d"
        if original == nil, matches.count > 1, isList(bytes, matches) {
          list = matches.map { Candidate(address: $0.address, line: index, rest: "", certainty: .head) }
        }
        return list
      }
    }
    // "550 5.1.1 <a@b>... User unknown"
    if rest.hasPrefix("..."), first.isBracketed || !before.contains(0x3E), isCodes(before) {
      return [Candidate(address: first.address, line: index, rest: line, certainty: .head)]
    }
    // "Recipient: <a@b>", ">>> RCPT TO:<a@b>"
    if let colon = before.last(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x22 && $0 != 0x27 && $0 != 0x5B }),
      colon == 0x3A || colon == 0x3D
    {
      let label = labelText(before)
      if !label.isEmpty, label.utf8.count <= 60 {
        guard !FeedbackWords.foreignLabels.contains(label), !label.hasPrefix("x-"), !label.hasSuffix(" from") else { return [] }
        let isWeak = label == "to" || label == "cc" || label == "an"
        // A label that is more than a name may be the reason.
        let text = label.utf8.count > 12 || isWeak ? line : rest
        return [Candidate(address: first.address, line: index, rest: text, certainty: isWeak ? .weakLabel : .label)]
      }
    }
    let nearby = lines[max(0, index - 2)...min(lines.count - 1, index + 2)].joined(separator: " ")
    guard ASCIIText(line).containsAny(FeedbackWords.failures) || ASCIIText(nearby).containsAny(FeedbackWords.failures) else { return [] }
    return matches.compactMap { match in
      let lead = ASCIIText(String(decoding: bytes[..<match.range.lowerBound].suffix(40), as: UTF8.self))
      if lead.containsAny(["from ", "contact", "sender", "mailto:", "reply to", "e-mail to", "email to", "write to", "report", "please"]) {
        return nil
      }
      return Candidate(address: match.address, line: index, rest: line, certainty: .sentence)
    }
  }

  /// What may follow an address that a line is about.
  private static func isHeadRest(_ rest: String) -> Bool {
    let text = rest.drop { $0 == " " || $0 == "\t" || $0 == "\"" || $0 == "'" || $0 == ">" || $0 == ")" }
    guard let first = text.first else { return true }
    if ":(,;.-[|=/".contains(first) || first.unicodeScalars.allSatisfy({ $0.value >= 0x80 }) { return true }
    if first.isNumber { return true }
    let words = ASCIIText(text)
    return words.hasPrefix("on ") || words.hasPrefix("at ") || words.containsAny(FeedbackWords.failures) || text.utf8.count < 3
      || words.containsAny([
        "invalid", "failed", "unknown", "user", "mailbox", "account", "error", "rejected", "recipient", "reason", "quota", "not ",
      ])
      || AddressText.first(text) != nil
  }

  /// Digits, dots and hyphens only: an SMTP code, perhaps with an enhanced one.
  private static func isCodes(_ before: ArraySlice<UInt8>) -> Bool {
    let text = before.drop { $0 == 0x20 || $0 == 0x3C && before.first == 0x3C }
    return (3...16).contains(text.count)
      && text.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x2D || $0 == 0x20 || $0 == 0x3C }
  }

  private static func isList(_ bytes: [UInt8], _ matches: [AddressText.Match]) -> Bool {
    for (left, right) in zip(matches, matches.dropFirst()) {
      let between = bytes[min(left.range.upperBound, right.range.lowerBound)..<right.range.lowerBound]
      guard between.allSatisfy({ $0 == 0x20 || $0 == 0x2C || $0 == 0x3B || $0 == 0x09 }) else { return false }
    }
    return true
  }

  private static func labelText(_ before: ArraySlice<UInt8>) -> String {
    var label = before
    while let last = label.last,
      last == 0x20 || last == 0x09 || last == 0x3A || last == 0x22 || last == 0x27 || last == 0x5B || last == 0x3D
    { label.removeLast() }
    while let first = label.first, first == 0x20 || first == 0x09 || first == 0x3E || first == 0x2A || first == 0x2D || first == 0x3C {
      label.removeFirst()
    }
    return String(decoding: ASCIIText(String(decoding: label, as: UTF8.self)).bytes, as: UTF8.self)
  }

  private static func isRole(_ address: String) -> Bool {
    guard let at = address.lastIndex(of: "@") else { return true }
    let local = address[..<at].lowercased()
    return FeedbackWords.roles.contains(local) || FeedbackWords.listRoles.contains(where: local.hasSuffix)
  }

  /// The rest of the address's line and what follows up to the next address; empty lines end it once it says something.
  private static func diagnostic(_ rest: String, after line: Int, _ lines: [String], stops: Set<Int>) -> String {
    var output = clean(rest)
    var blanks = 0
    var index = line + 1
    while index < lines.count, index < line + 16, output.utf8.count < 1_000 {
      if stops.contains(index) { break }
      var text = clean(lines[index])
      // The head of a further list is no reason.
      if text.hasSuffix(":"), ASCIIText(text).contains("following") { text = "" }
      if text.isEmpty {
        blanks += 1
        if output.utf8.count > 24, blanks > 0,
          StatusText.replyStart(output) != nil || StatusText.enhanced(output) != nil || output.utf8.count > 60
        {
          break
        }
      } else {
        if !output.isEmpty { output += " " }
        output += text
      }
      index += 1
    }
    return output
  }

  static func clean(_ line: String) -> String {
    var view = line[...].drop { $0 == " " || $0 == "\t" || $0 == ":" || $0 == "," || $0 == ">" || $0 == "." && line.hasPrefix("...") }
    while let last = view.last, last.isWhitespace { view.removeLast() }
    return String(view)
  }
}
