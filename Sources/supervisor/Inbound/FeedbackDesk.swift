import DeliveryPolicy
import Feedback
import MailFormat
import MailModel
import Redis

/// What comes back about a message that we sent. Whose it was is decided by a token of ours and by nothing else; what the report says
/// is the writer's claim and judged by ``FeedbackReport``. What follows is durable when ``take(_:token:by:now:)`` returns, and
/// happens once a message and kind, however often a report comes (``ReturnedMail``).
///
/// What a report may do follows from how its message is known and from who wrote it (``Reporter``):
///
/// | known by | writer | event, suppression, breaker, campaign | IP's warming |
/// | --- | --- | --- | --- |
/// | envelope, signed return-path | anyone | yes | bounces; complaints if vouched for |
/// | envelope, signed feedback address | anyone | yes | if vouched for |
/// | signed token in what is given back | anyone | yes | if vouched for |
/// | signed Message-ID in what is given back | vouched for | yes | yes |
/// | the same | anyone else | no: counted as unproven | no |
/// | anything else | anyone | no: counted as unattributed | no |
///
/// Return-path and feedback address are known to the recipient's side alone, which could as well have refused the message: so a
/// bounce to a return-path is worth a reply. Delivery reports are seldom signed, complaints of feedback loops are, and an IP is shared
/// by organisations that must not suffer from a complaint that anybody may have written. A Message-ID is known to everyone whom a
/// reply or an archive reached. No report ever acts on another organisation than the one whose message its token names.
struct FeedbackDesk: Sendable {
  enum Fault: Error {
    /// The message is under way, or its end is not on disk yet: a later try finds it.
    case notHereYet
    /// Several hosts share the queue, and the history of the one that sent it has the message: a later try may come to that one.
    case elsewhere
  }

  /// How long a report is asked to come again when its message is not this host's. A sender that tries every half an hour among
  /// the bounce domain's hosts meets all of them long before; what none of them knew by then, none will.
  static let elsewherePatience: Milliseconds = 86_400_000

  /// Reports on older mail have no effect: contract section 3 (15 days), and a day.
  static let tokenLife: Milliseconds = 16 * 86_400_000

  let signer: VERPSigner
  let history: HistoryStore
  let store: QueueStore
  let returned: ReturnedMail
  let counts: InboundCounts
  let providers: ProviderTable

  /// How a report's message is known.
  enum Evidence: Sendable {
    case envelopeReturnPath, envelopeFeedback, token, messageID
  }

  /// What is to be done about a report.
  enum Judgement: Sendable {
    case take(ReturnedMail.News, speaksOfIP: Bool)
    case count(InboundCounts.Kind)
  }

  /// Mail to a signed return-path.
  func take(_ octets: [UInt8], token: VERPSigner.Verdict, by reporter: Reporter, now: Milliseconds) async throws {
    try await act(FeedbackReport.read(octets), on: token, .envelopeReturnPath, reporter, now: now)
  }

  /// Mail to a signed feedback address: only a complaint has business there.
  func take(_ octets: [UInt8], complaintsOf number: MessageNumber, by reporter: Reporter, now: Milliseconds) async throws {
    let report = FeedbackReport.read(octets)
    guard report.kind == .complaint else { return count(report.kind) }
    try await act(report, on: .message(number), .envelopeFeedback, reporter, now: now)
  }

  /// Mail to the address that providers' feedback loops know: whose message it was is told by a token of ours in what the report
  /// gives back.
  func take(_ octets: [UInt8], by reporter: Reporter, now: Milliseconds) async throws {
    let report = FeedbackReport.read(octets)
    guard report.kind == .complaint || report.kind == .bounce else { return count(report.kind) }
    guard let (token, evidence) = token(in: report, now: now) else { return }
    try await act(report, on: token, evidence, reporter, now: now)
  }

  /// The first hint that is a token of ours; hints come best first.
  private func token(in report: Feedback, now: Milliseconds) -> (VERPSigner.Verdict, Evidence)? {
    var sawForged = false
    for hint in report.hints {
      let verdict: VERPSigner.Verdict =
        switch hint {
        case .returnPath(let address): signer.verify(localPart: address.prefix { $0 != "@" }, now: now)
        case .envelopeID(let id): signer.verify(localPart: id, now: now)
        case .cfblFeedbackID(let id): signer.verify(complaintToken: id).map { .message($0) } ?? .forged
        // Every foreign Message-ID is none of ours: that alone is no forgery.
        case .messageID(let id): signer.verify(messageID: id).map { .message($0) } ?? .notVERP
        case .feedbackID, .recipient: .notVERP
        }
      switch verdict {
      case .message, .messageID: return (verdict, hint.sureness == .token ? .token : .messageID)
      case .forged: sawForged = true
      case .notVERP: continue
      }
    }
    counts.add(sawForged ? .forged : .unattributed)
    return nil
  }

