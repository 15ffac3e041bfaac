import Foundation
import MailModel

/// One mailbox of a field that leaves as it came (RFC 5322 §3.4, RFC 6532). Strict: no mail program is to see another author in it than
/// we. Read by scalars, since a mark that joins its neighbour hides nothing from others.
struct Mailbox: Equatable {
  /// Fields beside From, in lower case, that say of somebody that the mail is his (RFC 5322 §3.6.2, §3.6.6).
  static let senderFields: Set<String> = ["sender", "resent-from", "resent-sender"]

  /// Without quotes; encoded words are not decoded.
  var name: String?
  var address: EmailAddress

  /// `addr`, `phrase <addr>` or the old `addr (comment)`. Nil for a list, a group, a name with special characters outside quotes, a
  /// comment that is not closed, anything but comments behind the address.
  init?(_ text: String) {
    guard text.utf8.count <= 998, !text.unicodeScalars.contains(where: Self.isControl) else { return nil }
    var reader = MailboxReader(text)
    var words: [String] = []
    var plain: [String] = []
    while let token = reader.next() {
      switch token {
      case .quoted(let word): words.append(word)
      case .atom(let word):
        words.append(word)
        plain.append(word)
      case .angle(let inside):
        guard reader.next() == nil, !reader.isBroken, let address = Self.address(inside),
          !plain.contains(where: { Self.hasAt($0) && $0.lowercased() != address.normalised })
        else {
          return nil
        }
        self.init(name: words.isEmpty ? nil : words.joined(separator: " "), address: address)
        return
      }
    }
    guard !reader.isBroken, words.count == 1, plain.count == 1, let address = Self.address(plain[0]) else { return nil }
    self.init(name: reader.comment, address: address)
  }

  private init(name: String?, address: EmailAddress) {
    self.name = name
    self.address = address
  }

  /// Less what some mail programs read otherwise: an encoded word or another @ in the local part, a domain that their normalisation
  /// (RFC 5895, UTS 46) makes another one.
  static func address(_ text: some StringProtocol) -> EmailAddress? {
    let scalars = String(text).unicodeScalars
    guard let address = EmailAddress(text), let at = scalars.lastIndex(of: "@") else { return nil }
    let domain = String(scalars[at...].dropFirst())
    guard !hasPair(address.localPart, "=", "?"),
      !address.localPart.unicodeScalars.contains(where: { $0 == "\u{FF20}" || $0 == "\u{FE6B}" }),
      domain.precomposedStringWithCompatibilityMapping.utf8.elementsEqual(domain.utf8),
      !domain.unicodeScalars.contains(where: { $0.properties.isDefaultIgnorableCodePoint || $0 == "\u{3002}" || $0 == "\u{FF61}" })
    else { return nil }
    return address
  }

  /// Whether two characters stand side by side, whatever joins them.
  static func hasPair(_ text: String, _ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Bool {
    zip(text.unicodeScalars, text.unicodeScalars.dropFirst()).contains { $0 == (first, second) }
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar != "\t" && [.control, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
  }

  private static func hasAt(_ word: String) -> Bool { word.unicodeScalars.contains("@") }
}

/// Words, quoted strings and angle brackets of one address field; comments are skipped.
private struct MailboxReader {
  enum Token {
    /// Whatever is neither space nor special, so also dots and @.
    case atom(String)
    case quoted(String)
    case angle(String)
  }

  private static let special = Set("()<>[]:;,\\\"".unicodeScalars)

  private let scalars: [Unicode.Scalar]
  private var index = 0
  /// The last one's text.
  private(set) var comment: String?
  /// Something stood where nothing of its kind may.
  private(set) var isBroken = false

  init(_ text: String) { scalars = Array(text.unicodeScalars) }

  /// Nil at the end, and where it is broken.
  mutating func next() -> Token? {
    while !isBroken, index < scalars.count {
      switch scalars[index] {
      case " ", "\t": index += 1
      case "(": comment = enclosed(by: "(", ")")
      case "\"": return enclosed(by: "\"", "\"").map { .quoted($0) }
      case "<":
        guard let close = scalars[index...].firstIndex(of: ">") else { return broken() }
        defer { index = close + 1 }
        return .angle(Self.text(scalars[(index + 1)..<close]))
      default:
        let word = scalars[index...].prefix { $0 != " " && $0 != "\t" && !Self.special.contains($0) }
        guard !word.isEmpty else { return broken() }
        index = word.endIndex
        return .atom(Self.text(word))
      }
    }
    return nil
  }

  private mutating func broken<Value>() -> Value? {
    isBroken = true
    return nil
  }

  /// What stands between the two, which may nest when they differ; a backslash takes the next as it is.
  private mutating func enclosed(by open: Unicode.Scalar, _ close: Unicode.Scalar) -> String? {
    var depth = 1
    var text: [Unicode.Scalar] = []
    index += 1
    while index < scalars.count {
      var scalar = scalars[index]
      index += 1
      if scalar == "\\" {
        guard index < scalars.count else { break }
        scalar = scalars[index]
        index += 1
      } else if scalar == close {
        depth -= 1
        if depth == 0 { return Self.text(text[...]) }
      } else if scalar == open {
        depth += 1
      }
      text.append(scalar)
    }
    return broken()
  }

  private static func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: scalars)
    return String(text)
  }
}
