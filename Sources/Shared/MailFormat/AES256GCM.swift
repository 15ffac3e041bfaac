internal import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) as seals at rest use it: a fresh random nonce of 12 octets for each text, spelt nonce,
/// ciphertext, tag of 16.
package enum AES256GCM {
  package enum Failure: Error, Equatable {
    /// Too short to be one, or a key of another length than 32.
    case malformed
    /// Another key or owner, or damaged.
    case notAuthentic
    /// OpenSSL had no memory.
    case unavailable
  }

  private static let nonceLength = 12
  private static let tagLength = 16

  /// - Parameter owner: bound to the text: it opens with the same only.
  package static func seal(_ plain: [UInt8], key: [UInt8], owner: [UInt8]) throws(Failure) -> [UInt8] {
    guard key.count == 32 else { throw .malformed }
    let nonce = Digest.randomBytes(nonceLength)
    guard let context = EVP_CIPHER_CTX_new() else { throw .unavailable }
    defer { EVP_CIPHER_CTX_free(context) }
    var cipher = [UInt8](repeating: 0, count: plain.count + tagLength)
    var tag = [UInt8](repeating: 0, count: tagLength)
    var length: Int32 = 0
    guard EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
      EVP_EncryptUpdate(context, nil, &length, owner, Int32(owner.count)) == 1,
      EVP_EncryptUpdate(context, &cipher, &length, plain, Int32(plain.count)) == 1, Int(length) == plain.count,
      EVP_EncryptFinal_ex(context, &tag, &length) == 1, length == 0,
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), &tag) == 1
    else { throw .unavailable }
    return nonce + cipher[..<plain.count] + tag
  }

  package static func open(_ sealed: [UInt8], key: [UInt8], owner: [UInt8]) throws(Failure) -> [UInt8] {
    guard key.count == 32, sealed.count >= nonceLength + tagLength else { throw .malformed }
    guard let context = EVP_CIPHER_CTX_new() else { throw .unavailable }
    defer { EVP_CIPHER_CTX_free(context) }
    let nonce = Array(sealed[..<nonceLength])
    let cipher = Array(sealed[nonceLength..<(sealed.count - tagLength)])
    var tag = Array(sealed.suffix(tagLength))
    var plain = [UInt8](repeating: 0, count: cipher.count + tagLength)
    var rest = [UInt8](repeating: 0, count: tagLength)
    var length: Int32 = 0
    guard EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
      EVP_DecryptUpdate(context, nil, &length, owner, Int32(owner.count)) == 1,
      EVP_DecryptUpdate(context, &plain, &length, cipher, Int32(cipher.count)) == 1, Int(length) == cipher.count,
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag) == 1
    else { throw .unavailable }
    guard EVP_DecryptFinal_ex(context, &rest, &length) == 1 else { throw .notAuthentic }
    return Array(plain[..<cipher.count])
  }
}
