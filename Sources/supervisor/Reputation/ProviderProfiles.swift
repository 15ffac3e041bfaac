import DeliveryPolicy
import Logging
import MailModel
import Observability
import Redis

/// The profiles in force: built in, over them the configuration, over those what the API set. A change applies at once on the
/// host that made it, and within five seconds on others.
actor ProviderProfiles {
  /// The fields that are given; nil ones stay as configured.
  struct Override: Codable, Sendable, Equatable {
    var defaultRate: Double?
    var ceiling: Double?
    var floor: Double?
    var backoffFactor: Double?
    var recoveryFactor: Double?
    var tlsMode: String?
    var maxConnections: Int?
    var maxConnectionsTotal: Int?
    var maxDeliveriesPerConnection: Int?
  }

  private var configured: ProviderTable
  private let table: ConfiguredTable<Override>
  private let apply: @Sendable (ProviderTable) async -> Void
  private var overrides: [String: Override] = [:]
  private var isLoaded = false

  init(store: QueueStore, configured: ProviderTable, apply: @escaping @Sendable (ProviderTable) async -> Void) {
    self.configured = configured
    table = ConfiguredTable(RedisHash(client: store.client, key: store.keys.providerProfiles))
    self.apply = apply
  }

  /// Follows what other hosts set, until cancelled.
  func run() async {
    while !Task.isCancelled {
      if let rows = try? await table.all(), rows != overrides || !isLoaded { await adopt(rows) }
      try? await Task.sleep(for: .milliseconds(isLoaded ? 5000 : 100))
    }
  }

  var profiles: ProviderTable {
    var table = configured
    for (name, override) in overrides {
      guard let provider = MailboxProvider(rawValue: name) else { continue }
      table.profiles[provider] = override.over(configured[provider])
    }
    return table
  }

  /// - Returns: the profile in force afterwards.
  func set(_ provider: MailboxProvider, _ change: Override) async throws -> ProviderProfile {
    // Over what Redis holds: another host may have changed other fields meanwhile.
    var rows = try await table.all()
    let merged = change.over(rows[provider.rawValue])
    try await table.set(provider.rawValue, merged)
    rows[provider.rawValue] = merged
    await adopt(rows)
    return profiles[provider]
  }

  /// What a change would make of the profile, for checking it first.
  func preview(_ provider: MailboxProvider, _ change: Override) -> ProviderProfile {
    change.over(overrides[provider.rawValue]).over(configured[provider])
  }

  /// - Returns: false when the profile was as configured already.
  func reset(_ provider: MailboxProvider) async throws -> Bool {
    let wasThere = try await table.remove(provider.rawValue)
    var rows = overrides
    rows[provider.rawValue] = nil
    await adopt(rows)
    return wasThere
  }

  func isOverridden(_ provider: MailboxProvider) -> Bool { overrides[provider.rawValue] != nil }

  /// The configuration's profiles are others; what the API set stands over them as before.
  func setConfigured(_ table: ProviderTable) async {
    guard table != configured else { return }
    configured = table
    await apply(profiles)
  }

  private func adopt(_ rows: [String: Override]) async {
    overrides = rows
    isLoaded = true
    await apply(profiles)
  }
}

extension ProviderProfiles.Override {
  /// Over an earlier change of the same profile.
  func over(_ before: Self?) -> Self {
    Self(
      defaultRate: defaultRate ?? before?.defaultRate, ceiling: ceiling ?? before?.ceiling, floor: floor ?? before?.floor,
      backoffFactor: backoffFactor ?? before?.backoffFactor, recoveryFactor: recoveryFactor ?? before?.recoveryFactor,
      tlsMode: tlsMode ?? before?.tlsMode, maxConnections: maxConnections ?? before?.maxConnections,
      maxConnectionsTotal: maxConnectionsTotal ?? before?.maxConnectionsTotal,
      maxDeliveriesPerConnection: maxDeliveriesPerConnection ?? before?.maxDeliveriesPerConnection)
  }

  func over(_ profile: ProviderProfile) -> ProviderProfile {
    var profile = profile
    profile.defaultRate = defaultRate ?? profile.defaultRate
    profile.ceiling = ceiling ?? profile.ceiling
    profile.floor = floor ?? profile.floor
    profile.backoffFactor = backoffFactor ?? profile.backoffFactor
    profile.recoveryFactor = recoveryFactor ?? profile.recoveryFactor
    if let tlsMode, tlsMode != "opportunistic" { profile.tlsMode = .require }
    if tlsMode == "opportunistic" { profile.tlsMode = .opportunistic }
    profile.maxConnections = maxConnections ?? profile.maxConnections
    profile.maxConnectionsTotal = maxConnectionsTotal ?? profile.maxConnectionsTotal
    profile.maxDeliveriesPerConnection = maxDeliveriesPerConnection ?? profile.maxDeliveriesPerConnection
    return profile
  }
}
