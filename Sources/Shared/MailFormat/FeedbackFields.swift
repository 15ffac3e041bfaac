import MailModel

/// Fields by which a recipient's mailbox provider talks back: one-click unsubscribe (RFC 2369, RFC 8058) and complaint feedback
/// (RFC 9477). All are signed (``DKIMSigner``), as both RFCs demand.
enum FeedbackFields {
  static func isUnsubscribe(_ name: String) -> Bool {
    ["list-unsubscribe", "list-unsubscribe-post"].contains(name.lowercased())
  }

  static func unsubscribe(_ record: MessageRecord) -> [[UInt8]] {
    guard let url = record.unsubscribeURL else { return [] }
    var value = "<\(url)>"
    if let address = record.unsubscribeAddress, let token = url.split(separator: "/").last {
      value += ", <mailto:\(address)?subject=\(token)>"
    }
    return [
      HeaderEncoding.fold("List-Unsubscribe", value),
      HeaderEncoding.fold("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ]
  }

  static func complaint(_ record: MessageRecord) -> [[UInt8]] {
    guard let token = record.complaintToken else { return [] }
    return [
      HeaderEncoding.fold("CFBL-Address", "\(VERPSigner.complaintPrefix)\(token)@\(record.returnPathHost); report=arf"),
      HeaderEncoding.fold("CFBL-Feedback-ID", token),
    ]
  }
}
