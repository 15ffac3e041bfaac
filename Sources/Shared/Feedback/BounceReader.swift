internal import DeliveryPolicy
internal import MIME

/// Delivery reports: by their machine-readable parts, else by their text.
struct BounceReader {
  private let mail: MIMEPart
  private let notice: Notice
  private let foreign: Set<String>

  private static let maxStatusOctets = 1024 * 1024
  static let maxDiagnostic = 1_000

  init(_ mail: MIMEPart, _ notice: Notice) {
    self.mail = mail
    self.notice = notice
    var foreign: Set<String> = []
    for name in [
      "from", "to", "sender", "reply-to", "delivered-to", "return-path", "errors-to", "apparently-to", "envelope-to",
    ] {
      for value in mail.headers.all(name) {
        for match in AddressText.matches(value) { foreign.insert(match.address.lowercased()) }
      }
    }
    for value in [notice.returned?.first("from"), notice.returned?.first("sender"), notice.returned?.first("return-path")] {
      if let address = value.flatMap({ AddressText.first($0) }) { foreign.insert(address.lowercased()) }
    }
    self.foreign = foreign
  }

  // MARK: RFC 3464

  func fromStatusParts() -> (feedback: Feedback, envelopeID: String?)? {
    var recipients: [Feedback.Recipient] = []
    var envelopeID: String?
    var hasStatus = false
    let entries = NoticeEntries(notice, foreign: [])
    for status in statuses() {
      hasStatus = true
      envelopeID = envelopeID ?? DeliveryStatus.value(status.message, "original-envelope-id")
      for group in status.recipients {
        guard let recipient = recipient(group, entries, isOnly: status.recipients.count == 1) else { continue }
        if let known = recipients.firstIndex(where: { $0.address.lowercased() == recipient.address.lowercased() }) {
          if recipients[known].action != .failed, recipient.action == .failed { recipients[known] = recipient }
        } else if recipients.count < DeliveryStatus.maxRecipients {
          recipients.append(recipient)
        }
      }
    }
    guard hasStatus, !recipients.isEmpty else { return nil }
    var feedback = Feedback(kind: Self.kind(recipients))
    feedback.recipients = recipients
    return (feedback, envelopeID)
  }

  static func kind(_ recipients: [Feedback.Recipient]) -> Feedback.Kind {
    let actions = recipients.map(\.action)
    return actions.contains(.failed) ? .bounce : actions.contains(.delayed) ? .delay : .successDSN
  }

  /// The parts that are marked so, else a leaf whose text is one.
  private func statuses() -> [DeliveryStatus] {
    let outline = mail.outline
    let marked = outline.filter { $0.type == "message/delivery-status" || $0.type == "message/global-delivery-status" }
    let found = marked.map { DeliveryStatus($0.content(limit: Self.maxStatusOctets)) }.filter { !$0.recipients.isEmpty }
    if !found.isEmpty { return found }
    for part in outline where part.parts.isEmpty && !part.isEmbeddedMessage {
      let content = part.content(limit: 64 * 1024)
      guard DeliveryStatus.isStatus(ASCIIText(String(decoding: content, as: UTF8.self), limit: 64 * 1024)) else { continue }
      let status = DeliveryStatus(Self.fields(content))
      if !status.recipients.isEmpty { return [status] }
    }
    return []
  }

  /// From the first field of a status on.
  private static func fields(_ content: [UInt8]) -> [UInt8] {
    var scanner = LineScanner(content[...])
    while true {
      let offset = scanner.offset
      guard let line = scanner.next() else { return content }
      if let (name, _) = HeaderBlock.fieldName(line), ["reporting-mta", "final-recipient", "original-recipient"].contains(name) {
        return Array(content[offset...])
      }
    }
  }

