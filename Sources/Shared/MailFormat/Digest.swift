internal import COpenSSL

/// Hashes and MACs over OpenSSL.
package enum Digest {
  package static func sha256(_ bytes: some ContiguousBytesOf) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: 32)
    bytes.withBytes { _ = SHA256($0.baseAddress, $0.count, &output) }
    return output
  }

  package static func hmacSHA256(key: [UInt8], _ bytes: [UInt8]) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    _ = HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &output, &length)
    return output
  }

  /// A key of 32 octets (RFC 5869).
  package static func hkdfSHA256(_ secret: [UInt8], salt: [UInt8] = [UInt8](repeating: 0, count: 32), info: [UInt8]) -> [UInt8] {
    let extracted = hmacSHA256(key: salt, secret)
    return hmacSHA256(key: extracted, info + [1])
  }

  package static func hex(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    for byte in bytes {
      for nibble in [byte >> 4, byte & 15] { text.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble) }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// Compares without telling by its time where the difference is.
  package static func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  package static func randomBytes(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
  }
}

/// Arrays and slices of octets, as one thing to hash.
package protocol ContiguousBytesOf {
  func withBytes(_ body: (UnsafeBufferPointer<UInt8>) -> Void)
}

extension [UInt8]: ContiguousBytesOf {
  package func withBytes(_ body: (UnsafeBufferPointer<UInt8>) -> Void) { withUnsafeBufferPointer(body) }
}

extension ArraySlice<UInt8>: ContiguousBytesOf {
  package func withBytes(_ body: (UnsafeBufferPointer<UInt8>) -> Void) { withUnsafeBufferPointer(body) }
}
