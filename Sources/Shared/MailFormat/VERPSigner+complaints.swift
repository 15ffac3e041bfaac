package import MailModel

/// Complaint feedback loop (RFC 9477): the address and the id that our mail carries for reports, of the form of the return-path's
/// token and under a key label of its own, so that neither can stand for the other.
extension VERPSigner {
  package static let complaintPrefix = "fbl+"

  package func complaintToken(_ number: MessageNumber) -> String { token(number, .complaint) }

  /// What the local part of a feedback address proves: ``Verdict/message(_:)``, ``Verdict/forged`` or ``Verdict/notVERP``.
  package func verify(complaintLocalPart localPart: some StringProtocol) -> Verdict {
    guard localPart.lowercased().hasPrefix(Self.complaintPrefix) else { return .notVERP }
    return verify(complaintToken: localPart.dropFirst(Self.complaintPrefix.count)).map { .message($0) } ?? .forged
  }

  /// The message of a CFBL-Feedback-ID (RFC 9477 §3.2); nil when it is none of ours.
  package func verify(complaintToken: some StringProtocol) -> MessageNumber? { verify(token: complaintToken, .complaint) }
}
