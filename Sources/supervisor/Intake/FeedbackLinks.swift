import MTAConfig
import MailFormat
import MailModel

/// Puts into a message's record the links by which its recipient or their provider talks back.
struct FeedbackLinks: Sendable {
  private let signer: VERPSigner
  private let baseURL: String
  private let bounceDomain: String
  private let takesMail: Bool

  init(config: MTAConfig, signer: VERPSigner) {
    self.signer = signer
    baseURL = config.unsubscribeURL
    bounceDomain = config.bounce.domain
    takesMail = !config.bounce.listen.isEmpty
  }

  func add(to record: inout MessageRecord, _ submission: Submission, number: MessageNumber) {
    // A sealed message goes out as it came.
    guard submission.content.sealed == nil else { return }
    if let list = submission.list, !baseURL.isEmpty {
      record.list = list
      let token = UnsubscribeToken(
        organisation: submission.organisation, list: list, address: submission.recipient.normalised, messageID: submission.messageID)
      record.unsubscribeURL = "\(baseURL)/u/\(token.signed(by: signer))"
      if takesMail { record.unsubscribeAddress = "unsubscribe@\(bounceDomain)" }
    }
    // RFC 9477 §3.1.2: the address must be at the author's domain or below it, whose signature covers it.
    let author = submission.content.authorAddress.split(separator: "@").last.map { $0.lowercased() } ?? ""
    guard takesMail, Self.isWithin(record.returnPathHost, author) else { return }
    guard Self.isWithin(submission.dkimDomain, author) || Self.isWithin(author, submission.dkimDomain) else { return }
    record.complaintToken = signer.complaintToken(number)
  }

  private static func isWithin(_ domain: String, _ parent: String) -> Bool { domain == parent || domain.hasSuffix("." + parent) }
}
