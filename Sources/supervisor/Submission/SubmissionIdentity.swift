import MailFormat
import MailModel
import SMTPProtocol

/// By what a submission is known again, so that a client may repeat it: its own key (`XOWLATID=key` at MAIL, or the field
/// `X-Owlat-Idempotency-Key`), else the message's octets, for as long as receipts live; or by nothing when it says so
/// (`XOWLATDEDUP=OFF`, or `X-Owlat-Deduplication: off`). A key stands over `OFF`: whoever names a submission means it once.
struct SubmissionIdentity: Sendable, Equatable {
  static let parameters = ["XOWLATID", "XOWLATDEDUP"]

  /// Names the submission in replies and in front of its messages' ids.
  let submission: String
  /// Set by a key: another message under the same key is a conflict.
  private let keyed: String?

  /// - Throws: 501 for a parameter out of form, 554 5.5.4 when parameter and field contradict each other.
  init(organisation: String, message: SubmittedMessage, parameters: [String: String]) throws(SMTPRefusal) {
    let key = try Self.key(parameters, message)
    let digest = Digest.hex(message.digest)
    if let key {
      keyed = Self.hash("key", organisation, key)
      submission = String(Self.hash("key", organisation, key, digest).prefix(24))
    } else {
      keyed = nil
      let isKnownByContent = try Self.isDeduplicated(parameters, message)
      submission = String(Self.hash("content", organisation, isKnownByContent ? digest : Digest.hex(Digest.randomBytes(16))).prefix(24))
    }
  }

  /// Checks what can be checked at MAIL.
  static func check(_ parameters: [String: String]) throws(SMTPRefusal) {
    if let key = parameters["XOWLATID"], !isKey(key) { throw SMTPRefusal(501, "5.5.4 XOWLATID must be 1 to 200 printable characters") }
    if let value = parameters["XOWLATDEDUP"], !["ON", "OFF"].contains(value.uppercased()) {
      throw SMTPRefusal(501, "5.5.4 XOWLATDEDUP must be ON or OFF")
    }
  }

  func messageID(_ recipient: EmailAddress) -> String { "\(submission)-\(Self.hash("to", recipient.normalised).prefix(12))" }

  /// What a receipt is kept under when it is not the message id.
  func attemptID(_ recipient: EmailAddress) -> String? {
    keyed.map { "smtp-\(Self.hash("to", $0, recipient.normalised).prefix(40))" }
  }

  private static func key(_ parameters: [String: String], _ message: SubmittedMessage) throws(SMTPRefusal) -> String? {
    let field = message.last("x-owlat-idempotency-key")
    if let field, !isKey(field) { throw SMTPRefusal(554, "5.5.4 X-Owlat-Idempotency-Key must be 1 to 200 printable characters") }
    let parameter = parameters["XOWLATID"]
    if let field, let parameter, field != parameter {
      throw SMTPRefusal(554, "5.5.4 XOWLATID and X-Owlat-Idempotency-Key differ")
    }
    return parameter ?? field
  }

  private static func isDeduplicated(_ parameters: [String: String], _ message: SubmittedMessage) throws(SMTPRefusal) -> Bool {
    let field = message.last("x-owlat-deduplication")?.uppercased()
    if let field, !["ON", "OFF"].contains(field) { throw SMTPRefusal(554, "5.5.4 X-Owlat-Deduplication must be on or off") }
    let parameter = parameters["XOWLATDEDUP"]?.uppercased()
    if let field, let parameter, field != parameter {
      throw SMTPRefusal(554, "5.5.4 XOWLATDEDUP and X-Owlat-Deduplication differ")
    }
    return (parameter ?? field) != "OFF"
  }

  private static func isKey(_ text: String) -> Bool {
    (1...200).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
  }

  private static func hash(_ parts: String...) -> String { Digest.hex(Digest.sha256(Array(parts.joined(separator: "\0").utf8))) }
}
