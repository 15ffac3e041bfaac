import DNS
import DeliveryPolicy
import Foundation
import Logging
import MTAConfig
import MailModel
import Observability
import Redis

/// What the world says of our IPs, and what follows: blocklists and identity pull and return them, warming counts their days.
/// Gates and workers are the fleet's, limits the dispatcher's; here they are brought together.
struct Reputation: Sendable {
  let blocklists: BlocklistMonitor?
  let identity: IdentityMonitor?
  private let book: PolicyBook
  private let store: QueueStore
  private let dispatcher: Dispatcher
  private let tell: @Sendable ([DoneRecord.Event]) async throws -> Void
  private let fleet: @Sendable () -> Fleet?
  private let log: Logger

  /// What was pulled when the process before ended, from its files.
  static func pulled(_ config: MTAConfig) -> [(ip: String, cause: PullCauses.Cause, pull: OperatorOrders.Pull)] {
    guard !config.smtp.sandbox else { return [] }
    var list: [(ip: String, cause: PullCauses.Cause, pull: OperatorOrders.Pull)] = []
    if let book = (try? blocklistFile(config).read()) ?? nil {
      list += book.pulls.map { ($0.ip, .blocklisted, OperatorOrders.Pull(since: $0.since, reason: $0.reason)) }
    }
    if let states = (try? identityFile(config).read()) ?? nil {
      for (ip, state) in states {
        guard let since = state.pulledSince ?? state.returningSince else { continue }
        list.append((ip, .identity, OperatorOrders.Pull(since: since, reason: state.pullReason ?? "identity")))
      }
    }
    return list
  }

  private static func blocklistFile(_ config: MTAConfig) -> StateFile<BlocklistBook> {
    StateFile(path: config.stateDir + "/blocklists.json")
  }

  private static func identityFile(_ config: MTAConfig) -> StateFile<[String: IdentityState]> {
    StateFile(path: config.stateDir + "/identity.json")
  }

  /// - Parameter resolver: nil in the sandbox, where nobody is asked.
  init(
    config: MTAConfig, resolver: DNSResolver?, book: PolicyBook, store: QueueStore, dispatcher: Dispatcher, keys: KeyStore,
    fleet: @escaping @Sendable () -> Fleet?, tell: @escaping @Sendable ([DoneRecord.Event]) async throws -> Void, log: Logger
  ) {
    self.book = book
    self.store = store
    self.dispatcher = dispatcher
    self.fleet = fleet
    self.tell = tell
    self.log = log
    guard let resolver else {
      blocklists = nil
      identity = nil
      return
    }
    let acts = Acts(book: book, store: store, dispatcher: dispatcher, fleet: fleet, tell: tell)
    let lookup = BlocklistLookup(resolver: resolver)
    let bookFile = Self.blocklistFile(config)
    blocklists = BlocklistMonitor(
      settings: .init(
        interval: config.dnsbl.interval, zones: config.dnsbl.zones,
        subjects: config.sourceIPs.map { .init(address: $0.address, publicAddress: $0.publicAddress) },
        sets: [config.sourceIPs.map(\.address)], domains: { ((try? await keys.list()) ?? []).map(\.domain) }),
      ports: .init(
        ask: { await lookup.answer($0) }, load: { (try? bookFile.read()) ?? nil }, store: { try bookFile.write($0) },
        apply: { try await acts.apply($0) }), log: log)
    let stateFile = Self.identityFile(config)
    identity = IdentityMonitor(
      settings: .init(
        subjects: config.sourceIPs.map { .init(address: $0.address, publicAddress: $0.publicAddress, ehlo: $0.ehloName) },
        returnPathDomain: config.bounce.domain, isRequired: config.requiresIdentity),
      ports: .init(
        lookup: IdentityLookup(resolver: resolver), load: { (try? stateFile.read()) ?? nil }, store: { try stateFile.write($0) },
        apply: { await acts.apply($0) }), log: log)
  }

  /// An operator restores an IP: what pulls it now pulls it no more.
  func overrule(_ address: String, now: Milliseconds) async {
    await blocklists?.overrule(address, now: now)
    await identity?.overrule(address, now: now)
  }

  /// Other IPs, lists or demands: looked at at once.
  func adopt(_ config: MTAConfig) async {
    if let blocklists {
      var settings = await blocklists.settings
      settings.interval = config.dnsbl.interval
      settings.zones = config.dnsbl.zones
      settings.subjects = config.sourceIPs.map { .init(address: $0.address, publicAddress: $0.publicAddress) }
      settings.sets = [config.sourceIPs.map(\.address)]
      await blocklists.change(settings)
    }
    guard let identity else { return }
    var settings = await identity.settings
    settings.subjects = config.sourceIPs.map { .init(address: $0.address, publicAddress: $0.publicAddress, ehlo: $0.ehloName) }
    settings.isRequired = config.requiresIdentity
    await identity.change(settings)
  }

