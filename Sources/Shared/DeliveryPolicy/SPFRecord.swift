internal import MailModel

/// One SPF record, taken apart (RFC 7208 §4.6, §5).
package struct SPFRecord: Sendable, Equatable {
  package enum Qualifier: Character, Sendable {
    case pass = "+"
    case fail = "-"
    case softFail = "~"
    case neutral = "?"
  }

  package enum Mechanism: Sendable, Equatable {
    case all
    /// Octets and prefix length.
    case ip([UInt8], prefix: Int)
    /// Nil: the domain under evaluation. Prefix lengths for IPv4 and IPv6.
    case a(String?, Int, Int)
    case mx(String?, Int, Int)
    case include(String)
    case exists(String)
    case ptr
  }

  package struct Directive: Sendable, Equatable {
    package var qualifier: Qualifier
    package var mechanism: Mechanism

    package init(_ qualifier: Qualifier, _ mechanism: Mechanism) {
      self.qualifier = qualifier
      self.mechanism = mechanism
    }
  }

  package struct SyntaxError: Error, Sendable, Equatable {
    package var text: String
  }

  package var directives: [Directive] = []
  package var redirect: String?

  /// `v=spf1`, alone or before a space; any case (RFC 7208 §4.5, §12).
  package static func isRecord(_ text: String) -> Bool {
    let lower = text.prefix(7).lowercased()
    return lower == "v=spf1" || lower == "v=spf1 "
  }

  package init(_ text: String) throws(SyntaxError) {
    guard Self.isRecord(text) else { throw SyntaxError(text: "no v=spf1") }
    for term in text.dropFirst(6).split(separator: " ") {
      if let (name, value) = Self.modifier(term) {
        switch name {
        case "redirect":
          guard redirect == nil, !value.isEmpty else { throw SyntaxError(text: "\(term)") }
          redirect = value
        case "exp": continue
        default: continue
        }
      } else {
        directives.append(try Self.directive(term))
      }
    }
  }

  /// `name=value`, where the name has only letters, digits, `-`, `_` and `.`; a mechanism has its `:` or `/` before any `=`.
  private static func modifier(_ term: Substring) -> (name: String, value: String)? {
    guard let equals = term.firstIndex(of: "=") else { return nil }
    let name = term[..<equals]
    guard let first = name.first, first.isLetter,
      name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" || $0 == "." })
    else { return nil }
    return (name.lowercased(), String(term[term.index(after: equals)...]))
  }

  private static func directive(_ term: Substring) throws(SyntaxError) -> Directive {
    var rest = term
    var qualifier = Qualifier.pass
    if let first = rest.first, let given = Qualifier(rawValue: first) {
      qualifier = given
      rest = rest.dropFirst()
    }
    let end = rest.firstIndex { $0 == ":" || $0 == "/" } ?? rest.endIndex
    let name = rest[..<end].lowercased()
    let tail = rest[end...]
    let fault = SyntaxError(text: "\(term)")
    switch name {
    case "all":
      guard tail.isEmpty else { throw fault }
      return Directive(qualifier, .all)
    case "ip4", "ip6":
      guard let network = network(tail, isIPv6: name == "ip6") else { throw fault }
      return Directive(qualifier, network)
    case "a", "mx":
      guard let (domain, four, six) = domainAndPrefixes(tail) else { throw fault }
      return Directive(qualifier, name == "a" ? .a(domain, four, six) : .mx(domain, four, six))
    case "include", "exists":
      guard tail.hasPrefix(":"), tail.count > 1 else { throw fault }
      let domain = String(tail.dropFirst())
      return Directive(qualifier, name == "include" ? .include(domain) : .exists(domain))
    case "ptr": return Directive(qualifier, .ptr)
    default: throw fault
    }
  }

  private static func network(_ tail: Substring, isIPv6: Bool) -> Mechanism? {
    guard tail.hasPrefix(":") else { return nil }
    let parts = tail.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    guard let first = parts.first, parts.count <= 2, let octets = IPAddress.octets(String(first)),
      octets.count == (isIPv6 ? 16 : 4)
    else { return nil }
    guard parts.count == 2 else { return .ip(octets, prefix: octets.count * 8) }
    return prefix(parts[1], max: octets.count * 8).map { .ip(octets, prefix: $0) }
  }

  /// `[:domain][/n][//m]`.
  private static func domainAndPrefixes(_ tail: Substring) -> (domain: String?, four: Int, six: Int)? {
    let slash = tail.firstIndex(of: "/") ?? tail.endIndex
    let name = tail[..<slash]
    guard name.isEmpty || (name.hasPrefix(":") && name.count > 1) else { return nil }
    let domain = name.isEmpty ? nil : String(name.dropFirst())
    var lengths = tail[slash...]
    var four = 32
    var six = 128
    if let double = lengths.firstRange(of: "//") {
      guard let value = prefix(lengths[double.upperBound...], max: 128) else { return nil }
      six = value
      lengths = lengths[..<double.lowerBound]
    }
    if !lengths.isEmpty {
      guard let value = prefix(lengths.dropFirst(), max: 32) else { return nil }
      four = value
    }
    return (domain, four, six)
  }

  private static func prefix(_ text: Substring, max: Int) -> Int? {
    guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      text.utf8.count == 1 || !text.hasPrefix("0"), let value = Int(text), value <= max
    else { return nil }
    return value
  }
}
