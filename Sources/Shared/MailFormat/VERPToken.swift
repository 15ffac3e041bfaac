package import MailModel

/// The signed return-path (DESIGN section 5, contract section 3). Ours: `bounce+` and base32 of version (1 octet),
/// installation (4), message number (8) and MAC (10): 44 octets, whole under RFC 5321's 64, and the same in any case.
/// Upstream's `bounce+<b64url(id)>+<mac14>` is still verified.
package struct VERPSigner: Sendable {
  package static let prefix = "bounce+"
  private static let version: UInt8 = 1
  static let macLength = 10
  static let payloadLength = 13

  let key: [UInt8]
  private let installation: [UInt8]

  /// - Parameters:
  ///   - key: `bounce.verp_key`, at least 32 octets.
  ///   - installation: what tells two installations apart that share a key; its first 4 hashed octets are used.
  package init(key: String, installation: String) {
    self.key = Array(key.utf8)
    self.installation = Array(Digest.sha256(Array("installation:\(installation)".utf8)).prefix(4))
  }

  /// The return-path's local part behind ``prefix``.
  package func token(_ number: MessageNumber) -> String { token(number, .returnPath) }

  func token(_ number: MessageNumber, _ use: Use) -> String {
    let payload = payload(number)
    return Base32.encode(payload + mac(payload, use))
  }

  /// What a token is for; one made for one use proves nothing for another.
  enum Use: String {
    case returnPath = "verp1:"
    case complaint = "cfbl1:"
  }

  /// What a local part proves.
  package enum Verdict: Sendable, Equatable {
    case message(MessageNumber)
    /// Upstream's form: the caller's message id.
    case messageID(String)
    case forged
    case notVERP
  }

  package func verify(localPart: some StringProtocol, now: Milliseconds) -> Verdict {
    guard localPart.lowercased().hasPrefix(Self.prefix) else { return .notVERP }
    let rest = localPart.dropFirst(Self.prefix.count)
    if rest.contains("+") { return verifyUpstream(String(rest), now) }
    return verify(token: rest, .returnPath).map { .message($0) } ?? .forged
  }

  func verify(token: some StringProtocol, _ use: Use) -> MessageNumber? {
    guard let bytes = Base32.decode(token), bytes.count == Self.payloadLength + Self.macLength, bytes[0] == Self.version else { return nil }
    let payload = Array(bytes[..<Self.payloadLength])
    guard Digest.isEqual(mac(payload, use), Array(bytes[Self.payloadLength...])), Array(payload[1..<5]) == installation else { return nil }
    return MessageNumber(payload[5...].reduce(0) { $0 << 8 | UInt64($1) })
  }

  private func payload(_ number: MessageNumber) -> [UInt8] {
    var payload = [Self.version] + installation
    withUnsafeBytes(of: number.value.bigEndian) { payload += $0 }
    return payload
  }

  private func mac(_ payload: [UInt8], _ use: Use) -> [UInt8] {
    Array(Digest.hmacSHA256(key: key, Array(use.rawValue.utf8) + payload).prefix(Self.macLength))
  }

  /// Today's window and the six before it; none ahead.
  private func verifyUpstream(_ rest: String, _ now: Milliseconds) -> Verdict {
    guard let plus = rest.lastIndex(of: "+") else { return .forged }
    let encoded = String(rest[..<plus])
    let given = Array(rest[rest.index(after: plus)...].utf8)
    let day = now / 86_400_000
    for window in stride(from: day, through: day - 6, by: -1) {
      let mac = Base64.string(Digest.hmacSHA256(key: key, Array("\(encoded):\(window)".utf8)))
      guard Digest.isEqual(Array(Self.urlSafe(mac).prefix(14).utf8), given) else { continue }
      var padded = encoded.replacing("-", with: "+").replacing("_", with: "/")
      padded += String(repeating: "=", count: (4 - padded.utf8.count % 4) % 4)
      guard let bytes = Base64.decode(padded), let id = String(validating: bytes, as: UTF8.self) else { return .forged }
      return .messageID(id)
    }
    return .forged
  }

  static func urlSafe(_ text: String) -> String {
    text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }
}
