import MailModel

/// What a one-click unsubscribe link proves (RFC 8058 §3.1: enough to identify the recipient and the list, and hard to forge).
/// It says all by itself and never expires: a link in a mailbox must work when our history of the message is long gone.
package struct UnsubscribeToken: Sendable, Equatable {
  package var organisation: String
  package var list: String
  /// ``EmailAddress/normalised``.
  package var address: String
  /// The message it stood in.
  package var messageID: String

  package init(organisation: String, list: String, address: String, messageID: String) {
    self.organisation = organisation
    self.list = list
    self.address = address
    self.messageID = messageID
  }

  private enum Tag {
    static let organisation: UInt8 = 1
    static let list: UInt8 = 2
    static let address: UInt8 = 3
    static let messageID: UInt8 = 4
  }

  private static let macLength = 16

  private var payload: [UInt8] {
    var writer = RecordWriter(capacity: 128)
    writer.put(Tag.organisation, organisation)
    writer.put(Tag.list, list)
    writer.put(Tag.address, address)
    writer.put(Tag.messageID, messageID)
    return writer.bytes
  }

  private static func mac(_ payload: [UInt8], _ key: [UInt8]) -> [UInt8] {
    Array(Digest.hmacSHA256(key: key, Array("unsubscribe1:".utf8) + payload).prefix(macLength))
  }

  /// Base64 for URLs, without padding (RFC 4648 §5), of payload and MAC.
  package func signed(by signer: VERPSigner) -> String {
    let payload = payload
    return VERPSigner.urlSafe(Base64.string(payload + Self.mac(payload, signer.key)))
  }

  /// Nil when it is forged or no token.
  package init?(_ text: some StringProtocol, signer: VERPSigner) {
    guard text.utf8.count <= 2048 else { return nil }
    var padded = String(text).replacing("-", with: "+").replacing("_", with: "/")
    padded += String(repeating: "=", count: (4 - padded.utf8.count % 4) % 4)
    guard let octets = Base64.decode(padded), octets.count > Self.macLength else { return nil }
    let payload = Array(octets.dropLast(Self.macLength))
    guard Digest.isEqual(Self.mac(payload, signer.key), Array(octets.suffix(Self.macLength))) else { return nil }
    self.init(organisation: "", list: "", address: "", messageID: "")
    var reader = RecordReader(payload[...])
    do {
      while let field = try reader.next() {
        switch field.tag {
        case Tag.organisation: organisation = field.string
        case Tag.list: list = field.string
        case Tag.address: address = field.string
        case Tag.messageID: messageID = field.string
        default: continue
        }
      }
    } catch { return nil }
    guard !organisation.isEmpty, !list.isEmpty, !address.isEmpty else { return nil }
  }
}
