package import MailModel

/// The left part of Message-IDs that we make. A Message-ID travels: in replies and their References, in archives, on lists. So it
/// is derived one-way from the return-path's token: whoever knows it can neither make the return-path of it nor a feedback
/// address, while we, who can make the return-path's token, can tell whose it is. Needs no key to make, which workers have not.
extension VERPSigner {
  private static let label = Array("message-id1:".utf8)

  /// - Parameter token: a return-path's (``token(_:)``); nil for any other text.
  package static func messageIDToken(of token: some StringProtocol) -> String? {
    guard let bytes = Base32.decode(token), bytes.count == payloadLength + macLength else { return nil }
    return Base32.encode(Array(bytes[..<payloadLength]) + Array(Digest.sha256(label + bytes).prefix(macLength)))
  }

  /// The message of a Message-ID, with or without angle brackets; nil when it is none of ours.
  package func verify(messageID: some StringProtocol) -> MessageNumber? {
    let left = messageID.drop { $0 == "<" }.prefix { $0 != "@" }
    guard let bytes = Base32.decode(left), bytes.count == Self.payloadLength + Self.macLength else { return nil }
    let number = MessageNumber(bytes[5..<Self.payloadLength].reduce(0) { $0 << 8 | UInt64($1) })
    guard let own = Self.messageIDToken(of: token(number)) else { return nil }
    return Digest.isEqual(Array(own.utf8), Array(left.lowercased().utf8)) ? number : nil
  }
}
