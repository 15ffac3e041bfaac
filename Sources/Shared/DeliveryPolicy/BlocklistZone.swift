internal import MailModel

/// One DNS blocklist: what to ask it and what its answers mean. An answer counts as a listing only when it is in the zone's
/// own table of codes; anything else but NXDOMAIN is unknown.
package struct BlocklistZone: Sendable, Equatable {
  package enum Severity: String, Codable, Sendable, CaseIterable, Comparable {
    /// Shown, never acted on.
    case info
    case warning
    /// Most receivers refuse the IP, though nobody misbehaved (Spamhaus PBL).
    case high
    case critical

    package static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

    private var rank: Int {
      switch self {
      case .info: 0
      case .warning: 1
      case .high: 2
      case .critical: 3
      }
    }
  }

  package enum Family: String, Codable, Sendable, CaseIterable {
    case ipv4, ipv6
    /// A list of names, not of addresses (DBL, SURBL).
    case domain

    package init(address: String) { self = IPAddress.isIPv6(address) ? .ipv6 : .ipv4 }
  }

  /// Which answers a row of the table is for.
  package enum Pattern: Sendable, Equatable {
    /// 127.0.0.x
    case last(ClosedRange<UInt8>)
    /// 127.0.1.x, the space of domain lists.
    case domain(ClosedRange<UInt8>)
    /// 127.0.*.x: the third octet is a category.
    case category(ClosedRange<UInt8>)
    /// 127.0.0.x with this bit set (SURBL).
    case bit(UInt8)
    /// Any 127/8 whose last octet is from 2 to 254: for zones whose table is not known.
    case any

    func matches(_ octets: [UInt8]) -> Bool {
      switch self {
      case .last(let range): octets[1] == 0 && octets[2] == 0 && range.contains(octets[3])
      case .domain(let range): octets[1] == 0 && octets[2] == 1 && range.contains(octets[3])
      case .category(let range): octets[1] == 0 && range.contains(octets[3])
      case .bit(let bit): octets[1] == 0 && octets[2] == 0 && octets[3] != 255 && octets[3] & bit != 0
      case .any: (2...254).contains(octets[3])
      }
    }
  }

  package struct Code: Sendable, Equatable {
    package var name: String
    package var pattern: Pattern
    /// Nil: the zone's own. Never above the zone's.
    package var severity: Severity?

    package init(_ name: String, _ pattern: Pattern, _ severity: Severity? = nil) {
      self.name = name
      self.pattern = pattern
      self.severity = severity
    }
  }

  /// Names that must and must not be listed.
  package struct TestPoints: Sendable, Equatable {
    package var listed: String
    package var clean: String

    package init(listed: String, clean: String) {
      self.listed = listed
      self.clean = clean
    }
  }

  /// In state, in the API and in logs: upstream's id where it has one. Holds no access key, unlike ``zone``.
  package var id: String
  /// For people and for `blocklists` of events.
  package var name: String
  /// What follows the reversed address. May hold an access key: never shown.
  package var zone: String
  package var severity: Severity
  package var families: Set<Family>
  package var listed: [Code]
  /// Answers that are no listings: white, neutral, good.
  package var unlisted: [Pattern]
  /// For domain zones, instead of RFC 5782's addresses.
  package var names: TestPoints

  package init(
    id: String, name: String, zone: String, severity: Severity, families: Set<Family>, listed: [Code],
    unlisted: [Pattern] = [], names: TestPoints = TestPoints(listed: "test", clean: "invalid")
  ) {
    self.id = id
    self.name = name
    self.zone = zone
    self.severity = severity
    self.families = families
    self.listed = listed
    self.unlisted = unlisted
    self.names = names
  }

  /// What to look up (type A) for an address or a domain; nil when it is no address.
  package func query(_ subject: String, _ family: Family) -> String? {
    family == .domain ? subject + "." + zone : IPAddress.reversed(subject).map { $0 + "." + zone }
  }

  /// RFC 5782 §5 for addresses, the zone's own names for domains.
  package func testPoints(_ family: Family) -> TestPoints {
    switch family {
    case .ipv4: TestPoints(listed: "127.0.0.2", clean: "127.0.0.1")
    case .ipv6: TestPoints(listed: "::ffff:7f00:2", clean: "::ffff:7f00:1")
    case .domain: names
    }
  }

  package func verdict(_ answer: BlocklistAnswer) -> BlocklistVerdict {
    switch answer {
    case .nothing: return .clean
    case .failed(let why): return .unknown(why)
    case .addresses(let texts):
      let answers = texts.compactMap(IPAddress.octets).filter { $0.count == 4 }
      guard !answers.isEmpty, answers.count == texts.count else { return .unknown("an answer that is no address") }
      // One public address among them: a resolver that lies, or a parked domain.
      guard answers.allSatisfy({ $0[0] == 127 }) else { return .unknown("answered outside 127/8") }
      if let refusal = answers.first(where: { $0[1] == 255 && $0[2] == 255 }) { return .unknown(Self.refusal(refusal[3])) }
      return verdict(answers)
    }
  }

  private func verdict(_ answers: [[UInt8]]) -> BlocklistVerdict {
    let codes = listed.filter { code in answers.contains(where: code.pattern.matches) }
    if !codes.isEmpty {
      return .listed(
        BlocklistListing(
          zone: id, name: name,
          codes: codes.map { code in
            let severity = min(code.severity ?? self.severity, self.severity)
            return .init(name: code.name, severity: severity, pulls: severity >= .high)
          }))
    }
    let isHarmless = answers.allSatisfy { answer in unlisted.contains { $0.matches(answer) } }
    return isHarmless ? .clean : .unknown("a code that the zone's table lacks")
  }

  /// 127.255.255.x is never a listing (docs.spamhaus.com; others follow it).
  private static func refusal(_ last: UInt8) -> String {
    switch last {
    case 252: "refused: the zone's name is wrong"
    case 254: "refused: asked through a public resolver"
    case 255: "refused: too many queries"
    default: "refused by the zone (127.255.255.\(last))"
    }
  }
}