  private func act(_ report: Feedback, on token: VERPSigner.Verdict, _ evidence: Evidence, _ reporter: Reporter, now: Milliseconds)
    async throws
  {
    guard report.kind == .bounce || report.kind == .complaint else { return count(report.kind) }
    guard let number = try await number(token) else { return counts.add(.unattributed) }
    guard let departed = try await returned.departed(number) else { return try await miss(number, now: now) }
    switch Self.judge(report, about: departed, evidence, reporter, providers: providers, now: now) {
    case .count(let kind): counts.add(kind)
    case .take(let news, let speaksOfIP):
      switch try await returned.take(news, of: number, speaksOfIP: speaksOfIP) {
      case .taken: counts.add(report.kind == .complaint ? .complained : .bounced)
      case .repeated, .ended: counts.add(.repeated)
      case .early: throw Fault.notHereYet
      case .unknown: try await miss(number, now: now)
      }
    }
  }

  /// Neither on its way nor in the history: another host's, or nobody's.
  private func miss(_ number: MessageNumber, now: Milliseconds) async throws {
    if try await store.snapshot(number) != nil { throw Fault.notHereYet }
    if try await store.hostCount() > 1, now - (try await store.firstMissed(number, now: now)) < Self.elsewherePatience {
      counts.add(.elsewhere)
      throw Fault.elsewhere
    }
    counts.add(.unattributed)
  }

  /// The table above; pure.
  static func judge(
    _ report: Feedback, about message: HistoryStore.Departed, _ evidence: Evidence, _ reporter: Reporter, providers: ProviderTable,
    now: Milliseconds
  ) -> Judgement {
    if now - message.record.acceptedAt > tokenLife { return .count(.expired) }
    let provider = message.result.host.map(providers.provider(mx:)) ?? .other
    let isVouched = reporter.isVouched(recipient: message.record.recipient, host: message.result.host, provider: provider)
    if evidence == .messageID, !isVouched { return .count(.unproven) }
    if let complaint = report.complaint, report.kind == .complaint {
      guard complaint.isAgainstUs else { return .count(.ordinary) }
      let news = ReturnedMail.Complaint(
        text: "Complaint (\(complaint.type))" + (complaint.userAgent.map { " by \($0)" } ?? ""),
        reportedDomain: complaint.reportedDomains.first.flatMap { DomainName.ascii($0) },
        sourceISP: source(complaint, reporter, message, provider))
      return .take(.complaint(news), speaksOfIP: isVouched)
    }
    guard let failed = report.failure(of: message.record.recipient) else { return .count(.ordinary) }
    return .take(
      .bounce(.init(diagnostic: failed.diagnostic, status: failed.status, replyClass: failed.replyClass)),
      speaksOfIP: evidence == .envelopeReturnPath || isVouched)
  }

  /// Whose mailbox it was that complained: the feedback loop that wrote it, else whose host took the message, else by the report's own
  /// words (contract section 12), else a host that is no named provider's.
  private static func source(
    _ complaint: Feedback.Complaint, _ reporter: Reporter, _ message: HistoryStore.Departed, _ provider: MailboxProvider
  ) -> MailboxProvider? {
    if let loop = reporter.loop, loop != .other { return loop }
    if provider != .other { return provider }
    return complaint.provider ?? (message.result.host == nil ? nil : .other)
  }

  private func number(_ token: VERPSigner.Verdict) async throws -> MessageNumber? {
    switch token {
    case .message(let number): return number
    // Upstream's tokens name no organisation: two messages of one id cannot be told apart.
    case .messageID(let id):
      let entries = try await history.find(id, organisation: nil)
      guard Set(entries.map(\.organizationId)).count == 1 else { return nil }
      return entries.first.flatMap { MessageNumber($0.number) }
    case .forged, .notVERP: return nil
    }
  }

  private func count(_ kind: Feedback.Kind) {
    switch kind {
    case .delay: counts.add(.delayed)
    case .successDSN: counts.add(.delivered)
    case .autoReply: counts.add(.automatic)
    case .dmarcReport: counts.add(.dmarcReport)
    case .bounce, .complaint, .unsubscribeMail, .ordinary: counts.add(.ordinary)
    }
  }
}

extension Feedback {
  /// What failed for good: the entry of that address, else the first failed one, since addresses are rewritten on their way.
  func failure(of address: String?) -> Recipient? {
    let failed = recipients.filter { $0.action == .failed }
    let wanted = address?.lowercased()
    return failed.first { $0.address.lowercased() == wanted || $0.original?.lowercased() == wanted } ?? failed.first
  }
}

extension Feedback.Complaint {
  /// `not-spam` takes one back, and authentication failures are of whoever wrote in our name.
  var isAgainstUs: Bool { !["not-spam", "auth-failure", "dmarc"].contains(type) }

  /// Whose feedback loop it is, by its own words (contract section 12.2).
  var provider: MailboxProvider? {
    let words = ([userAgent ?? ""] + reportedDomains).joined(separator: " ").lowercased()
    let names: [(String, MailboxProvider)] = [
      ("hotmail", .microsoft), ("outlook", .microsoft), ("microsoft", .microsoft), ("yahoo", .yahoo), ("aol", .yahoo), ("google", .gmail),
      ("gmail", .gmail),
    ]
    return names.first { words.contains($0.0) }?.1
  }
}
