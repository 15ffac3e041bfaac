/// The Redis Functions as they are loaded: one library, named by its content, whose Functions carry that name too. So two
/// versions of this program load theirs side by side and neither replaces the other's (DESIGN section 4).
package struct RedisLibrary: Sendable {
  /// As `mta.lua` spells them.
  private static let writtenName = "owlatmta1"
  private static let writtenPrefix = "mta1_"

  /// `owlatmta_` and 8 hex digits.
  package let name: String
  package let source: [UInt8]
  private let prefix: String

  /// - Parameter written: a library whose names are those of `mta.lua`.
  package init(written: [UInt8]) {
    let version = Self.hash(written)
    prefix = "mta_\(version)_"
    name = "owlatmta_\(version)"
    let text = String(decoding: written, as: UTF8.self)
    source = Array(text.replacing(Self.writtenName, with: name).replacing(Self.writtenPrefix, with: prefix).utf8)
  }

  /// This program's.
  package static let own = RedisLibrary(written: written)

  /// `mta.lua` as it stands.
  package static var written: [UInt8] { PackageResources.mta_lua }

  /// `mta1_accept` → the name under which it is loaded.
  package func function(_ written: String) -> String { prefix + written.dropFirst(Self.writtenPrefix.count) }

  /// FNV-1a, folded to 32 bits: it tells versions apart, it protects nothing.
  private static func hash(_ bytes: [UInt8]) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let folded = UInt32(truncatingIfNeeded: hash ^ (hash >> 32))
    let digits = String(folded, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
