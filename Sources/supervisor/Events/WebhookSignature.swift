import Crypto
import Foundation

/// The two signatures of every webhook (DESIGN section 8.4): upstream's hexadecimal HMAC and Standard Webhooks'.
struct WebhookSignature: Sendable {
  private let upstreamKey: SymmetricKey
  private let standardKey: SymmetricKey

  init(secret: String) {
    upstreamKey = SymmetricKey(data: Data(secret.utf8))
    if secret.hasPrefix("whsec_"), let decoded = Data(base64Encoded: String(secret.dropFirst(6))) {
      standardKey = SymmetricKey(data: decoded)
    } else {
      standardKey = upstreamKey
    }
  }

  /// Header fields for one try.
  func headers(id: String, body: String, seconds: Int64) -> [(String, String)] {
    let stamp = String(seconds)
    let upstream = HMAC<SHA256>.authenticationCode(for: Data("\(stamp).\(body)".utf8), using: upstreamKey)
    let standard = HMAC<SHA256>.authenticationCode(for: Data("\(id).\(stamp).\(body)".utf8), using: standardKey)
    return [
      ("Content-Type", "application/json"),
      ("X-MTA-Timestamp", stamp),
      ("X-MTA-Signature", upstream.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()),
      ("webhook-id", id),
      ("webhook-timestamp", stamp),
      ("webhook-signature", "v1," + Data(standard).base64EncodedString()),
    ]
  }
}
