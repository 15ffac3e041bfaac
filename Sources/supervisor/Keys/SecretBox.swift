import Crypto
import Foundation

/// Seals small secrets at rest: AES-256-GCM under a key derived from the installation's secret (HKDF-SHA256), bound to what
/// they belong to. Spelt `mtasealed:v1:` and base64 of nonce, ciphertext and tag.
struct SecretBox: Sendable {
  enum Failure: Error, Equatable, CustomStringConvertible {
    case notSealed
    case otherSecret

    var description: String {
      switch self {
      case .notSealed: "not a sealed value"
      case .otherSecret: "sealed with another secret, or damaged"
      }
    }
  }

  private static let prefix = "mtasealed:v1:"
  private let key: SymmetricKey

  init(secret: String) {
    key = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: SymmetricKey(data: Data(secret.utf8)), info: Data("owlat-mta sealed keys v1".utf8), outputByteCount: 32)
  }

  func seal(_ text: String, for owner: String) throws -> String {
    let box = try AES.GCM.seal(Data(text.utf8), using: key, authenticating: Data(owner.utf8))
    guard let combined = box.combined else { throw Failure.notSealed }
    return Self.prefix + combined.base64EncodedString()
  }

  func open(_ sealed: String, for owner: String) throws -> String {
    guard sealed.hasPrefix(Self.prefix), let data = Data(base64Encoded: String(sealed.dropFirst(Self.prefix.count))),
      let box = try? AES.GCM.SealedBox(combined: data)
    else { throw Failure.notSealed }
    guard let plain = try? AES.GCM.open(box, using: key, authenticating: Data(owner.utf8)) else { throw Failure.otherSecret }
    return String(decoding: plain, as: UTF8.self)
  }
}
