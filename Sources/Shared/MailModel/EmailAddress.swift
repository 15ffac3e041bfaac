/// A mailbox that is safe to put into SMTP commands and header fields: dot-atom or EAI local part, a domain in A-label
/// form with at least two labels (RFC 5321 §4.1.2, RFC 6531; the shape upstream accepts, contract section 1.2). Never
/// holds CR, LF, spaces, angle brackets or quotes.
package struct EmailAddress: Hashable, Sendable, CustomStringConvertible {
  package let localPart: String
  /// Lower case, ASCII.
  package let domain: String

  package var description: String { "\(localPart)@\(domain)" }
  /// Lower case in both halves: how suppression compares (contract section 10).
  package var normalised: String { "\(localPart.lowercased())@\(domain)" }
  /// True when SMTPUTF8 is needed to carry it (RFC 6531).
  package var isInternationalised: Bool { !localPart.utf8.allSatisfy { $0 < 0x80 } }

  package init?(_ text: some StringProtocol) {
    guard text.utf8.count <= 320, let at = text.lastIndex(of: "@") else { return nil }
    let local = text[..<at]
    let domain = text[text.index(after: at)...]
    guard Self.isLocalPart(local), let ascii = DomainName.ascii(domain), DomainName.isMailDomain(ascii) else {
      return nil
    }
    self.localPart = String(local)
    self.domain = ascii
  }

  private static func isLocalPart(_ local: some StringProtocol) -> Bool {
    guard !local.isEmpty, local.utf8.count <= 64, !local.hasPrefix("."), !local.hasSuffix(".") else { return false }
    var previousDot = false
    for scalar in local.unicodeScalars {
      let isDot = scalar == "."
      if isDot && previousDot { return false }
      previousDot = isDot
      guard isDot || isAtom(scalar) else { return false }
    }
    return true
  }

  /// atext of RFC 5322 §3.2.3, and every printable character from U+00A0 on (RFC 6532 §3.1).
  private static func isAtom(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9": true
    case "!", "#", "$", "%", "&", "'", "*", "+", "-", "/", "=", "?", "^", "_", "`", "{", "|", "}", "~": true
    default:
      scalar.value >= 0xA0
        && ![.control, .format, .lineSeparator, .paragraphSeparator, .spaceSeparator, .surrogate, .unassigned].contains(
          scalar.properties.generalCategory)
    }
  }
}

/// Domain names as the mail system needs them.
package enum DomainName {
  /// Lower case A-label form, or nil when a label cannot be encoded (RFC 5890, RFC 3492).
  package static func ascii(_ domain: some StringProtocol) -> String? {
    var labels: [String] = []
    // By scalars: a mark that joins a dot, or an ASCII character that no label has, hides nothing in an A-label.
    for scalars in String(domain).unicodeScalars.split(separator: ".", omittingEmptySubsequences: false) {
      let label = String(scalars).lowercased()
      if label.utf8.allSatisfy({ $0 < 0x80 }) {
        labels.append(label)
      } else {
        guard label.utf8.allSatisfy({ $0 >= 0x80 || isHostName(octet: $0) }), let encoded = Punycode.encode(label) else { return nil }
        labels.append("xn--" + encoded)
      }
    }
    return labels.joined(separator: ".")
  }

  /// A host name with at least two labels and a last label that is not a number (RFC 1123 §2.1, RFC 5321 §4.1.2).
  package static func isMailDomain(_ name: some StringProtocol) -> Bool {
    guard isHostName(name) else { return false }
    let labels = name.split(separator: ".")
    guard labels.count >= 2, let last = labels.last else { return false }
    return last.utf8.count >= 2 && last.utf8.contains { !(0x30...0x39).contains($0) }
  }

  /// Letters, digits and hyphens, labels of 1 to 63 octets, 253 in all (RFC 1123 §2.1).
  package static func isHostName(_ name: some StringProtocol) -> Bool {
    guard !name.isEmpty, name.utf8.count <= 253 else { return false }
    for label in name.split(separator: ".", omittingEmptySubsequences: false) {
      guard (1...63).contains(label.utf8.count), !label.hasPrefix("-"), !label.hasSuffix("-") else { return false }
      guard label.utf8.allSatisfy(isHostName(octet:)) else { return false }
    }
    return true
  }

  private static func isHostName(octet: UInt8) -> Bool {
    (0x61...0x7A).contains(octet) || (0x41...0x5A).contains(octet) || (0x30...0x39).contains(octet) || octet == 0x2D || octet == 0x5F
  }
}

/// RFC 3492: the ASCII form of one non-ASCII label.
package enum Punycode {
  package static func encode(_ label: String) -> String? {
    let scalars = label.unicodeScalars.map(\.value)
    var output = scalars.filter { $0 < 0x80 }.map { UInt8($0) }
    var handled = UInt32(output.count)
    let basic = handled
    if basic > 0 { output.append(0x2D) }
    var n: UInt32 = 128
    var delta: UInt32 = 0
    var bias: UInt32 = 72
    while handled < scalars.count {
      guard let m = scalars.filter({ $0 >= n }).min() else { return nil }
      let (step, overflow) = (m - n).multipliedReportingOverflow(by: handled + 1)
      guard !overflow, delta <= UInt32.max - step else { return nil }
      delta += step
      n = m
      for scalar in scalars {
        if scalar < n { delta += 1 }
        guard scalar == n else { continue }
        var q = delta
        var k: UInt32 = 36
        while true {
          let t = k <= bias ? 1 : min(26, k - bias)
          if q < t { break }
          output.append(digit(t + (q - t) % (36 - t)))
          q = (q - t) / (36 - t)
          k += 36
        }
        output.append(digit(q))
        bias = adapt(delta, handled + 1, handled == basic)
        delta = 0
        handled += 1
      }
      delta += 1
      n += 1
    }
    return output.count > 59 ? nil : String(decoding: output, as: UTF8.self)
  }

  private static func digit(_ value: UInt32) -> UInt8 { UInt8(value < 26 ? value + 0x61 : value - 26 + 0x30) }

  private static func adapt(_ delta: UInt32, _ points: UInt32, _ first: Bool) -> UInt32 {
    var delta = first ? delta / 700 : delta / 2
    delta += delta / points
    var k: UInt32 = 0
    while delta > 455 {
      delta /= 35
      k += 36
    }
    return k + 36 * delta / (delta + 38)
  }
}
