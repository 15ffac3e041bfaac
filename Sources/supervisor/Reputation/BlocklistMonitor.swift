import DeliveryPolicy
import Logging
import MailModel
import Observability

/// Asks the blocklists about every own IP and every sending domain, at start and then each `dnsbl.interval`. What follows is
/// decided by ``BlocklistBook``; what it decides is stored first, then acted on.
actor BlocklistMonitor {
  /// IPs asked about at a time, each of all zones at once (contract section 8).
  static let width = 4

  struct Subject: Sendable, Equatable {
    /// As pools and events name it.
    var address: String
    /// As the world sees it: what lists are asked about.
    var publicAddress: String
  }

  struct Settings: Sendable {
    var interval: Milliseconds = 900_000
    /// Of addresses and of domains; empty turns the monitor off.
    var zones: [BlocklistZone]
    var subjects: [Subject]
    /// See ``BlocklistBook/apply(_:zones:sets:now:)``.
    var sets: [[String]]
    var domains: @Sendable () async -> [String] = { [] }
  }

  /// What the monitor needs of the rest of the supervisor.
  struct Ports: Sendable {
    /// Full query name → answer.
    var ask: @Sendable (String) async -> BlocklistAnswer
    /// What the last process stored.
    var load: @Sendable () async -> BlocklistBook?
    var store: @Sendable (BlocklistBook) async throws -> Void
    /// Gates and events. When it throws, the events come again with the next sweep; pulls and returns do not, so they are to
    /// be done before anything that may throw.
    var apply: @Sendable ([BlocklistEffect]) async throws -> Void
    var now: WallClock = SystemClock.now
    var pause: @Sendable (Milliseconds) async throws -> Void = { try await Task.sleep(for: .milliseconds($0)) }
  }

  private(set) var settings: Settings
  private let ports: Ports
  private let log: Logger
  private var book = BlocklistBook()
  private var isLoaded = false
  /// By zone id and family.
  private var health: [String: [BlocklistZone.Family: ZoneHealth]] = [:]
  private var sweptAt: Milliseconds?
  private let loop: SweepLoop

  init(settings: Settings, ports: Ports, log: Logger) {
    self.settings = settings
    self.ports = ports
    self.log = log
    loop = SweepLoop(pause: ports.pause)
  }

  /// Sweeps until cancelled. Without zones there is one sweep that asks nothing: it lets go what lists held before.
  func run() async { await loop.run(every: { await self.interval }, { await self.perform(now: self.ports.now()) }) }

  private var interval: Milliseconds { settings.zones.isEmpty ? 86_400_000 : settings.interval }

  /// Other settings: in force with a sweep at once.
  func change(_ settings: Settings) async {
    self.settings = settings
    await loop.change()
  }

  /// One round of questions and what follows. A call during another one waits for that one.
  func sweep(now: Milliseconds) async { await loop.once { await self.perform(now: now) } }

  /// An operator restores an IP: what lists it now pulls it no more.
  func overrule(_ address: String, now: Milliseconds) async {
    await load()
    book.overrule(address, now: now)
    await store()
  }

  func snapshot() async -> BlocklistSnapshot {
    await load()
    return BlocklistSnapshot(
      book: book, zones: settings.zones, subjects: settings.subjects.map(\.address), health: health, sweptAt: sweptAt)
  }

  private func load() async {
    guard !isLoaded else { return }
    let stored = await ports.load()
    // Another call may have been faster, and have changed it since.
    guard !isLoaded else { return }
    isLoaded = true
    if let stored { book = stored }
  }

  private func perform(now: Milliseconds) async {
    await load()
    let settings = settings
    let domains = settings.zones.contains { $0.families.contains(.domain) } ? await settings.domains() : []
    await measureZones(hasDomains: !domains.isEmpty)
    var sweep = BlocklistSweep()
    for (subject, verdicts) in zip(settings.subjects, await verdicts(settings.subjects.map(\.publicAddress), nil)) {
      sweep.addresses[subject.address] = verdicts
    }
    for (domain, verdicts) in zip(domains, await verdicts(domains, .domain)) { sweep.domains[domain] = verdicts }
    // Questions cut short say nothing.
    guard !Task.isCancelled else { return }
    sweptAt = now
    await act(book.apply(sweep, zones: settings.zones, sets: settings.sets, now: now))
  }

  private func act(_ effects: [BlocklistEffect]) async {
    await store()
    guard !effects.isEmpty else { return }
    report(effects)
    do {
      try await ports.apply(effects)
      book.told(effects.compactMap(\.event))
    } catch {
      log.error("blocklist events not told yet", metadata: [LogKey.error: "\(error)"])
    }
    // Cut short, a return may not have been carried out: the next process does it again.
    guard !Task.isCancelled else { return }
    book.returned(effects)
    await store()
  }

  private func store() async {
    do { try await ports.store(book) } catch {
      log.error("blocklist state not stored", metadata: [LogKey.error: "\(error)"])
    }
  }

  // MARK: questions

  /// Verdicts by zone id of each subject, zones that fail their test points filtered.
  private func verdicts(_ subjects: [String], _ fixed: BlocklistZone.Family?) async -> [[String: BlocklistVerdict]] {
    let zones = settings.zones
    let health = health
    let ask = ports.ask
    return await concurrently(subjects, width: Self.width) { subject in
      let family = fixed ?? BlocklistZone.Family(address: subject)
      let own = zones.filter { $0.families.contains(family) }
      let answers = await concurrently(own, width: own.count) { zone in
        await Self.verdict(zone, subject, family, health[zone.id]?[family], ask)
      }
      return Dictionary(zip(own.map(\.id), answers), uniquingKeysWith: { first, _ in first })
    }
  }

  private static func verdict(
    _ zone: BlocklistZone, _ subject: String, _ family: BlocklistZone.Family, _ health: ZoneHealth?,
    _ ask: @Sendable (String) async -> BlocklistAnswer
  ) async -> BlocklistVerdict {
    // A zone that is not believed need not be asked.
    guard let health, case .healthy = health else { return (health ?? .unmeasured("not asked")).filter(.clean) }
    guard let name = zone.query(subject, family) else { return .unknown("not an address") }
    if name == zone.query(zone.testPoints(family).listed, family) { return .unknown("the zone's own test point") }
    return zone.verdict(await ask(name))
  }

  private func measureZones(hasDomains: Bool) async {
    var families = Set(settings.subjects.map { BlocklistZone.Family(address: $0.publicAddress) })
    if hasDomains { families.insert(.domain) }
    let pairs = settings.zones.flatMap { zone in
      zone.families.intersection(families).sorted { $0.rawValue < $1.rawValue }.map { (zone: zone, family: $0) }
    }
    let ask = ports.ask
    let found = await concurrently(pairs, width: Self.width) { pair in
      let points = pair.zone.testPoints(pair.family)
      let answers = await concurrently([points.listed, points.clean], width: 2) { point in
        guard let name = pair.zone.query(point, pair.family) else { return BlocklistVerdict.unknown("no name") }
        return pair.zone.verdict(await ask(name))
      }
      return ZoneHealth(listed: answers[0], clean: answers[1])
    }
    for (pair, fresh) in zip(pairs, found) {
      if health[pair.zone.id]?[pair.family] != fresh { report(pair.zone, pair.family, fresh) }
      health[pair.zone.id, default: [:]][pair.family] = fresh
    }
  }

  // MARK: the log

  private func report(_ zone: BlocklistZone, _ family: BlocklistZone.Family, _ health: ZoneHealth) {
    let facts: Logger.Metadata = ["zone": "\(zone.id)", "family": "\(family.rawValue)", "health": "\(health)"]
    switch health {
    case .healthy: log.info("blocklist answers its test points", metadata: facts)
    case .dead, .listsTheWorld: log.warning("blocklist fails its test points: ignored", metadata: facts)
    case .unmeasured: log.notice("blocklist not measured", metadata: facts)
    }
  }

  private func report(_ effects: [BlocklistEffect]) {
    for effect in effects {
      switch effect {
      case .pull(let ip, let reason, _):
        log.critical("IP blocklisted: pulled", metadata: [LogKey.sourceIP: "\(ip)", "reason": "\(reason)"])
      case .restoreThroughProbation(let ip, _):
        log.notice("IP delisted: back through probation", metadata: [LogKey.sourceIP: "\(ip)"])
      case .domainListed(let domain, let lists):
        log.warning("sending domain listed", metadata: ["domain": "\(domain)", "lists": "\(lists.joined(separator: "; "))"])
      case .domainCleared(let domain): log.notice("sending domain no longer listed", metadata: ["domain": "\(domain)"])
      case .event(let event):
        guard event.kind != .delisted else { continue }
        log.warning("blocklists", metadata: ["event": "\(event.kind.rawValue)", "text": "\(event.message)"])
      }
    }
  }
}
