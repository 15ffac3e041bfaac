import MailFormat
import Testing

@Suite struct AES256GCMTests {
  private func octets(_ hex: String) -> [UInt8] {
    stride(from: 0, to: hex.utf8.count, by: 2).compactMap { UInt8(hex.dropFirst($0).prefix(2), radix: 16) }
  }

  /// Test cases 14 and 16 of the GCM specification (McGrew and Viega, appendix B).
  @Test func opensWhatOthersSealed() throws {
    let zeros = [UInt8](repeating: 0, count: 32)
    let first = zeros.prefix(12) + octets("cea7403d4d606b6e074ec5d3baf39d18") + octets("d0d1c8a799996bf0265b98b5d48ab919")
    #expect(try AES256GCM.open(Array(first), key: zeros, owner: []) == Array(zeros.prefix(16)))
    let key = octets("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    let sealed =
      octets("cafebabefacedbaddecaf888")
      + octets("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662")
      + octets("76fc6ece0f4e1768cddf8853bb2d551b")
    let plain = octets(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
    #expect(try AES256GCM.open(sealed, key: key, owner: octets("feedfacedeadbeeffeedfacedeadbeefabaddad2")) == plain)
  }

  @Test func sealsAndTellsForgeries() throws {
    let key = Digest.randomBytes(32)
    let owner = Array("a.example".utf8)
    for text in ["", "x", String(repeating: "secret ", count: 1000)] {
      let sealed = try AES256GCM.seal(Array(text.utf8), key: key, owner: owner)
      #expect(sealed.count == text.utf8.count + 28)
      #expect(try AES256GCM.open(sealed, key: key, owner: owner) == Array(text.utf8))
      // Each time another nonce.
      #expect(try AES256GCM.seal(Array(text.utf8), key: key, owner: owner) != sealed)
      #expect(throws: AES256GCM.Failure.notAuthentic) { try AES256GCM.open(sealed, key: key, owner: Array("b.example".utf8)) }
      #expect(throws: AES256GCM.Failure.notAuthentic) { try AES256GCM.open(sealed, key: Digest.randomBytes(32), owner: owner) }
      for place in [0, 12, sealed.count - 1] {
        var forged = sealed
        forged[place] ^= 1
        #expect(throws: AES256GCM.Failure.notAuthentic) { try AES256GCM.open(forged, key: key, owner: owner) }
      }
    }
    #expect(throws: AES256GCM.Failure.malformed) { try AES256GCM.open([1, 2], key: key, owner: owner) }
    #expect(throws: AES256GCM.Failure.malformed) { try AES256GCM.seal([], key: [1], owner: owner) }
  }

  /// RFC 5869 appendix A.3.
  @Test func derivesKeys() {
    let key = Digest.hkdfSHA256([UInt8](repeating: 0x0B, count: 22), info: [])
    #expect(Digest.hex(key) == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
  }
}
