/// Recipient domain within a set of IPs: the unit in which mail queues. Spelt `{set}:{domain}`; contains no space.
package struct Group: Hashable, Sendable, CustomStringConvertible {
  /// The IPs a message may use: `pool:NAME`, or `ip:ADDRESS` for one dedicated IP. Fixed when the message is accepted.
  package let set: String
  package let domain: String
  /// Of both, made once: groups are looked up far more often than they are made.
  fileprivate let digest: Int

  package init(set: String, domain: String) {
    self.set = set
    self.domain = domain
    digest = set.hashValue &* 31 &+ domain.hashValue
  }

  package init?(_ text: some StringProtocol) {
    guard let colon = text.lastIndex(of: ":"), colon != text.startIndex else { return nil }
    self.init(set: String(text[..<colon]), domain: String(text[text.index(after: colon)...]))
  }

  package static func == (a: Self, b: Self) -> Bool { a.digest == b.digest && a.domain == b.domain && a.set == b.set }

  package func hash(into hasher: inout Hasher) { hasher.combine(digest) }

  package var description: String { "\(set):\(domain)" }
}

/// One organisation's part of one group: the unit of the directory, and one sorted set in Redis.
package struct GroupPart: Hashable, Sendable, CustomStringConvertible {
  package let group: Group
  package let organisation: String
  private let digest: Int

  package init(group: Group, organisation: String) {
    self.group = group
    self.organisation = organisation
    digest = group.digest &* 31 &+ organisation.hashValue
  }

  /// From the directory's spelling: group, one space, organisation.
  package init?(_ text: some StringProtocol) {
    guard let space = text.firstIndex(of: " "), let group = Group(text[..<space]) else { return nil }
    self.init(group: group, organisation: String(text[text.index(after: space)...]))
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.digest == b.digest && a.organisation == b.organisation && a.group == b.group
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(digest) }

  package var description: String { "\(group) \(organisation)" }
}

/// Engagement class, 1 (most engaged) to 4 (cold). Contract section 9.
package enum PriorityBand: Int, Sendable, CaseIterable {
  case first = 1
  case second, third, fourth

  /// ≥80 → 1, ≥50 → 2, ≥20 or absent → 3, below → 4.
  package init(engagementScore: Double?) {
    switch engagementScore {
    case nil: self = .third
    case .some(80...): self = .first
    case .some(50...): self = .second
    case .some(20...): self = .third
    default: self = .fourth
    }
  }

  /// Acceptance time plus one hour for each band below the first: lowest leaves first, and cold mail waits at most three
  /// hours longer than the warmest of its age (DESIGN section 4.3).
  package func score(acceptedAt: Milliseconds) -> Milliseconds { acceptedAt + Milliseconds(rawValue - 1) * 3_600_000 }
}
