/// The replies of an SMTP session that a report quotes: `<<< 550 5.1.1 …`, `550 5.1.1 <a@b>... User unknown`, `>>> 550`.
enum Transcript {
  /// The reply that is about this address: on its line, or the answer to its RCPT, or the only refusal of the session.
  static func reply(to address: String, in lines: [String], isOnly: Bool) -> String? {
    let wanted = address.lowercased()
    var refusal: String?
    var aboutAddress: String?
    var afterRecipient = false
    var arrow: (line: Int, text: String)?
    for (index, line) in lines.enumerated() {
      let lower = line.lowercased()
      let mentions = lower.contains(wanted)
      if lower.contains("rcpt to") { afterRecipient = mentions }
      guard let start = StatusText.replyStart(line), isReplyPlace(line, start) else { continue }
      var text = String(line[start...])
      var next = index + 1
      while next < lines.count, next < index + 6, continues(lines[next]) {
        text += " " + NoticeEntries.clean(lines[next].hasPrefix("<<<") ? String(lines[next].dropFirst(3)) : lines[next])
        next += 1
      }
      if lower.hasPrefix("<<<") { arrow = (index, text) }
      if mentions || afterRecipient, aboutAddress == nil {
        // Sendmail sums up as "554 <a@b>... Remote protocol error" what the lines before tell.
        let isSummary = lower.contains("remote protocol error") || lower.contains("service unavailable")
        if isSummary, let arrow, index - arrow.line < 8 { aboutAddress = arrow.text } else { aboutAddress = text }
      }
      if refusal == nil { refusal = text }
    }
    return aboutAddress ?? (isOnly ? refusal : nil)
  }

  /// At the start of the line, behind arrows, or behind `said:`.
  private static func isReplyPlace(_ line: String, _ start: String.Index) -> Bool {
    let before = line[..<start].drop {
      $0 == " " || $0 == "\t" || $0 == "<" || $0 == ">" || $0 == "-" || $0 == "\"" || $0 == "(" || $0 == "'"
    }
    if before.isEmpty { return true }
    let tail = ASCIIText(before)
    return before.last == ":"
      || before.last == " "
        && (tail.contains("said") || tail.contains(": ") || tail.contains("error") || tail.contains("respon") || tail.contains("reply")
          || tail.contains("reason"))
  }

  private static func continues(_ line: String) -> Bool {
    guard let first = line.first else { return false }
    if first == " " || first == "\t" { return true }
    guard let start = StatusText.replyStart(line) else { return false }
    return isReplyPlace(line, start) && line[start...].dropFirst(3).first == "-" || line.hasPrefix("<<<")
  }
}
