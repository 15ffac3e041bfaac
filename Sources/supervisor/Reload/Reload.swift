import DeliveryPolicy
import Logging
import MTAConfig
import MailModel
import Observability
import Redis

/// Changes the configuration while mail flows: read, judged, applied, told. All or nothing: what is refused changes nothing.
/// Orders about IPs (`ip add`, `ip remove`) go the same way, since they are another configuration too. One at a time.
actor Reload {
  /// Whom a change concerns.
  struct Parts: Sendable {
    let config: ConfigInForce
    let source: ConfigSource
    let fleet: Fleet
    let dispatcher: Dispatcher
    let book: PolicyBook
    let store: QueueStore
    let outcomes: OutcomeLoop
    let profiles: ProviderProfiles
    let senders: WebhookSenders
    let reputation: Reputation
    let rules: PoolRules
    let log: Logger
  }

  /// Why nothing was changed.
  struct Refusal: Error {
    var problems: [ConfigProblem]
  }

  private let parts: Parts
  /// As the file says, without operators' orders.
  private var file: MTAConfig
  private var isBusy = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(parts: Parts, file: MTAConfig) {
    self.parts = parts
    self.file = file
  }

  // MARK: what is ordered

  /// The file once more.
  func reload() async -> ReloadReport {
    await acquire()
    defer { release() }
    SystemdNotifier.reloading()
    defer { SystemdNotifier.reloaded() }
    let report = await reread()
    parts.config.refusedProblems = report.problems.count
    for change in report.changes { parts.log.notice("configuration: \(change)") }
    for problem in report.problems { parts.log.error("configuration refused: \(problem.description)") }
    if report.applied, report.changes.isEmpty { parts.log.notice("configuration: nothing changed") }
    return report
  }

  private func reread() async -> ReloadReport {
    let read = parts.source.read()
    guard let new = read.config else { return ReloadReport(problems: read.problems + (await restartProblems(read))) }
    do {
      let changes = try await change(to: new, await parts.fleet.orders) {}
      file = new
      return ReloadReport(changes: changes, notices: read.notices)
    } catch let refusal as Refusal {
      return ReloadReport(problems: refusal.problems.map(parts.source.located))
    } catch is RedisError {
      return ReloadReport(problems: [ConfigProblem(key: "", line: nil, text: "Redis is not reachable: pools cannot change now")])
    } catch {
      return ReloadReport(problems: [ConfigProblem(key: "", line: nil, text: "\(error)")])
    }
  }

  /// What would need a restart in a file that has other problems too: everything is said at once.
  private func restartProblems(_ read: ConfigReport) async -> [ConfigProblem] {
    guard let draft = read.draft else { return [] }
    let faulty = read.problems.map(\.key)
    // A faulty value was not read, and a faulty section not as it stands there.
    let keys = ConfigDifference(from: parts.config.current, to: await parts.fleet.orders.over(draft).config).needsRestart
      .filter { key in !faulty.contains { $0 == key || $0.hasPrefix(key + ".") || key.hasPrefix($0 + ".") } }
    return keys.map { parts.source.located(Self.needsRestart($0)) }
  }

  private static func needsRestart(_ key: String) -> ConfigProblem {
    ConfigProblem(key: key, line: nil, text: "cannot change while the supervisor runs: it needs a restart")
  }

  /// - Returns: the address as it is spelt from now on.
  /// - Throws: `APIError` naming the field; nothing is changed then.
  func add(_ ip: OperatorOrders.NewIP) async throws -> String {
    try await order { orders, file in try orders.add(ip, to: file) }
  }

  func remove(_ address: String) async throws -> String {
    try await order { orders, file in try orders.remove(address, from: file) }
  }

  private func order(_ act: (inout OperatorOrders, MTAConfig) throws -> String) async throws -> String {
    await acquire()
    defer { release() }
    var orders = await parts.fleet.orders
    let address = try act(&orders, file)
    let (added, removed) = (orders.added, orders.removed)
    let fleet = parts.fleet
    do {
      let changes = try await change(to: file, orders) {
        try await fleet.setOrders(added: added, removed: removed, forgotten: address)
      }
      for change in changes { parts.log.notice("operator: \(change)") }
    } catch let refusal as Refusal {
      throw APIError(status: 409, text: refusal.problems.map(\.description).joined(separator: "; "))
    }
    return address
  }

  private func acquire() async {
    guard isBusy else {
      isBusy = true
      return
    }
    await withCheckedContinuation { waiting.append($0) }
  }

  private func release() {
    if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
  }

  // MARK: how it is done

  /// - Parameter commit: writes down what was ordered; when it throws, nothing is changed.
  private func change(to file: MTAConfig, _ orders: OperatorOrders, commit: () async throws -> Void) async throws -> [String] {
    let before = parts.config.current
    let (next, problems) = orders.over(file)
    guard problems.isEmpty else { throw Refusal(problems: problems) }
    let difference = ConfigDifference(from: before, to: next)
    guard difference.needsRestart.isEmpty else {
      throw Refusal(problems: difference.needsRestart.map(Self.needsRestart))
    }
    var rows: [String: String] = [:]
    if difference.hasOtherPools {
      try await refuseVanishing(before, next)
      rows = try await parts.store.policyRows()
    }
    parts.config.put(next)
    do {
      // Once more, now that no new mail is let in for what goes.
      if difference.hasOtherPools { try await refuseVanishing(before, next) }
      try await commit()
    } catch {
      parts.config.put(before)
      throw error
    }
    guard !difference.isEmpty else { return [] }
    await adopt(next, before, difference, rows)
    return difference.changes
  }

  private func refuseVanishing(_ before: MTAConfig, _ next: MTAConfig) async throws {
    let problems = try await VanishingSets(
      before: before.addressesByPool, after: next.addressesByPool, store: parts.store, dispatcher: parts.dispatcher, rules: parts.rules
    ).problems()
    guard problems.isEmpty else { throw Refusal(problems: problems) }
  }

  private func adopt(_ next: MTAConfig, _ before: MTAConfig, _ difference: ConfigDifference, _ rows: [String: String]) async {
    let pools = next.addressesByPool
    await parts.book.setPolicies(breaker: next.breaker, warming: next.warming)
    await parts.dispatcher.setPolicies(breaker: next.breaker, warming: next.warming)
    await parts.profiles.setConfigured(next.providers)
    await parts.outcomes.adopt(OutcomeReducer(retry: next.retry, providers: next.providers), pools: pools)
    FailPoint.supervisorInReload.pass()
    if before.webhooks != next.webhooks { parts.senders.set(next.webhooks) }
    if before.limits.orgDaily != next.limits.orgDaily || before.limits.orgHourly != next.limits.orgHourly {
      await parts.dispatcher.limitsChanged()
    }
    let hasOtherIPs = difference.hasOtherPools || before.sourceIPs != next.sourceIPs
    if hasOtherIPs {
      // A new IP's cap stands before its worker takes mail; an old one's gate is shut before its lanes are forgotten.
      await parts.dispatcher.apply(await parts.book.setIPs(next.warmth, rows: rows, now: SystemClock.now()))
      await parts.fleet.retire(difference.removed)
      await parts.dispatcher.setPools(pools)
      await parts.fleet.adopt(next.sourceIPs)
    }
    if hasOtherIPs || before.requiresIdentity != next.requiresIdentity || before.dnsbl.interval != next.dnsbl.interval
      || before.dnsbl.zones != next.dnsbl.zones
    {
      await parts.reputation.adopt(next)
    }
  }
}
