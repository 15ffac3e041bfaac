package import MailModel

/// How one mailbox provider likes its mail from one IP. Field names are the contract's (section 4).
package struct ProviderProfile: Sendable, Equatable {
  /// Messages a minute from one IP: at first, at most, at least.
  package var defaultRate: Double
  package var ceiling: Double
  package var floor: Double
  /// Rate × this on a deferral, × that on sustained success.
  package var backoffFactor: Double
  package var recoveryFactor: Double
  package var tlsMode: Route.TLSDemand
  /// Sessions from one IP.
  package var maxConnections: Int
  /// Sessions from all IPs of all hosts together; 0 = no limit but those of each IP.
  package var maxConnectionsTotal = 0
  package var maxDeliveriesPerConnection: Int
  /// MX suffixes that select it; all MX of a domain must agree.
  package var mx: [String]

  package init(
    defaultRate: Double, ceiling: Double, floor: Double, backoffFactor: Double, recoveryFactor: Double,
    tlsMode: Route.TLSDemand, maxConnections: Int, maxDeliveriesPerConnection: Int, mx: [String]
  ) {
    self.defaultRate = defaultRate
    self.ceiling = ceiling
    self.floor = floor
    self.backoffFactor = backoffFactor
    self.recoveryFactor = recoveryFactor
    self.tlsMode = tlsMode
    self.maxConnections = maxConnections
    self.maxDeliveriesPerConnection = maxDeliveriesPerConnection
    self.mx = mx
  }

  /// Entries that a lane may have out at its worker: twice its sessions, 4 to 64 (DESIGN section 4.7).
  package var window: Int { min(64, max(4, 2 * maxConnections)) }

  package static let builtIn: [MailboxProvider: ProviderProfile] = [
    .gmail: ProviderProfile(
      defaultRate: 100, ceiling: 300, floor: 5, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: .require,
      maxConnections: 5, maxDeliveriesPerConnection: 50, mx: ["google.com", "googlemail.com"]),
    .microsoft: ProviderProfile(
      defaultRate: 80, ceiling: 200, floor: 5, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: .opportunistic,
      maxConnections: 3, maxDeliveriesPerConnection: 100, mx: ["protection.outlook.com", "mx.microsoft"]),
    .yahoo: ProviderProfile(
      defaultRate: 50, ceiling: 150, floor: 3, backoffFactor: 0.4, recoveryFactor: 1.05, tlsMode: .opportunistic,
      maxConnections: 3, maxDeliveriesPerConnection: 100, mx: ["yahoodns.net"]),
    .apple: ProviderProfile(
      defaultRate: 60, ceiling: 150, floor: 5, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: .opportunistic,
      maxConnections: 3, maxDeliveriesPerConnection: 100, mx: ["icloud.com"]),
    .yahooJapan: further(rate: 60, ceiling: 300, connections: 2, messages: 20, mx: ["yahoo.co.jp", "ybb.ne.jp"]),
    .comcast: further(rate: 60, ceiling: 300, tls: .require, connections: 10, messages: 500, mx: ["comcast.net"]),
    .gmx: further(
      rate: 40, ceiling: 150, tls: .require, connections: 4, messages: 20,
      mx: ["gmx.net", "gmx.com", "web.de", "mail.com", "kundenserver.de"]),
    .orange: further(rate: 30, ceiling: 120, tls: .require, connections: 2, messages: 100, mx: ["orange.fr", "wanadoo.fr"]),
    .laposte: further(rate: 30, ceiling: 120, connections: 2, messages: 50, mx: ["laposte.net"]),
    .mimecast: further(
      rate: 60, ceiling: 200, connections: 5, messages: 100, mx: ["mimecast.com", "mimecast.co.za", "mimecast-offshore.com"]),
    .barracuda: further(rate: 60, ceiling: 200, tls: .require, connections: 5, messages: 15, mx: ["barracudanetworks.com"]),
    .proofpoint: further(rate: 60, ceiling: 200, connections: 5, messages: 100, mx: ["pphosted.com", "ppe-hosted.com"]),
    .kpn: further(rate: 40, ceiling: 150, tls: .require, connections: 5, messages: 10, mx: ["kpnmail.nl"]),
    .netvigator: further(rate: 30, ceiling: 100, tls: .require, connections: 5, messages: 10, mx: ["netvigator.com"]),
    .qq: further(rate: 20, ceiling: 60, tls: .require, connections: 4, messages: 8, mx: ["qq.com"]),
    .netease: further(rate: 20, ceiling: 60, tls: .require, connections: 4, messages: 7, mx: ["netease.com"]),
    .godaddy: further(rate: 30, ceiling: 120, connections: 3, messages: 50, mx: ["secureserver.net"]),
    .cox: further(rate: 30, ceiling: 120, connections: 5, messages: 100, mx: ["cox.net", "cloudfilter.net"]),
    .spectrum: further(rate: 30, ceiling: 120, connections: 3, messages: 100, mx: ["charter.net", "rr.com"]),
    .other: further(rate: 30, ceiling: 100, connections: 3, messages: 100, mx: []),
  ]

  /// Upstream's figures for `other`, but for what is publicly known of the provider: sessions and messages a session are
  /// never more than its own pages or the peers' defaults say, rates start low and are learnt.
  private static func further(
    rate: Double, ceiling: Double, tls: Route.TLSDemand = .opportunistic, connections: Int, messages: Int, mx: [String]
  ) -> ProviderProfile {
    ProviderProfile(
      defaultRate: rate, ceiling: ceiling, floor: 2, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: tls, maxConnections: connections,
      maxDeliveriesPerConnection: messages, mx: mx)
  }
}

/// The profiles in force.
package struct ProviderTable: Sendable, Equatable {
  package var profiles: [MailboxProvider: ProviderProfile]

  package init(profiles: [MailboxProvider: ProviderProfile] = ProviderProfile.builtIn) { self.profiles = profiles }

  package subscript(_ provider: MailboxProvider) -> ProviderProfile {
    profiles[provider] ?? ProviderProfile.builtIn[provider] ?? Self.fallback
  }

  private static let fallback = ProviderProfile(
    defaultRate: 30, ceiling: 100, floor: 2, backoffFactor: 0.5, recoveryFactor: 1.1, tlsMode: .opportunistic,
    maxConnections: 3, maxDeliveriesPerConnection: 100, mx: [])

  /// By MX names: every one must end in a suffix of the same provider.
  package func provider(mx hosts: [String]) -> MailboxProvider {
    let found = Set(hosts.map(provider(mx:)))
    return found.count == 1 ? found.first ?? .other : .other
  }

  package func provider(mx host: String) -> MailboxProvider {
    let host = host.lowercased()
    for provider in MailboxProvider.allCases {
      for suffix in self[provider].mx where host == suffix || host.hasSuffix("." + suffix) { return provider }
    }
    return .other
  }

  /// Scope of the throttle inside one IP: the provider, or for `other` the recipient domain (contract section 4).
  package static func laneKey(_ provider: MailboxProvider, domain: String) -> String {
    provider == .other ? "domain:\(domain)" : provider.rawValue
  }
}
