import ControlProtocol
import Foundation
import MTAConfig
import MailModel
import Observability

/// All workers of this host, and what operators ordered of them.
actor Fleet {
  struct Row: Codable, Sendable {
    var address: String
    var `public`: String
    var pool: String
    var ehlo: String
    var state: IPState
    var reason: String?
    var since: String
    var pid: Int32?
    var warming: Warming?

    enum CodingKeys: String, CodingKey { case address, `public`, pool, ehlo, state, reason, since, pid, warming }

    /// Absent values are null, not missing: a fixed shape for scripts.
    func encode(to encoder: any Encoder) throws {
      var box = encoder.container(keyedBy: CodingKeys.self)
      try box.encode(address, forKey: .address)
      try box.encode(`public`, forKey: .public)
      try box.encode(pool, forKey: .pool)
      try box.encode(ehlo, forKey: .ehlo)
      try box.encode(state, forKey: .state)
      try box.encode(reason, forKey: .reason)
      try box.encode(since, forKey: .since)
      try box.encode(pid, forKey: .pid)
      try box.encode(warming, forKey: .warming)
    }
  }

  struct Warming: Codable, Sendable {
    var day: Int
    var cap: Int
    var sent: Int
  }

  private let config: MTAConfig
  private let ordersPath: String
  private var orders: OperatorOrders
  private var causes = PullCauses()
  private let showGate: @Sendable (String, Gate?) async -> Void
  private let warmingRows: @Sendable () async -> [String: WarmingRow]
  private let lives: [WorkerLife]
  /// Addresses that the configuration no longer has, whose journals may hold unfinished business.
  private let removed: [WorkerLife]

  /// How far an IP's warming is.
  struct WarmingRow: Sendable {
    var warming: Warming
    var isInProbation: Bool
  }

  /// - Parameters:
  ///   - pulled: what blocklists and identity had pulled when this process began.
  ///   - gate: (address, gate): what is shown of a shut IP.
  init(
    config: MTAConfig, settings: WorkerLife.Settings, pulled: [(ip: String, cause: PullCauses.Cause, pull: OperatorOrders.Pull)],
    gate: @escaping @Sendable (String, Gate?) async -> Void, warming: @escaping @Sendable () async -> [String: WarmingRow]
  ) throws {
    self.config = config
    showGate = gate
    warmingRows = warming
    ordersPath = config.stateDir + "/operator.json"
    let orders = try OperatorOrders.read(ordersPath)
    self.orders = orders
    let known = Set(config.sourceIPs.map(\.address))
    let journals = (try? FileManager.default.contentsOfDirectory(atPath: settings.journalRoot)) ?? []
    removed = journals.filter { !known.contains($0) && IPAddress.canonical($0) != nil }.map { address in
      WorkerLife(
        ip: MTAConfig.SourceIP(address: address, publicAddress: address, ehloName: config.hostname, isWarmed: false),
        settings: settings, pulled: OperatorOrders.Pull(since: SystemClock.now(), reason: "not in the configuration"))
    }
    var causes = PullCauses()
    for (ip, pull) in orders.pulled { causes.add(.operator, pull, to: ip) }
    for (ip, cause, pull) in pulled { causes.add(cause, pull, to: ip) }
    self.causes = causes
    lives = config.sourceIPs.map { WorkerLife(ip: $0, settings: settings, pulled: causes.shown($0.address)?.pull) }
  }

  /// Runs every worker until cancelled, and waits for their end.
  func run() async {
    for life in lives { await showGate(life.ip.address, causes.gate(life.ip.address)) }
    await withTaskGroup(of: Void.self) { group in
      for life in lives + removed { group.addTask { await life.run() } }
    }
  }

  func list() async -> [Row] {
    var rows: [Row] = []
    let warming = await warmingRows()
    for life in lives {
      let ip = life.ip
      var state = await life.state
      let row = warming[ip.address]
      if state == .active, let row { state = row.isInProbation ? .probation : .warming }
      rows.append(
        Row(
          address: ip.address, public: ip.publicAddress, pool: config.pools(of: ip.address).joined(separator: ","),
          ehlo: ip.ehloName, state: state, reason: await life.reason,
          since: Timestamp.rfc3339(await life.since), pid: await life.pid, warming: row?.warming))
    }
    return rows
  }

  /// What each worker said of itself last; an empty one where none runs.
  func statuses() async -> [(address: String, state: IPState, status: WorkerStatus)] {
    var rows: [(address: String, state: IPState, status: WorkerStatus)] = []
    for life in lives { rows.append((life.ip.address, await life.state, await life.status ?? WorkerStatus())) }
    return rows
  }

  /// False when the address is not ours.
  func pull(_ address: String, reason: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    let pull = OperatorOrders.Pull(since: SystemClock.now(), reason: reason)
    orders.pulled[life.ip.address] = pull
    try orders.write(ordersPath)
    await hold(life, .operator, pull)
    return true
  }

  /// Blocklists or identity pull an IP. False when the address is not ours.
  func pull(_ address: String, _ cause: PullCauses.Cause, reason: String, since: Milliseconds) async {
    guard let life = life(address) else { return }
    await hold(life, cause, OperatorOrders.Pull(since: since, reason: reason))
  }

  private func hold(_ life: WorkerLife, _ cause: PullCauses.Cause, _ pull: OperatorOrders.Pull) async {
    causes.add(cause, pull, to: life.ip.address)
    await follow(life)
  }

  /// One cause less; the worker starts when it was the last.
  func release(_ address: String, _ cause: PullCauses.Cause) async {
    guard let life = life(address), causes.remove(cause, from: life.ip.address) else { return }
    await follow(life)
  }

  /// Brings the worker to what the causes say now: they may change while it is told.
  private func follow(_ life: WorkerLife) async {
    let address = life.ip.address
    var seen: Int
    repeat {
      seen = causes.version
      await showGate(address, causes.gate(address))
      if let shown = causes.shown(address) { await life.pull(reason: shown.pull.reason) } else { await life.restore() }
    } while seen != causes.version
  }

  func restore(_ address: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    orders.pulled[life.ip.address] = nil
    try orders.write(ordersPath)
    for cause in PullCauses.Cause.allCases { _ = causes.remove(cause, from: life.ip.address) }
    await follow(life)
    return true
  }

  func forgetKey(domain: String) async {
    for life in lives { await life.forgetKey(domain: domain) }
  }

  private func life(_ address: String) -> WorkerLife? {
    let canonical = IPAddress.canonical(address)
    return lives.first { $0.ip.address == canonical }
  }
}
