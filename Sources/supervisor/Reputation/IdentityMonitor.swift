import DeliveryPolicy
import Logging
import MailModel
import Observability

/// Looks every hour, and at start, whether each IP is who it says: PTR, forward match, EHLO name, and SPF of the return-path
/// domain. What follows is decided by ``IdentityState``.
actor IdentityMonitor {
  static let width = 4

  struct Subject: Sendable, Equatable {
    /// As pools and events name it.
    var address: String
    /// As the world sees it.
    var publicAddress: String
    var ehlo: String
  }

  struct Settings: Sendable {
    var interval: Milliseconds = 3_600_000
    var subjects: [Subject]
    /// `bounce.domain`.
    var returnPathDomain: String
    /// `identity.require`.
    var isRequired: Bool
  }

  struct Ports: Sendable {
    var lookup: IdentityLookup
    /// What the last process stored, by address.
    var load: @Sendable () async -> [String: IdentityState]?
    var store: @Sendable ([String: IdentityState]) async throws -> Void
    var apply: @Sendable ([IdentityEffect]) async -> Void
    var now: WallClock = SystemClock.now
    var pause: @Sendable (Milliseconds) async throws -> Void = { try await Task.sleep(for: .milliseconds($0)) }
  }

  /// One IP for `GET /ip-reputation`.
  struct Row: Sendable {
    var address: String
    /// The last certain verdict; nil before the first check.
    var identity: IPIdentity?
    /// The last certain one, and when; upstream tells it of IPv6 only (`ipv6Spf`).
    var spf: SPFCoverage?
    var spfCheckedAt: Milliseconds?
    var pulledSince: Milliseconds?
    var pullReason: String?
    /// Its last return from a pull, from which probation counts.
    var restoredAt: Milliseconds?
    /// The last check, when it had no certain answer.
    var errorAt: Milliseconds?
  }

  private(set) var settings: Settings
  private let ports: Ports
  private let log: Logger
  private var states: [String: IdentityState] = [:]
  private var isLoaded = false
  private let loop: SweepLoop

  init(settings: Settings, ports: Ports, log: Logger) {
    self.settings = settings
    self.ports = ports
    self.log = log
    loop = SweepLoop(pause: ports.pause)
  }

  func run() async { await loop.run(every: { await self.interval }, { await self.perform(now: self.ports.now()) }) }

  private var interval: Milliseconds { settings.interval }

  /// Other settings: in force with a sweep at once.
  func change(_ settings: Settings) async {
    self.settings = settings
    await loop.change()
  }

  /// Checks every IP once. A call during another one waits for that one.
  func sweep(now: Milliseconds) async { await loop.once { await self.perform(now: now) } }

  /// An operator restores an IP; the next failing check pulls it again.
  func overrule(_ address: String, now: Milliseconds) async {
    await load()
    states[address]?.overrule(now: now)
    await store()
  }

  func rows() async -> [Row] {
    await load()
    return settings.subjects.map { subject in
      let state = states[subject.address] ?? IdentityState()
      return Row(
        address: subject.address, identity: state.identity, spf: state.spf, spfCheckedAt: state.spfCheckedAt,
        pulledSince: state.pulledSince, pullReason: state.pullReason, restoredAt: state.restoredAt,
        errorAt: state.errorAt)
    }
  }

  /// The IPs that their identity shuts, as the dispatcher's gates.
  func gates() async -> [Gate] {
    await rows().compactMap { row in
      row.pulledSince.map { Gate(scope: .ip, key: row.address, reason: .identity, since: $0, until: nil) }
    }
  }

  private func load() async {
    guard !isLoaded else { return }
    let stored = await ports.load()
    guard !isLoaded else { return }
    isLoaded = true
    if let stored { states = stored }
  }

  private func perform(now: Milliseconds) async {
    await load()
    let settings = settings
    let lookup = ports.lookup
    let found = await concurrently(settings.subjects, width: Self.width) { subject in
      async let identity = lookup.identity(
        address: subject.publicAddress, ehlo: subject.ehlo, isRequired: settings.isRequired, now: now)
      async let spf = lookup.coverage(of: subject.publicAddress, domain: settings.returnPathDomain)
      return await (identity, spf)
    }
    // Questions cut short say nothing.
    guard !Task.isCancelled else { return }
    let known = Set(settings.subjects.map(\.address))
    states = states.filter { known.contains($0.key) }
    var effects: [IdentityEffect] = []
    for (subject, (identity, spf)) in zip(settings.subjects, found) {
      effects += states[subject.address, default: IdentityState()].apply(
        identity, spf: spf, isRequired: settings.isRequired, now: now
      ).map { $0.naming(subject.address) }
    }
    await store()
    guard !effects.isEmpty else { return }
    report(effects)
    await ports.apply(effects)
    // Cut short, a return may not have been carried out: the next process does it again.
    guard !Task.isCancelled else { return }
    var hasReturned = false
    for case .restoreThroughProbation(let ip, _) in effects {
      states[ip]?.returned()
      hasReturned = true
    }
    if hasReturned { await store() }
  }

  private func store() async {
    do { try await ports.store(states) } catch {
      log.error("identity state not stored", metadata: [LogKey.error: "\(error)"])
    }
  }

  private func report(_ effects: [IdentityEffect]) {
    for effect in effects {
      switch effect {
      case .pull(let ip, let reason, _):
        log.critical("IP without identity: pulled", metadata: [LogKey.sourceIP: "\(ip)", "reason": "\(reason)"])
      case .restoreThroughProbation(let ip, _):
        log.notice("IP's identity is right: back through probation", metadata: [LogKey.sourceIP: "\(ip)"])
      case .warning(let ip, let text):
        log.warning("IP's identity", metadata: [LogKey.sourceIP: "\(ip)", "text": "\(text)"])
      }
    }
  }
}

extension IdentityEffect {
  /// The same for the address that pools know, where it is behind NAT.
  fileprivate func naming(_ address: String) -> IdentityEffect {
    switch self {
    case .pull(_, let reason, let since): .pull(ip: address, reason: reason, since: since)
    case .restoreThroughProbation(_, let since): .restoreThroughProbation(ip: address, since: since)
    case .warning(_, let text): .warning(ip: address, text: text)
    }
  }
}
