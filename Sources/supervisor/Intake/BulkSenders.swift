import DeliveryPolicy
import Logging
import MailModel
import Observability
import Synchronization

/// Something that a client should know of a message that was accepted all the same.
struct IntakeWarning: Sendable, Equatable {
  var code: String
  var text: String

  var object: JSONObject { JSONObject([("code", .text(code)), ("message", .text(text))]) }
}

/// Gmail's and Yahoo's rules for bulk senders, as far as they can be seen before mail leaves. That the author belongs to the signing
/// domain is ``ContentScreen``'s to refuse; what else they demand is a warning, because the contract refuses nothing for it: the
/// providers do, and not at once.
final class BulkSenders: Sendable {
  static let oneClickMissing = "ONE_CLICK_UNSUBSCRIBE_MISSING"

  private let addsLinks: Bool
  private let isBulk: @Sendable (String, MailboxProvider) async -> Bool
  private let missing = Mutex<[MailboxProvider: Int]>([:])

  /// - Parameters:
  ///   - addsLinks: mail of a list gets one-click links of ours.
  ///   - isBulk: whether an organisation ever delivered more than ``BulkVolume/limit`` messages a day to a provider.
  init(addsLinks: Bool = false, isBulk: @escaping @Sendable (String, MailboxProvider) async -> Bool) {
    self.addsLinks = addsLinks
    self.isBulk = isBulk
  }

  /// Messages without one-click unsubscription that should have had it.
  var missingOneClick: [MailboxProvider: Int] { missing.withLock { $0 } }

  func warnings(about submission: Submission) async -> [IntakeWarning] {
    guard !(addsLinks && submission.list != nil), submission.isPromotional, submission.deliveryDomain != "member_test",
      let provider = ConsumerDomain.provider(of: submission.recipient.domain), !Self.hasOneClick(submission.content.headers),
      await isBulk(submission.organisation, provider)
    else { return [] }
    missing.withLock { $0[provider, default: 0] += 1 }
    return [
      IntakeWarning(
        code: Self.oneClickMissing,
        text: "\(submission.organisation) is a bulk sender at \(provider.rawValue): its promotional mail needs List-Unsubscribe with an "
          + "https URI and List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    ]
  }

  /// Told once a day an organisation and provider.
  static func note(_ excess: ListBook.Excess, _ log: Logger) {
    log.warning(
      "bulk sender: more than \(BulkVolume.limit) messages today at \(excess.key.provider?.rawValue ?? "a provider")",
      metadata: [LogKey.organisation: "\(excess.key.organisation)"])
  }

  /// RFC 8058 §3.1: an https URI, and the field that says what to post to it.
  static func hasOneClick(_ headers: [HeaderField]) -> Bool {
    func values(_ name: String) -> [String] { headers.filter { $0.name.lowercased() == name }.map { $0.value.lowercased() } }
    let hasURI = values("list-unsubscribe").contains { value in
      value.split(separator: ",").contains { $0.drop(while: \.isWhitespace).hasPrefix("<https://") }
    }
    return hasURI && values("list-unsubscribe-post").contains { $0.filter { !$0.isWhitespace } == "list-unsubscribe=one-click" }
  }

  /// A campaign by its type, its name or its pool.
  static func isPromotional(_ body: SendBody, _ submission: Submission) -> Bool {
    body.messageType.value == "campaign" || submission.campaignID != nil || submission.pool == "campaign"
  }

  /// Upstream's clients name the campaign in `Feedback-ID: campaign:<id>:<audience>:<sender>` (contract section 7).
  static func campaign(_ headers: [HeaderField]) -> String? {
    for header in headers where header.name.lowercased() == "feedback-id" {
      let parts = header.value.split(separator: ":", omittingEmptySubsequences: false)
      if parts.count == 4, parts[0] == "campaign", CampaignEvent.isKnownForm(String(parts[1])) { return String(parts[1]) }
    }
    return nil
  }
}