  // MARK: warming

  /// Judges days that are over, until cancelled.
  func watchDays() async {
    while !Task.isCancelled {
      await rollDays(now: SystemClock.now())
      try? await Task.sleep(for: .seconds(10))
    }
  }

  private func rollDays(now: Milliseconds) async {
    let (rows, changes, events) = await book.rollWarming(now: now)
    guard !rows.isEmpty else { return }
    await dispatcher.apply(changes)
    let told = events.compactMap { Self.event($0.ip, $0.event, now) }
    // Told before it is written: what is not written is judged again, and told under the same id.
    while !Task.isCancelled {
      do {
        try await tell(told)
        return try await store.setPolicy(rows)
      } catch {
        log.notice("warming not written yet", metadata: [LogKey.error: "\(error)"])
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  private static func event(_ ip: String, _ event: WarmingEvent, _ now: Milliseconds) -> DoneRecord.Event? {
    var told: DeliveryEvent
    switch event {
    case .halted(let message):
      told = DeliveryEvent(.blocklisted)
      told.set("ip", ip, limit: 64)
      told.set("severity", "critical")
      told.set("message", message)
    case .complete(let message):
      told = DeliveryEvent(.warmingComplete)
      told.set("ip", ip, limit: 64)
      told.set("severity", "info")
      told.set("message", message)
    case .probationOver: return nil
    }
    told.set("timestamp", now)
    return DoneRecord.Event(
      id: "warming-\(ip)-\(UTCDay.number(now))-\(told.kind.rawValue)", kind: told.kind.rawValue, json: told.json, fallbackJSON: nil)
  }

  /// Of the IPs that warm up or are in probation.
  func warmingRows() async -> [String: Fleet.WarmingRow] {
    let now = SystemClock.now()
    let limited = await book.warmingStates().filter { $0.value.isLimited }
    let ips = limited.keys.sorted()
    guard !ips.isEmpty else { return [:] }
    let used = (try? await store.counters(ips.map { WarmingCharges.dayKey($0, now) })) ?? []
    var rows: [String: Fleet.WarmingRow] = [:]
    for (index, ip) in ips.enumerated() {
      guard let state = limited[ip] else { continue }
      let cap = state.probation?.cap ?? state.cap
      rows[ip] = Fleet.WarmingRow(
        warming: Fleet.Warming(day: state.day, cap: cap, sent: used.indices.contains(index) ? used[index] : 0),
        isInProbation: state.probation != nil)
    }
    return rows
  }

  /// What monitors decide, done.
  private struct Acts: Sendable {
    let book: PolicyBook
    let store: QueueStore
    let dispatcher: Dispatcher
    let fleet: @Sendable () -> Fleet?
    let tell: @Sendable ([DoneRecord.Event]) async throws -> Void

    func apply(_ effects: [BlocklistEffect]) async throws {
      var events: [DoneRecord.Event] = []
      for effect in effects {
        switch effect {
        case .pull(let ip, let reason, let since): await fleet()?.pull(ip, .blocklisted, reason: reason, since: since)
        case .restoreThroughProbation(let ip, _): await comeBack(ip, .blocklisted)
        case .event(let event):
          events.append(DoneRecord.Event(id: event.id, kind: event.kind.rawValue, json: event.json, fallbackJSON: nil))
        case .domainListed, .domainCleared: continue
        }
      }
      try await tell(events)
    }

    func apply(_ effects: [IdentityEffect]) async {
      for effect in effects {
        switch effect {
        case .pull(let ip, let reason, let since): await fleet()?.pull(ip, .identity, reason: reason, since: since)
        case .restoreThroughProbation(let ip, _): await comeBack(ip, .identity)
        case .warning: continue
        }
      }
    }

    /// The cap of probation stands before the gate opens.
    private func comeBack(_ ip: String, _ cause: PullCauses.Cause) async {
      let now = SystemClock.now()
      while !Task.isCancelled {
        if let (rows, changes) = await book.changeWarming(ip, now: now, { $0.beginProbation(now: now, policy: $1) }),
          (try? await store.setPolicy(rows)) != nil
        {
          await dispatcher.apply(changes)
          return await fleet()?.release(ip, cause) ?? ()
        }
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }
}
