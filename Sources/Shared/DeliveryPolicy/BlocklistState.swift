package import MailModel

/// Upstream's words for one IP (contract section 1.7).
package enum BlocklistStatus: String, Codable, Sendable {
  case unknown, clean, degraded, critical
}

/// What a sweep leads to. The order within one answer is the order in which to act.
package enum BlocklistEffect: Sendable, Equatable {
  /// Gate shut, worker drained and stopped; `since` stays the same over restarts.
  case pull(ip: String, reason: String, since: Milliseconds)
  case restoreThroughProbation(ip: String, since: Milliseconds)
  case event(ReputationEvent)
  /// A sending domain is on a list of names, or no longer: for logs and metrics, there is no event for it.
  case domainListed(domain: String, on: [String])
  case domainCleared(domain: String)

  package var event: ReputationEvent? {
    if case .event(let event) = self { event } else { nil }
  }
}

/// What blocklists say of one IP or domain, over sweeps and restarts.
///
/// A listing begins with the first certain answer and ends after two clean sweeps in which its zone did not list it again; an
/// unknown answer neither begins, nor ends, nor counts. The IP is pulled while any listing pulls.
package struct BlocklistState: Codable, Sendable, Equatable {
  /// So many clean answers end a listing: mirrors of one zone may differ for a while.
  package static let cleanSweeps = 2

  package struct Listed: Codable, Sendable, Equatable {
    package var listing: BlocklistListing
    package var since: Milliseconds
    package var cleanSweeps = 0
    /// Codes that an operator restored the IP in spite of.
    package var overruled: Set<BlocklistListing.Code> = []

    var pulls: Bool { listing.codes.contains { $0.pulls && !overruled.contains($0) } }
  }

  /// By zone id.
  package private(set) var listed: [String: Listed] = [:]
  /// Last certain answer by zone id.
  package private(set) var certainAt: [String: Milliseconds] = [:]
  package private(set) var pulledSince: Milliseconds?
  /// When it came back from its last pull.
  package private(set) var restoredAt: Milliseconds?

  package init() {}

  package var isPulled: Bool { pulledSince != nil }
  /// No zone has ever given a certain answer: eligible, and shown as unmeasured.
  package var isUnmeasured: Bool { certainAt.isEmpty }
  package var listings: [BlocklistListing] { listed.sorted { $0.key < $1.key }.map(\.value.listing) }
  /// Names of the lists that keep the IP out.
  package var pulling: [BlocklistListing] { listed.filter(\.value.pulls).sorted { $0.key < $1.key }.map(\.value.listing) }

  /// `blocklisted: Spamhaus SBL`; nil when not pulled.
  package var pullReason: String? { isPulled ? "blocklisted: " + Self.spell(pulling) : nil }

  /// Critical > degraded > unknown > clean. Clean needs a certain answer of every critical zone (of every zone, when none is
  /// critical); one that never answers, like a Barracuda without registration, does not make the IP unknown.
  package func status(zones: [BlocklistZone]) -> BlocklistStatus {
    if listed.values.contains(where: { $0.listing.pulls }) { return .critical }
    if listed.values.contains(where: { $0.listing.severity >= .warning }) { return .degraded }
    return checkedAt(zones: zones) == nil ? .unknown : .clean
  }

  /// Age of the oldest answer that ``status(zones:)`` rests on; nil when one is missing.
  package func checkedAt(zones: [BlocklistZone]) -> Milliseconds? {
    let critical = zones.filter { $0.severity == .critical }
    let times = (critical.isEmpty ? zones : critical).map { certainAt[$0.id] }
    return times.contains { $0 == nil } ? nil : times.compactMap(\.self).min()
  }

  /// Reads one sweep.
  /// - Parameters:
  ///   - verdicts: by zone id; a zone without one counts as unknown.
  ///   - zones: those that apply to this IP. What another one said before is forgotten, so a zone taken out of the
  ///     configuration holds nothing.
  ///   - ip: as events name it.
  package mutating func apply(
    _ verdicts: [String: BlocklistVerdict], zones: [BlocklistZone], ip: String, now: Milliseconds
  ) -> [BlocklistEffect] {
    let change = read(verdicts, zones: zones, now: now)
    var effects: [BlocklistEffect] = []
    let holds = listed.values.contains(where: \.pulls)
    if holds, pulledSince == nil {
      pulledSince = now
      effects.append(.pull(ip: ip, reason: pullReason ?? "blocklisted", since: now))
    }
    let grave = change.begun.filter(\.pulls)
    if !grave.isEmpty { effects.append(.event(Self.listedEvent(grave, .critical, ip, now))) }
    let light = change.begun.filter { !$0.pulls }
    if !light.isEmpty {
      let severity: ReputationEvent.Severity = light.contains { $0.severity > .info } ? .warning : .info
      effects.append(.event(Self.listedEvent(light, severity, ip, now)))
    }
    if !holds, pulledSince != nil {
      pulledSince = nil
      restoredAt = now
      effects.append(.restoreThroughProbation(ip: ip, since: now))
      effects.append(.event(Self.delistedEvent(change.ended, ip, now)))
    } else if !change.ended.isEmpty, listed.isEmpty {
      effects.append(.event(Self.delistedEvent(change.ended, ip, now)))
    }
    return effects
  }

  /// An operator restores the IP in spite of what is listed now: only another listing, or another code, pulls it again.
  package mutating func overrule(now: Milliseconds) {
    listed = listed.mapValues { row in
      var row = row
      row.overruled = Set(row.listing.codes)
      return row
    }
    guard pulledSince != nil else { return }
    pulledSince = nil
    restoredAt = now
  }

  /// Began: a zone that was not there, or one that pulls and did not.
  private mutating func read(
    _ verdicts: [String: BlocklistVerdict], zones: [BlocklistZone], now: Milliseconds
  ) -> (begun: [BlocklistListing], ended: [BlocklistListing]) {
    var begun: [BlocklistListing] = []
    var ended: [BlocklistListing] = []
    let ids = Set(zones.map(\.id))
    ended += listed.filter { !ids.contains($0.key) }.map(\.value.listing)
    listed = listed.filter { ids.contains($0.key) }
    certainAt = certainAt.filter { ids.contains($0.key) }
    for zone in zones {
      switch verdicts[zone.id] {
      case .listed(let listing):
        certainAt[zone.id] = now
        guard var row = listed[zone.id] else {
          listed[zone.id] = Listed(listing: listing, since: now)
          begun.append(listing)
          continue
        }
        let pulled = row.pulls
        row.listing = listing
        row.cleanSweeps = 0
        if row.pulls, !pulled {
          row.since = now
          begun.append(listing)
        }
        listed[zone.id] = row
      case .clean:
        certainAt[zone.id] = now
        guard var row = listed[zone.id] else { continue }
        row.cleanSweeps += 1
        listed[zone.id] = row.cleanSweeps < Self.cleanSweeps ? row : nil
        if row.cleanSweeps >= Self.cleanSweeps { ended.append(row.listing) }
      case .unknown, nil: continue
      }
    }
    return (begun, ended)
  }

  static func spell(_ listings: [BlocklistListing]) -> String { listings.map(\.description).joined(separator: "; ") }

  private static func listedEvent(
    _ listings: [BlocklistListing], _ severity: ReputationEvent.Severity, _ ip: String, _ now: Milliseconds
  ) -> ReputationEvent {
    let tail = severity == .critical ? ": taken out of its pools" : " (non-critical)"
    return ReputationEvent(
      .blocklisted, severity: severity, ip: ip, message: "IP \(ip) is listed on \(spell(listings))\(tail)",
      blocklists: listings.map(\.name), timestamp: now)
  }

  private static func delistedEvent(_ ended: [BlocklistListing], _ ip: String, _ now: Milliseconds) -> ReputationEvent {
    let names = ended.isEmpty ? "any critical blocklist" : ended.map(\.name).sorted().joined(separator: ", ")
    return ReputationEvent(
      .delisted, severity: .info, ip: ip, message: "IP \(ip) is no longer listed on \(names)", blocklists: [], timestamp: now)
  }
}
