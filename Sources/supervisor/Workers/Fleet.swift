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
  private let lives: [WorkerLife]
  /// Addresses that the configuration no longer has, whose journals may hold unfinished business.
  private let removed: [WorkerLife]

  init(config: MTAConfig, settings: WorkerLife.Settings) throws {
    self.config = config
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
    lives = config.sourceIPs.map { WorkerLife(ip: $0, settings: settings, pulled: orders.pulled[$0.address]) }
  }

  /// Runs every worker until cancelled, and waits for their end.
  func run() async {
    await withTaskGroup(of: Void.self) { group in
      for life in lives + removed { group.addTask { await life.run() } }
    }
  }

  func list() async -> [Row] {
    var rows: [Row] = []
    for life in lives {
      let ip = life.ip
      rows.append(
        Row(
          address: ip.address, public: ip.publicAddress, pool: config.pools(of: ip.address).joined(separator: ","),
          ehlo: ip.ehloName, state: await life.state, reason: await life.reason,
          since: Timestamp.rfc3339(await life.since), pid: await life.pid, warming: nil))
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
    orders.pulled[life.ip.address] = OperatorOrders.Pull(since: SystemClock.now(), reason: reason)
    try orders.write(ordersPath)
    await life.pull(reason: reason)
    return true
  }

  func restore(_ address: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    orders.pulled[life.ip.address] = nil
    try orders.write(ordersPath)
    await life.restore()
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
