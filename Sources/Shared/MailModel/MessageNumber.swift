/// The 64-bit number by which one accepted message is known inside one installation. Spelt as 16 hexadecimal digits in
/// Redis, so that members with equal scores sort in order of acceptance.
package struct MessageNumber: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let value: UInt64

  package init(_ value: UInt64) { self.value = value }

  package init?(_ text: some StringProtocol) {
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else { return nil }
    self.value = value
  }

  package var description: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  package static func < (a: Self, b: Self) -> Bool { a.value < b.value }
}
