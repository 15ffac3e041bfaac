internal import COpenSSL

/// A parsed private key: parse once, sign often (parsing the PEM costs three signatures).
package final class DKIMKey: @unchecked Sendable {
  // EVP_PKEY is reference counted and safe to sign with from several threads; it never changes after init.
  package enum Algorithm: String, Sendable {
    case rsa = "rsa-sha256"
    /// RFC 8463.
    case ed25519 = "ed25519-sha256"
  }

  private let pointer: OpaquePointer
  package let algorithm: Algorithm
  package let domain: String
  package let selector: String

  /// - Throws: ``RenderError/signing(_:)`` when it is no RSA key of 1024 to 4096 bits and no Ed25519 key in PEM.
  package init(domain: String, selector: String, pem: String) throws(RenderError) {
    var text = Array(pem.utf8)
    let bio = BIO_new_mem_buf(&text, Int32(text.count))
    defer { BIO_free(bio) }
    guard let key = PEM_read_bio_PrivateKey(bio, nil, nil, nil) else {
      ERR_clear_error()
      throw .signing("the private key is not readable PEM")
    }
    switch EVP_PKEY_get_base_id(key) {
    case EVP_PKEY_RSA where (1024...4096).contains(EVP_PKEY_get_bits(key)): algorithm = .rsa
    case EVP_PKEY_ED25519: algorithm = .ed25519
    default:
      EVP_PKEY_free(key)
      throw .signing("the private key is not RSA of 1024 to 4096 bits, nor Ed25519")
    }
    pointer = key
    self.domain = domain
    self.selector = selector
  }

  deinit { EVP_PKEY_free(pointer) }

  func sign(_ bytes: [UInt8]) throws(RenderError) -> [UInt8] {
    guard let context = EVP_MD_CTX_new() else { throw .signing("out of memory") }
    defer { EVP_MD_CTX_free(context) }
    var length = Int(EVP_PKEY_get_size(pointer))
    var signature = [UInt8](repeating: 0, count: length)
    // Ed25519 signs the SHA-256 of what RSA signs (RFC 8463 §3), and knows no digest of its own.
    let isRSA = algorithm == .rsa
    let input = isRSA ? bytes : Digest.sha256(bytes)
    guard EVP_DigestSignInit(context, nil, isRSA ? EVP_sha256() : nil, nil, pointer) == 1,
      EVP_DigestSign(context, &signature, &length, input, input.count) == 1
    else {
      ERR_clear_error()
      throw .signing("OpenSSL could not sign")
    }
    return Array(signature[..<length])
  }

  /// `v=DKIM1; k=rsa; p=…` or `k=ed25519`: what DNS must say at `<selector>._domainkey.<domain>`.
  package var dnsRecord: String {
    if algorithm == .ed25519 {
      var raw = [UInt8](repeating: 0, count: 32)
      var count = raw.count
      guard EVP_PKEY_get_raw_public_key(pointer, &raw, &count) == 1 else { return "" }
      return "v=DKIM1; k=ed25519; p=" + Base64.string(raw[..<count])
    }
    var der: UnsafeMutablePointer<UInt8>?
    let length = i2d_PUBKEY(pointer, &der)
    guard length > 0, let der else { return "" }
    defer { CRYPTO_free(der, nil, 0) }
    return "v=DKIM1; k=rsa; p=" + Base64.string(UnsafeBufferPointer(start: der, count: Int(length)))
  }

  /// A new RSA-2048 key as PKCS #8 PEM.
  package static func generate() throws(RenderError) -> String {
    guard let context = EVP_PKEY_CTX_new_from_name(nil, "RSA", nil) else { throw .signing("no RSA") }
    defer { EVP_PKEY_CTX_free(context) }
    var key: OpaquePointer?
    guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048) == 1,
      EVP_PKEY_keygen(context, &key) == 1, let key
    else { throw .signing("key generation failed") }
    defer { EVP_PKEY_free(key) }
    let bio = BIO_new(BIO_s_mem())
    defer { BIO_free(bio) }
    guard PEM_write_bio_PKCS8PrivateKey(bio, key, nil, nil, 0, nil, nil) == 1 else { throw .signing("PEM") }
    var text = [UInt8](repeating: 0, count: BIO_ctrl_pending(bio))
    let count = BIO_read(bio, &text, Int32(text.count))
    return String(decoding: text[..<max(0, Int(count))], as: UTF8.self)
  }
}
