import MTAConfig
import MailModel
import Redis

/// How much each organisation may send in an hour and a day (UTC): its own figures, else the configuration's.
struct OrganisationLimits: Sendable {
  struct Row: Codable, Sendable {
    var dailyLimit: Int?
    var hourlyLimit: Int?
  }

  struct Limits: Sendable, Equatable {
    var daily: Int
    var hourly: Int
  }

  private let table: ConfiguredTable<Row>
  private let store: QueueStore
  private let config: @Sendable () -> MTAConfig.Limits

  init(store: QueueStore, config: @autoclosure @escaping @Sendable () -> MTAConfig.Limits) {
    self.store = store
    table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.organisationLimits))
    self.config = config
  }

  func limits(of organisation: String) async throws -> Limits {
    merged(try await table.row(organisation))
  }

  /// For a dispatch: what cannot be read counts as the configuration says.
  func limits(of organisations: [String]) async -> [String: Limits] {
    let rows = (try? await table.rows(organisations)) ?? [:]
    return Dictionary(organisations.map { ($0, merged(rows[$0])) }, uniquingKeysWith: { first, _ in first })
  }

  /// Sets the figures that are given.
  func set(_ organisation: String, daily: Int?, hourly: Int?) async throws {
    var row = try await table.row(organisation) ?? Row()
    row.dailyLimit = daily ?? row.dailyLimit
    row.hourlyLimit = hourly ?? row.hourlyLimit
    try await table.set(organisation, row)
  }

  /// What was dispatched in this hour and day.
  func usage(_ organisation: String, now: Milliseconds) async throws -> (daily: Int, hourly: Int) {
    let values = try await store.counters([Self.dayKey(organisation, now), Self.hourKey(organisation, now)])
    return (values[0], values[1])
  }

  /// The counters of one pick, hour first.
  static func counters(_ organisation: String, _ limits: Limits, _ now: Milliseconds) -> [DispatchCounter] {
    [
      DispatchCounter(
        counter: SharedCounter(key: hourKey(organisation, now), limit: limits.hourly, secondsToLive: 7200),
        stop: .organisationLimit(until: (now / 3_600_000 + 1) * 3_600_000)),
      DispatchCounter(
        counter: SharedCounter(key: dayKey(organisation, now), limit: limits.daily, secondsToLive: 172_800),
        stop: .organisationLimit(until: (now / 86_400_000 + 1) * 86_400_000)),
    ]
  }

  private static func hourKey(_ organisation: String, _ now: Milliseconds) -> String { "oh:\(now / 3_600_000):\(organisation)" }
  private static func dayKey(_ organisation: String, _ now: Milliseconds) -> String { "od:\(now / 86_400_000):\(organisation)" }

  private func merged(_ row: Row?) -> Limits {
    let defaults = config()
    return Limits(daily: row?.dailyLimit ?? defaults.orgDaily, hourly: row?.hourlyLimit ?? defaults.orgHourly)
  }
}