  private func recipient(_ group: DeliveryStatus.Group, _ entries: NoticeEntries, isOnly: Bool) -> Feedback.Recipient? {
    func value(_ name: String) -> String? { DeliveryStatus.value(group, name) }
    let final = value("final-recipient").flatMap { AddressText.ofRecipientField($0) }
    let original = value("original-recipient").flatMap { AddressText.ofRecipientField($0) }
    let actual = value("x-actual-recipient").flatMap { AddressText.ofRecipientField($0) }
    guard let address = final ?? original ?? actual ?? entries.entries.first?.address ?? failedHeader().first else { return nil }
    let diagnostic = Self.stripped(value("diagnostic-code") ?? "")
    let statusField = value("status").flatMap { StatusText.all("\($0) ").first ?? Self.plainStatus($0) }
    let entry = entries.entries.first {
      $0.address.lowercased() == address.lowercased() || $0.address.lowercased() == original?.lowercased()
    }
    let told = entry?.diagnostic ?? (entries.entries.count <= 1 ? entries.entries.first?.diagnostic : nil) ?? ""
    var status = statusField
    if statusField == nil || statusField?.hasSuffix(".0.0") == true {
      let better = StatusText.enhanced(diagnostic) ?? StatusText.enhanced(told)
      status = better?.first == statusField?.first || statusField == nil ? better ?? statusField : statusField
    }
    let action = action(value("action"), status)
    let best = diagnostic.utf8.count > 3 ? diagnostic : told
    // Some say it in the comment behind the code, RFC 3464 §2.3.4 notwithstanding.
    let comment = value("status").map { String($0.drop { $0 != "(" }) } ?? ""
    let all = isOnly ? String(notice.lines.joined(separator: "\n").prefix(2_048)) : ""
    let replyClass = Cause.find(
      [diagnostic, value("x-supplementary-info") ?? "", comment, told, all],
      status: status)
    return Feedback.Recipient(
      address: address, original: original == address ? nil : original, action: action, status: status, replyClass: replyClass,
      hardness: Cause.hardness(replyClass), diagnostic: Self.oneLine(best))
  }

  private func action(_ field: String?, _ status: String?) -> Feedback.Action {
    let word = field.map { String(decoding: ASCIIText($0).bytes.prefix { $0 != 0x20 && $0 != 0x28 && $0 != 0x3B }, as: UTF8.self) } ?? ""
    if let known = Feedback.Action(rawValue: word) { return known }
    switch word {
    case "failure", "fail", "bounced", "error", "denied", "expired": return .failed
    case "delay", "deferred": return .delayed
    default:
      if status?.hasPrefix("2") == true { return .delivered }
      if status?.hasPrefix("4") == true, notice.words.containsAny(FeedbackWords.delays) { return .delayed }
      return .failed
    }
  }

  /// `2.0.0`, or a status with a comment.
  private static func plainStatus(_ text: String) -> String? {
    let word = text.prefix { $0.isNumber || $0 == "." }
    return word.split(separator: ".").count == 3 && word.utf8.count <= 9 ? String(word) : nil
  }

  private static func stripped(_ diagnostic: String) -> String {
    guard let semicolon = diagnostic.prefix(24).firstIndex(of: ";") else { return diagnostic }
    return String(diagnostic[diagnostic.index(after: semicolon)...].drop { $0.isWhitespace })
  }

  // MARK: Text

