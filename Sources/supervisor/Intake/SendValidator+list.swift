extension SendValidator {
  /// The list of mail that names none and is of no campaign.
  static let generalList = "default"

  /// `true` is the campaign's list; a list may be named; `false` and absent are none.
  func list(_ member: Member<SendBody.UnsubscribeValue>, campaign: String?) throws(APIError) -> String? {
    switch member {
    case .absent, .value(.flag(false)): return nil
    case .value(.flag(true)), .value(.list(.absent)): return campaign ?? Self.generalList
    case .value(.list(.value(let list))) where (1...128).contains(list.utf8.count) && !Self.hasControl(list) && !list.contains("\t"):
      return list
    case .value(.list): throw .bad("unsubscribe.list must be 1 to 128 octets without control characters")
    case .wrongType: throw .bad("unsubscribe must be true, false or an object with list")
    }
  }
}
