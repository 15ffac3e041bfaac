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

  private let config: ConfigInForce
  private let settings: WorkerLife.Settings
  private let ordersPath: String
  private(set) var orders: OperatorOrders
  var causes = PullCauses()
  let showGate: @Sendable (String, Gate?) async -> Void
  private let warmingRows: @Sendable () async -> [String: WarmingRow]
  var lives: [WorkerLife]
  /// Addresses that the configuration no longer has, whose journals may hold unfinished business.
  var removed: [WorkerLife]
  private var tasks: [String: Task<Void, Never>] = [:]
  private var isRunning = false

  /// How far an IP's warming is.
  struct WarmingRow: Sendable {
    var warming: Warming
    var isInProbation: Bool
  }

  /// - Parameters:
  ///   - pulled: what blocklists and identity had pulled when this process began.
  ///   - gate: (address, gate): what is shown of a shut IP.
  init(
    config: ConfigInForce, settings: WorkerLife.Settings, pulled: [(ip: String, cause: PullCauses.Cause, pull: OperatorOrders.Pull)],
    gate: @escaping @Sendable (String, Gate?) async -> Void, warming: @escaping @Sendable () async -> [String: WarmingRow]
  ) throws {
    self.config = config
    self.settings = settings
    showGate = gate
    warmingRows = warming
    ordersPath = config.stateDir + "/operator.json"
    let orders = try OperatorOrders.read(ordersPath)
    self.orders = orders
    removed = Self.departed(config.current, journalRoot: settings.journalRoot).map { address in
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

  /// Addresses of before that have a journal.
  static func departed(_ config: MTAConfig, journalRoot: String) -> [String] {
    let known = Set(config.sourceIPs.map(\.address))
    let journals = (try? FileManager.default.contentsOfDirectory(atPath: journalRoot)) ?? []
    return journals.filter { !known.contains($0) && IPAddress.canonical($0) != nil }
  }

  /// Runs every worker until cancelled, and waits for their end.
  func run() async {
    for life in lives { await showGate(life.address, causes.gate(life.address)) }
    isRunning = true
    for life in lives + removed { start(life) }
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    isRunning = false
    for task in tasks.values { task.cancel() }
    for task in tasks.values { await task.value }
  }

  /// One task a life, for as long as the fleet runs.
  func start(_ life: WorkerLife) {
    guard isRunning, tasks[life.address] == nil else { return }
    tasks[life.address] = Task { await life.run() }
  }

  func makeLife(_ ip: MTAConfig.SourceIP) -> WorkerLife {
    WorkerLife(ip: ip, settings: settings, pulled: causes.shown(ip.address)?.pull)
  }

  /// Orders about which IPs there are.
  /// - Parameter forgotten: an address whose pull is over with it.
  func setOrders(added: [String: OperatorOrders.Added], removed: [String: Int64], forgotten: String?) throws {
    var next = orders
    next.added = added
    next.removed = removed
    if let forgotten { next.pulled[forgotten] = nil }
    try next.write(ordersPath)
    orders = next
  }

  func list() async -> [Row] {
    var rows: [Row] = []
    let warming = await warmingRows()
    for life in lives {
      let ip = await life.ip
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
    for life in lives { rows.append((life.address, await life.state, await life.status ?? WorkerStatus())) }
    return rows
  }

  /// False when the address is not ours.
  func pull(_ address: String, reason: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    await hold(life, .operator, try noteOut(life, reason))
    return true
  }

  /// The order to keep an IP out, written down.
  func noteOut(_ life: WorkerLife, _ reason: String) throws -> OperatorOrders.Pull {
    let pull = OperatorOrders.Pull(since: SystemClock.now(), reason: reason)
    orders.pulled[life.address] = pull
    try orders.write(ordersPath)
    return pull
  }

  /// Blocklists or identity pull an IP. False when the address is not ours.
  func pull(_ address: String, _ cause: PullCauses.Cause, reason: String, since: Milliseconds) async {
    guard let life = life(address) else { return }
    await hold(life, cause, OperatorOrders.Pull(since: since, reason: reason))
  }

  private func hold(_ life: WorkerLife, _ cause: PullCauses.Cause, _ pull: OperatorOrders.Pull) async {
    causes.add(cause, pull, to: life.address)
    await follow(life)
  }

  /// One cause less; the worker starts when it was the last.
  func release(_ address: String, _ cause: PullCauses.Cause) async {
    guard let life = life(address), causes.remove(cause, from: life.address) else { return }
    await follow(life)
  }

  /// Brings the worker to what the causes say now: they may change while it is told.
  func follow(_ life: WorkerLife) async {
    let address = life.address
    var seen: Int
    repeat {
      seen = causes.version
      await showGate(address, causes.gate(address))
      if let shown = causes.shown(address) { await life.pull(reason: shown.pull.reason) } else { await life.restore() }
    } while seen != causes.version
  }

  func restore(_ address: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    orders.pulled[life.address] = nil
    try orders.write(ordersPath)
    // No order brings an address onto the host.
    for cause in PullCauses.Cause.allCases where cause != .absent { _ = causes.remove(cause, from: life.address) }
    await follow(life)
    return true
  }

  func forgetKey(domain: String) async {
    for life in lives { await life.forgetKey(domain: domain) }
  }

  func life(_ address: String) -> WorkerLife? {
    let canonical = IPAddress.canonical(address)
    return lives.first { $0.address == canonical }
  }
}
