import Foundation
import MailFormat

/// Opens what an upstream installation sealed: AES-256-GCM under a key derived from its `MTA_SECRET` (HKDF-SHA256), spelt
/// `mtasealed:v1:` and the base64 of nonce, tag and ciphertext, divided by dots. Its salt and info are those of upstream's
/// release 0.4.4.
struct UpstreamBox: Sendable {
  private static let prefix = "mtasealed:v1:"
  private let key: [UInt8]

  init(secret: String) {
    key = Digest.hkdfSHA256(
      Array(secret.utf8), salt: Array("owlat:mta-secrets:salt:v1".utf8), info: Array("owlat:mta-secrets:secrets:v1".utf8))
  }

  /// Nil for what is not sealed, or was sealed with another secret.
  func open(_ sealed: String) -> String? {
    guard sealed.hasPrefix(Self.prefix) else { return nil }
    let parts = sealed.dropFirst(Self.prefix.count).split(separator: ".", omittingEmptySubsequences: false)
      .compactMap { Data(base64Encoded: String($0)) }
    guard parts.count == 3, let plain = try? AES256GCM.open(Array(parts[0] + parts[2] + parts[1]), key: key, owner: []) else { return nil }
    return String(decoding: plain, as: UTF8.self)
  }
}
