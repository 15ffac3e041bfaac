import DeliveryPolicy
import Feedback
import MailFormat
import MailModel
import Redis

/// What comes back about a message that we sent: whose it was is decided by a signed token and nothing else; what it says is
/// the writer's claim and judged by ``FeedbackReport``. What follows is durable when ``take(_:token:now:)`` returns, and happens
/// once a message and kind, however often a report comes (``ReturnedMail``).
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

  /// Mail to a signed return-path.
  func take(_ octets: [UInt8], token: VERPSigner.Verdict, now: Milliseconds) async throws {
    try await act(FeedbackReport.read(octets), on: token, now: now)
  }

  /// Mail to a signed feedback address: only a complaint has business there.
  func take(_ octets: [UInt8], complaintsOf number: MessageNumber, now: Milliseconds) async throws {
    let report = FeedbackReport.read(octets)
    guard report.kind == .complaint else { return count(report.kind) }
    try await act(report, on: .message(number), now: now)
  }

  /// Mail to the address that providers' feedback loops know: whose message it was is told by a token of ours in what the report
  /// gives back.
  func take(_ octets: [UInt8], now: Milliseconds) async throws {
    let report = FeedbackReport.read(octets)
    guard report.kind == .complaint || report.kind == .bounce else { return count(report.kind) }
    guard let token = token(in: report, now: now) else { return }
    try await act(report, on: token, now: now)
  }

  /// The first hint that is a token of ours.
  private func token(in report: Feedback, now: Milliseconds) -> VERPSigner.Verdict? {
    var sawForged = false
    for hint in report.hints {
      let verdict: VERPSigner.Verdict =
        switch hint {
        case .returnPath(let address): signer.verify(localPart: address.prefix { $0 != "@" }, now: now)
        case .envelopeID(let id): signer.verify(localPart: id, now: now)
        case .cfblFeedbackID(let id): signer.verify(complaintToken: id).map { .message($0) } ?? .forged
        // The left part of a Message-ID that we made is the return-path's token.
        case .messageID(let id): signer.verify(localPart: VERPSigner.prefix + id.drop { $0 == "<" }.prefix { $0 != "@" }, now: now)
        case .feedbackID, .recipient: .notVERP
        }
      switch verdict {
      case .message, .messageID: return verdict
      // Every foreign Message-ID looks like that.
      case .forged: if case .messageID = hint {} else { sawForged = true }
      case .notVERP: continue
      }
    }
    counts.add(sawForged ? .forged : .unattributed)
    return nil
  }

  private func act(_ report: Feedback, on token: VERPSigner.Verdict, now: Milliseconds) async throws {
    guard report.kind == .bounce || report.kind == .complaint else { return count(report.kind) }
    guard let number = try await number(token) else { return counts.add(.unattributed) }
    let departed = try await history.departed(number)
    if let departed, now - departed.record.acceptedAt > Self.tokenLife { return counts.add(.expired) }
    guard let news = Self.news(report, about: departed?.record.recipient) else { return counts.add(.ordinary) }
    switch try await returned.take(news, of: number) {
    case .taken: counts.add(report.kind == .complaint ? .complained : .bounced)
    case .repeated, .ended: counts.add(.repeated)
    case .early: throw Fault.notHereYet
    case .unknown:
      if try await store.hostCount() > 1, now - (try await store.firstMissed(number, now: now)) < Self.elsewherePatience {
        counts.add(.elsewhere)
        throw Fault.elsewhere
      }
      counts.add(.unattributed)
    }
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

  private static func news(_ report: Feedback, about recipient: String?) -> ReturnedMail.News? {
    if let complaint = report.complaint, report.kind == .complaint {
      guard complaint.isAgainstUs else { return nil }
      return .complaint(
        .init(
          text: "Complaint (\(complaint.type))" + (complaint.userAgent.map { " by \($0)" } ?? ""),
          reportedDomain: complaint.reportedDomains.first.flatMap { DomainName.ascii($0) }, sourceISP: complaint.provider))
    }
    guard let failed = report.failure(of: recipient) else { return nil }
    return .bounce(.init(diagnostic: failed.diagnostic, status: failed.status, replyClass: failed.replyClass))
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
