/// The stored form of a policy's state: words with a space between, the first naming the version. Short, because a row is
/// written with every batch of outcomes that changes it, and readable, because operators look at it.
struct StateReader {
  private var words: ArraySlice<Substring>

  /// - Returns: nil when the text is of another version.
  init?(_ text: String, version: String) {
    words = text.split(separator: " ", omittingEmptySubsequences: false)[...]
    guard words.popFirst().map(String.init) == version else { return nil }
  }

  mutating func word() -> String? { words.popFirst().map(String.init) }
  mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) -> T? { words.popFirst().flatMap { T($0) } }
  mutating func number() -> Double? { words.popFirst().flatMap { Double($0) } }
}
