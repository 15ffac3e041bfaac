import Foundation
import MailFormat

/// The two signatures of every webhook (DESIGN section 8.4): upstream's hexadecimal HMAC and Standard Webhooks'.
struct WebhookSignature: Sendable {
  private let upstreamKey: [UInt8]
  private let standardKey: [UInt8]

  init(secret: String) {
    upstreamKey = Array(secret.utf8)
    if secret.hasPrefix("whsec_"), let decoded = Data(base64Encoded: String(secret.dropFirst(6))) {
      standardKey = Array(decoded)
    } else {
      standardKey = upstreamKey
    }
  }

  /// Header fields for one try.
  func headers(id: String, body: String, seconds: Int64) -> [(String, String)] {
    let stamp = String(seconds)
    let upstream = Digest.hmacSHA256(key: upstreamKey, Array("\(stamp).\(body)".utf8))
    let standard = Digest.hmacSHA256(key: standardKey, Array("\(id).\(stamp).\(body)".utf8))
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
