internal import Glibc

/// Text to search in: octets with ASCII letters in lower case and every run of white space as one space.
struct ASCIIText {
  private(set) var bytes: [UInt8] = []

  init(_ text: some StringProtocol, limit: Int = 32 * 1024) {
    bytes.reserveCapacity(min(limit, text.utf8.count))
    for byte in text.utf8.prefix(limit) {
      switch byte {
      case 0x41...0x5A: bytes.append(byte + 0x20)
      case 0x09, 0x0A, 0x0D, 0x20: if bytes.last != 0x20 { bytes.append(0x20) }
      default: bytes.append(byte)
      }
    }
  }

  /// Phrases in lower case with single spaces.
  func contains(_ phrase: String) -> Bool { firstIndex(phrase) != nil }

  func containsAny(_ phrases: [String]) -> Bool { phrases.contains { contains($0) } }

  func firstIndex(_ phrase: String) -> Int? {
    // The C library's search: a mail is searched for hundreds of phrases.
    bytes.withUnsafeBytes { hay in
      var phrase = phrase
      return phrase.withUTF8 { needle in
        guard let base = hay.baseAddress, let word = needle.baseAddress, !needle.isEmpty else { return nil }
        var start = 0
        while start + needle.count <= hay.count {
          guard let found = memchr(base + start, Int32(word[0]), hay.count - needle.count - start + 1) else { return nil }
          let index = base.distance(to: UnsafeRawPointer(found))
          if memcmp(base + index, word, needle.count) == 0 { return index }
          start = index + 1
        }
        return nil
      }
    }
  }

  func hasPrefix(_ phrase: String) -> Bool { bytes.starts(with: phrase.utf8) }
}
