package import MailModel

/// What DNS said to one question of a blocklist.
package enum BlocklistAnswer: Sendable, Equatable {
  /// A records, as text.
  case addresses([String])
  /// NXDOMAIN, or the name without an A record.
  case nothing
  /// SERVFAIL, REFUSED, silence: says nothing about the address.
  case failed(String)
}

/// One zone's word on one address or domain.
package struct BlocklistListing: Codable, Sendable, Equatable {
  /// One return code of the zone.
  package struct Code: Codable, Sendable, Hashable {
    package var name: String
    package var severity: BlocklistZone.Severity
    /// Takes the IP out of its pools.
    package var pulls: Bool

    package init(name: String, severity: BlocklistZone.Severity, pulls: Bool) {
      self.name = name
      self.severity = severity
      self.pulls = pulls
    }
  }

  /// ``BlocklistZone/id`` and ``BlocklistZone/name``.
  package var zone: String
  package var name: String
  /// In the zone's order; never empty.
  package var codes: [Code]

  package init(zone: String, name: String, codes: [Code]) {
    self.zone = zone
    self.name = name
    self.codes = codes
  }

  package var severity: BlocklistZone.Severity { codes.map(\.severity).max() ?? .info }
  package var pulls: Bool { codes.contains(where: \.pulls) }

  /// `Spamhaus SBL, DROP`; a zone with one kind of listing is its name alone.
  package var description: String {
    let named = codes.map(\.name).filter { !$0.isEmpty }
    return named.isEmpty ? name : name + " " + named.joined(separator: ", ")
  }
}

/// Three states, because the third must change nothing: an unknown answer is neither a listing nor a delisting.
package enum BlocklistVerdict: Sendable, Equatable {
  case listed(BlocklistListing)
  case clean
  case unknown(String)
}

/// Whether a zone may be believed, by its RFC 5782 §5 test points.
package enum ZoneHealth: Codable, Sendable, Equatable {
  case healthy
  /// The point that must be listed is not: nothing would ever be found.
  case dead
  /// The point that must not be listed is: everything would be found.
  case listsTheWorld
  /// The points gave no certain answer this time.
  case unmeasured(String)

  /// - Parameters:
  ///   - listed: the verdict on 127.0.0.2 (`::FFFF:7F00:2`), which every zone lists.
  ///   - clean: the verdict on 127.0.0.1 (`::FFFF:7F00:1`), which none may list.
  package init(listed: BlocklistVerdict, clean: BlocklistVerdict) {
    switch (listed, clean) {
    case (_, .listed): self = .listsTheWorld
    case (.clean, _): self = .dead
    case (.unknown(let why), _), (_, .unknown(let why)): self = .unmeasured(why)
    case (.listed, .clean): self = .healthy
    }
  }

  /// A zone that fails is ignored: its verdicts count as unknown (DESIGN section 6).
  package func filter(_ verdict: BlocklistVerdict) -> BlocklistVerdict {
    switch self {
    case .healthy: verdict
    case .dead: .unknown("the zone is dead: its test point is not listed")
    case .listsTheWorld: .unknown("the zone lists everything")
    case .unmeasured(let why): .unknown("the zone's test points: \(why)")
    }
  }
}

/// How often and how long one question is asked (contract section 8): 5 s an attempt, at most three, 12 s in all.
package enum BlocklistRetry {
  package static let attemptLimit: Milliseconds = 5000
  package static let maxAttempts = 3
  package static let budget: Milliseconds = 12_000

  /// What the next attempt gets, after `made` attempts and `elapsed` milliseconds; nil when the last answer stands.
  ///
  /// | made | elapsed | wait before | limit |
  /// |---|---|---|---|
  /// | 0 | 0 | 0 | 5 s |
  /// | 1 | 5 s | 200 ms | 5 s |
  /// | 2 | 10.2 s | 400 ms | 1.4 s |
  package static func next(made: Int, elapsed: Milliseconds) -> (wait: Milliseconds, limit: Milliseconds)? {
    guard made < maxAttempts, elapsed >= 0 else { return nil }
    let wait: Milliseconds = made == 0 ? 0 : 200 << Milliseconds(made - 1)
    let left = budget - elapsed - wait
    return left > 0 ? (wait, min(attemptLimit, left)) : nil
  }
}
