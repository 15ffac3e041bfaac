import DeliveryPolicy
import Feedback
import Logging
import MailFormat
import MailModel
import Observability

/// A message of ours that something came back about, as it was when it ended.
struct KnownMessage: Sendable {
  var number: MessageNumber
  var record: MessageRecord
  /// Its last attempt.
  var result: AttemptResult
  var serial: Int
  var state: DoneRecord.FinalState
}

/// What comes back about a message that we sent: whose it was is decided by a signed token and nothing else; what it says is
/// the writer's claim and judged by ``FeedbackReport``. Effects are durable when ``take(_:token:now:)`` returns, and happen once
/// a message and kind, however often a report comes.
struct FeedbackDesk: Sendable {
  /// Reports on older mail have no effect: contract section 3 (15 days), and a day.
  static let tokenLife: Milliseconds = 16 * 86_400_000

  let signer: VERPSigner
  let messages: @Sendable (VERPSigner.Verdict) async throws -> KnownMessage?
  let effects: any FeedbackEffects
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
    guard let message = try await messages(token) else { return counts.add(.unattributed) }
    guard now - message.record.acceptedAt < Self.tokenLife else { return counts.add(.expired) }
    switch report.kind {
    case .complaint:
      guard let complaint = report.complaint, complaint.isAgainstUs else { return counts.add(.ordinary) }
      counts.add(try await effects.complained(message, complaint, now: now) ? .complained : .repeated)
    default:
      guard let failed = report.failure(of: message.record.recipient) else { return counts.add(.ordinary) }
      // A message that has bounced has bounced.
      guard message.state != .bounced else { return counts.add(.repeated) }
      counts.add(try await effects.bounced(message, failed, now: now) ? .bounced : .repeated)
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

/// What follows from feedback, each in one durable step. False = it had followed before.
protocol FeedbackEffects: Sendable {
  func bounced(_ message: KnownMessage, _ failure: Feedback.Recipient, now: Milliseconds) async throws -> Bool
  func complained(_ message: KnownMessage, _ complaint: Feedback.Complaint, now: Milliseconds) async throws -> Bool
}

extension Feedback {
  /// What failed for good: the entry of that address, else the first failed one, since addresses are rewritten on their way.
  func failure(of address: String) -> Recipient? {
    let failed = recipients.filter { $0.action == .failed }
    return failed.first { $0.address.lowercased() == address.lowercased() || $0.original?.lowercased() == address.lowercased() }
      ?? failed.first
  }
}

extension Feedback.Complaint {
  /// `not-spam` takes one back, and authentication failures are of whoever wrote in our name.
  var isAgainstUs: Bool { !["not-spam", "auth-failure", "dmarc"].contains(type) }
}
