import Foundation
import MailFormat

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
  private let key: [UInt8]

  init(secret: String) { key = Digest.hkdfSHA256(Array(secret.utf8), info: Array("owlat-mta sealed keys v1".utf8)) }

  func seal(_ text: String, for owner: String) throws -> String {
    Self.prefix + Data(try AES256GCM.seal(Array(text.utf8), key: key, owner: Array(owner.utf8))).base64EncodedString()
  }

  func open(_ sealed: String, for owner: String) throws -> String {
    guard sealed.hasPrefix(Self.prefix), let data = Data(base64Encoded: String(sealed.dropFirst(Self.prefix.count))) else {
      throw Failure.notSealed
    }
    do {
      return String(decoding: try AES256GCM.open(Array(data), key: key, owner: Array(owner.utf8)), as: UTF8.self)
    } catch AES256GCM.Failure.malformed {
      throw Failure.notSealed
    } catch AES256GCM.Failure.notAuthentic {
      throw Failure.otherSecret
    }
  }
}
