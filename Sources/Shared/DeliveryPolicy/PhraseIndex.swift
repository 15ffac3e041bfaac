/// Finds which of many phrases stand in a text, in one pass over its words.
struct PhraseIndex: Sendable {
  /// A phrase without its gaps: each part's bytes, and whether its last word may go on.
  private struct Phrase {
    var parts: [(bytes: [UInt8], isOpen: Bool)]
  }

  /// Ids of phrases found in a text.
  struct Hits {
    fileprivate var bits: [UInt64]

    subscript(id: Int) -> Bool { bits[id >> 6] & (1 << UInt64(id & 63)) != 0 }
  }

  private var ids: [String: Int] = [:]
  private var phrases: [Phrase] = []
  private var buckets: [[Int]] = Array(repeating: [], count: 1024)

  /// The id of a phrase, the same for the same words.
  mutating func add(_ phrase: String) -> Int {
    if let id = ids[phrase] { return id }
    let id = phrases.count
    let parts = phrase.split(separator: "*").map { Array($0.utf8) }
    var read: [(bytes: [UInt8], isOpen: Bool)] = []
    for (index, part) in parts.enumerated() {
      // "word*" leaves no space before the star, "word * word" does.
      let isLast = index == parts.count - 1
      let isOpen = isLast ? phrase.hasSuffix("*") : part.last != 0x20
      let trimmed = part.drop { $0 == 0x20 }
      let bytes = Array(trimmed.last == 0x20 ? trimmed.dropLast() : trimmed)
      if !bytes.isEmpty { read.append((bytes, isOpen)) }
    }
    ids[phrase] = id
    phrases.append(Phrase(parts: read))
    if let first = read.first?.bytes { buckets[Self.bucket(first[0], first.count > 1 ? first[1] : 0x20)].append(id) }
    return id
  }

  /// - Parameter words: as ``ReplyText/words``, with a space at both ends.
  func hits(in words: [UInt8]) -> Hits {
    var hits = Hits(bits: Array(repeating: 0, count: phrases.count / 64 + 1))
    words.withUnsafeBufferPointer { text in
      var index = 0
      while index + 2 < text.count {
        if text[index] == 0x20 {
          for id in buckets[Self.bucket(text[index + 1], text[index + 2])] where !hits[id] && matches(phrases[id], text, index + 1) {
            hits.bits[id >> 6] |= 1 << UInt64(id & 63)
          }
        }
        index += 1
      }
    }
    return hits
  }

  private static func bucket(_ first: UInt8, _ second: UInt8) -> Int { Int(first & 31) << 5 | Int(second & 31) }

  private func matches(_ phrase: Phrase, _ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Bool {
    guard var end = Self.end(of: phrase.parts[0], text, start) else { return false }
    for part in phrase.parts.dropFirst() {
      let limit = min(text.count - 1, end + ReplyRule.gap)
      var found: Int?
      var index = end
      while index < limit, found == nil {
        if text[index] == 0x20 { found = Self.end(of: part, text, index + 1) }
        index += 1
      }
      guard let found else { return false }
      end = found
    }
    return true
  }

  /// Where the part ends that starts here; nil when the text reads otherwise.
  private static func end(of part: (bytes: [UInt8], isOpen: Bool), _ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int? {
    let end = start + part.bytes.count
    guard end < text.count else { return nil }
    for (offset, byte) in part.bytes.enumerated() where text[start + offset] != byte { return nil }
    return part.isOpen || text[end] == 0x20 ? end : nil
  }
}
