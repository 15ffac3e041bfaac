package import MailModel

/// What one sweep found: verdicts by IP or domain, then by zone id; zones that fail their test points are already unknown.
package struct BlocklistSweep: Sendable, Equatable {
  package var addresses: [String: [String: BlocklistVerdict]] = [:]
  package var domains: [String: [String: BlocklistVerdict]] = [:]

  package init() {}
}

/// All that is known of blocklists, kept over restarts: the same gates with the same times after any end.
package struct BlocklistBook: Codable, Sendable, Equatable {
  /// `all_ips_blocked` at most once in this time (contract section 8).
  package static let allBlockedMemory: Milliseconds = 86_400_000

  package private(set) var addresses: [String: BlocklistState] = [:]
  package private(set) var domains: [String: BlocklistState] = [:]
  package private(set) var allBlockedToldAt: Milliseconds?
  /// Events of transitions that are stored here and not yet known to be told.
  package private(set) var untold: [ReputationEvent] = []
  /// IPs that are to come back through probation and are not known to have: out until then. Nil = as a book without it has it.
  private var returns: [String: Milliseconds]?

  package init() {}

  /// Reads one sweep. Store the book, act on the effects, then say ``told(_:)`` and ``returned(_:)``: an end in between
  /// repeats events under the same id, and returns, and loses none.
  /// - Parameters:
  ///   - zones: all in force, also those for domains.
  ///   - sets: `all_ips_blocked` is told when every IP of one of them is out by blocklists: one set of all IPs, or a set a
  ///     pool.
  package mutating func apply(
    _ sweep: BlocklistSweep, zones: [BlocklistZone], sets: [[String]], now: Milliseconds
  ) -> [BlocklistEffect] {
    var effects: [BlocklistEffect] = []
    addresses = addresses.filter { sweep.addresses[$0.key] != nil }
    for (ip, verdicts) in sweep.addresses.sorted(by: { $0.key < $1.key }) {
      let own = Self.zones(zones, for: ip)
      effects += addresses[ip, default: BlocklistState()].apply(verdicts, zones: own, ip: ip, now: now)
    }
    effects = withReturns(effects, sweep)
    effects += readDomains(sweep, zones: zones.filter { $0.families.contains(.domain) }, now: now)
    if let event = allBlocked(sets, now: now) {
      allBlockedToldAt = now
      effects.append(.event(event))
    }
    let fresh = effects.compactMap(\.event)
    let repeated = untold.map(BlocklistEffect.event)
    untold += fresh
    return effects + repeated
  }

  package mutating func told(_ events: [ReputationEvent]) {
    let ids = Set(events.map(\.id))
    untold.removeAll { ids.contains($0.id) }
  }

  /// The sweep's own effects, and returns that an earlier one decided and nobody carried out.
  private mutating func withReturns(_ effects: [BlocklistEffect], _ sweep: BlocklistSweep) -> [BlocklistEffect] {
    var pending = (returns ?? [:]).filter { sweep.addresses[$0.key] != nil }
    for case .pull(let ip, _, _) in effects { pending[ip] = nil }
    let repeated = pending.sorted { $0.key < $1.key }.map { BlocklistEffect.restoreThroughProbation(ip: $0.key, since: $0.value) }
    for case .restoreThroughProbation(let ip, let since) in effects { pending[ip] = since }
    returns = pending.isEmpty ? nil : pending
    return effects + repeated.filter { !effects.contains($0) }
  }

  /// These IPs are in probation: their returns need not be repeated.
  package mutating func returned(_ effects: [BlocklistEffect]) {
    for case .restoreThroughProbation(let ip, _) in effects { returns?[ip] = nil }
    if returns?.isEmpty == true { returns = nil }
  }

  /// An operator restores an IP: what lists it now pulls it no more.
  package mutating func overrule(_ ip: String, now: Milliseconds) {
    addresses[ip]?.overrule(now: now)
    returns?[ip] = nil
  }

  /// IPs that are out, each since when and why.
  package var pulls: [(ip: String, reason: String, since: Milliseconds)] {
    addresses.sorted { $0.key < $1.key }.compactMap { ip, state in
      if let since = state.pulledSince { return (ip, state.pullReason ?? "blocklisted", since) }
      return returns?[ip].map { (ip, "blocklisted: delisted, not in probation yet", $0) }
    }
  }

  /// Zones of the IP's family.
  package static func zones(_ zones: [BlocklistZone], for ip: String) -> [BlocklistZone] {
    let family = BlocklistZone.Family(address: ip)
    return zones.filter { $0.families.contains(family) }
  }

  private func allBlocked(_ sets: [[String]], now: Milliseconds) -> ReputationEvent? {
    if let told = allBlockedToldAt, now - told < Self.allBlockedMemory { return nil }
    let blocked = sets.filter { set in !set.isEmpty && set.allSatisfy { addresses[$0]?.isPulled ?? false } }
    var ips: [String] = []
    for ip in blocked.joined() where !ips.contains(ip) { ips.append(ip) }
    guard !ips.isEmpty else { return nil }
    var names: [String] = []
    for ip in ips {
      for listing in addresses[ip]?.pulling ?? [] where !names.contains(listing.name) { names.append(listing.name) }
    }
    let head = "All sending IPs are blocklisted; their mail is held. Listed: "
    return ReputationEvent(
      .allBlocked, severity: .critical, ip: nil, message: head + detail(ips, room: ReputationEvent.messageLimit - head.utf16.count),
      blocklists: names, timestamp: now)
  }

  /// As many whole clauses as fit, then how many more there are.
  private func detail(_ ips: [String], room: Int) -> String {
    let clauses = ips.map { ip in "\(ip) on " + BlocklistState.spell(addresses[ip]?.pulling ?? []) }
    for count in stride(from: clauses.count, through: 1, by: -1) {
      let more = clauses.count - count
      let text = clauses.prefix(count).joined(separator: "; ") + (more > 0 ? "; and \(more) more" : "")
      if text.utf16.count <= room { return text }
    }
    return "\(clauses.count) IPs"
  }

  private mutating func readDomains(_ sweep: BlocklistSweep, zones: [BlocklistZone], now: Milliseconds) -> [BlocklistEffect] {
    var effects: [BlocklistEffect] = []
    domains = domains.filter { sweep.domains[$0.key] != nil }
    for (domain, verdicts) in sweep.domains.sorted(by: { $0.key < $1.key }) {
      let before = domains[domain]?.listings ?? []
      // Its events name an IP, which a domain is not: the change itself is the effect.
      _ = domains[domain, default: BlocklistState()].apply(verdicts, zones: zones, ip: domain, now: now)
      let after = domains[domain]?.listings ?? []
      if !after.isEmpty, after != before {
        effects.append(.domainListed(domain: domain, on: after.map(\.description)))
      } else if after.isEmpty, !before.isEmpty {
        effects.append(.domainCleared(domain: domain))
      }
    }
    return effects
  }
}