  func fromText(_ tone: Tone) -> Feedback? {
    let listed = failedHeader()
    let hasReport = mail.type == "multipart/report" && mail.parameters["report-type"] != "feedback-report"
    guard tone.isReporter || tone.hasBounceSubject || hasReport || !listed.isEmpty else { return nil }
    // A report that is handed on whole, its fields with it, still tells what failed.
    guard !tone.isAboutReports || notice.words.contains("final-recipient:") else { return nil }
    let speaksOfFailure = notice.words.containsAny(FeedbackWords.failures)
    guard speaksOfFailure || !listed.isEmpty || tone.isReporter && tone.hasBounceSubject else { return nil }
    let found = NoticeEntries(notice, foreign: foreign)
    // An ordinary mail with such a subject is not a report: people write about parcels too. It must quote a code or the message.
    let hasEvidence =
      notice.lines.contains { StatusText.replyStart($0) != nil || StatusText.enhanced($0) != nil } || notice.returned?.isEmpty == false
      || found.certainty == .head && found.isIntroduced
    // Postmasters write letters too: without such a subject theirs needs evidence as well.
    let isReport =
      tone.isReporter && (tone.isDaemon || tone.hasBounceSubject || hasEvidence || found.certainty == .label) || hasReport
      || !listed.isEmpty
    guard isReport || speaksOfFailure && hasEvidence && found.certainty.rawValue >= NoticeEntries.Certainty.sentence.rawValue else {
      return nil
    }
    var entries = found.entries
    if !listed.isEmpty {
      let isAgreed = found.entries.contains { entry in listed.contains { $0.lowercased() == entry.address.lowercased() } }
      // Where the text names others, one for one, it is the text that tells what was tried.
      let isText =
        !isAgreed && !found.entries.contains { foreign.contains($0.address.lowercased()) } && found.certainty == .head
        && found.entries.count == listed.count
      entries =
        isText
        ? found.entries
        : listed.map { address in
          found.entries.first { $0.address.lowercased() == address.lowercased() } ?? .init(address: address, original: nil, diagnostic: "")
        }
    }
    if entries.isEmpty, let inner = mail.outline.first(where: \.isEmbeddedMessage)?.parts.first, !inner.isEmbeddedMessage {
      // A gateway's notice about a report that it wraps.
      if let found = BounceReader(inner, Notice(inner)).fromStatusParts(), found.feedback.isBounce { return found.feedback }
    }
    if entries.isEmpty, let to = notice.returned?.first("to") {
      let addresses = AddressText.matches(to).map(\.address)
      if addresses.count == 1, let address = addresses.first { entries = [.init(address: address, original: nil, diagnostic: "")] }
    }
    guard !entries.isEmpty else { return nil }
    let isDelay = notice.words.containsAny(FeedbackWords.delays) && !notice.words.containsAny(FeedbackWords.giveUps)
    var feedback = Feedback(kind: isDelay ? .delay : .bounce)
    feedback.recipients = entries.prefix(DeliveryStatus.maxRecipients).map { recipient($0, isDelay: isDelay, isOnly: entries.count == 1) }
    return feedback
  }

  private func recipient(_ entry: NoticeEntries.Entry, isDelay: Bool, isOnly: Bool) -> Feedback.Recipient {
    let transcript = Transcript.reply(to: entry.address, in: notice.lines, isOnly: isOnly)
    let all = notice.lines.joined(separator: "\n")
    var texts = [entry.diagnostic]
    if let transcript {
      let isVague = StatusText.replyStart(entry.diagnostic) == nil || ASCIIText(entry.diagnostic).contains("remote protocol error")
      texts = isVague ? [transcript, entry.diagnostic] : [entry.diagnostic, transcript]
    }
    let status = texts.lazy.compactMap { StatusText.enhanced($0) }.first ?? (isOnly ? StatusText.enhanced(all) : nil)
    let replyClass = Cause.find(texts + [String(all.prefix(4_096))], status: status)
    let diagnostic = texts.first { !$0.isEmpty } ?? ""
    return Feedback.Recipient(
      address: entry.address, original: entry.original, action: isDelay ? .delayed : .failed, status: status, replyClass: replyClass,
      hardness: Cause.hardness(replyClass), diagnostic: Self.oneLine(diagnostic))
  }

  /// Exim, Gmail and others list the failed addresses in a field.
  private func failedHeader() -> [String] {
    var addresses: [String] = []
    for name in ["x-failed-recipients", "x-failed-recipient"] {
      for value in mail.headers.all(name) {
        for match in AddressText.matches(value) where !addresses.contains(where: { $0.lowercased() == match.address.lowercased() }) {
          addresses.append(match.address)
        }
      }
    }
    return addresses
  }

  static func oneLine(_ text: String) -> String {
    var output: [UInt8] = []
    for byte in text.utf8 {
      let isSpace = byte <= 0x20 || byte == 0x7F
      if !isSpace { output.append(byte) } else if output.last != 0x20, !output.isEmpty { output.append(0x20) }
      if output.count >= maxDiagnostic { break }
    }
    while output.last == 0x20 { output.removeLast() }
    return String(decoding: output, as: UTF8.self)
  }
}
