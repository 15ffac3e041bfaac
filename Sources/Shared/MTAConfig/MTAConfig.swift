package import DeliveryPolicy
package import MailModel

/// The configuration in force (DESIGN section 8.1). Durations are milliseconds.
package struct MTAConfig: Sendable {
  package struct API: Sendable {
    package var listen = "127.0.0.1:3100"
    package var masterKey = ""
    package var maxBodyMiB = 40
    /// From the first octet of a request to the end of its header; silence within a body; between requests.
    package var headerTimeout: Milliseconds = 10_000
    package var bodyTimeout: Milliseconds = 20_000
    package var idleTimeout: Milliseconds = 75_000
  }

  package struct RedisServer: Sendable {
    package enum Durability: String, Sendable, CaseIterable {
      /// fsync before each answer.
      case always
      /// fsync each second.
      case everysec
    }

    /// `embedded`, `redis://…` or `unix://…`.
    package var url = "embedded"
    package var durability = Durability.always
    package var prefix = "mta"
    package var username = ""
    package var password = ""
    /// Each worker is a Redis user of its own, made by the supervisor.
    package var hasWorkerUsers = true
  }

  package struct DNSServers: Sendable {
    package var servers: [String] = []
    package var trustAnchors: [String] = []
  }

  package struct SMTP: Sendable {
    package var port = 25
    package var connectTimeout: Milliseconds = 30_000
    package var commandTimeout: Milliseconds = 300_000
    package var dataTimeout: Milliseconds = 600_000
    package var maxAge: Milliseconds = 4 * 86_400_000
    package var sandbox = false
    package var allowLoopbackMX = false
  }

  package struct Bounce: Sendable {
    package var domain = ""
    package var verpKey = ""
    /// Where mail for the return-paths comes in; empty = nowhere on this host.
    package var listen: [Listen] = []
    package var tls: TLSFiles?
    /// Who gets what is written to postmaster and abuse; empty = nobody.
    package var postmaster = ""
    /// Mail of inbound routes and of postmaster that may wait on disk, MiB.
    package var inboundMaxMiB = 1024
  }

  package struct Submission: Sendable {
    package var listen: [Listen] = []
    package var tls: TLSFiles?
  }

  package struct Webhook: Sendable, Equatable {
    package var url: String
    package var secret: String
    /// Empty = all.
    package var events: [String]
    /// Most events a second; 0 = no limit.
    package var ratePerSecond = 0

    package init(url: String, secret: String, events: [String], ratePerSecond: Int = 0) {
      self.url = url
      self.secret = secret
      self.events = events
      self.ratePerSecond = ratePerSecond
    }
  }

  package struct SourceIP: Sendable, Equatable {
    package var address: String
    /// As the world sees it, behind 1:1 NAT; else the address.
    package var publicAddress: String
    package var ehloName: String
    /// Exempt from cap and pacing.
    package var isWarmed: Bool

    package init(address: String, publicAddress: String, ehloName: String, isWarmed: Bool) {
      self.address = address
      self.publicAddress = publicAddress
      self.ehloName = ehloName
      self.isWarmed = isWarmed
    }
  }

  package struct DNSBL: Sendable {
    package var interval: Milliseconds = 900_000
    /// Empty = no list is asked.
    package var zones: [BlocklistZone] = []
  }

  package struct Limits: Sendable {
    package var orgDaily = 50_000
    package var orgHourly = 5_000
    /// Requests a second by API key and by client address; 0 = no limit.
    package var apiRatePerKey = 0
    package var apiRatePerIP = 0
    /// Open connections to the API, in all and from each client address (IPv6: /64).
    package var apiConnections = 4096
    package var apiConnectionsPerIP = 512
    package var queueMaxMessages = 5_000_000
    /// 0 = half of memory, at most 16,384.
    package var queueMaxMiB = 0
    package var minFreeMiB = 512
  }

  package var hostname = ""
  package var secret = ""
  package var stateDir = "/var/lib/owlat-mta"
  package var runtimeDir = "/run/owlat-mta"
  package var api = API()
  package var redis = RedisServer()
  package var dns = DNSServers()
  package var smtp = SMTP()
  package var retry = RetryPolicy()
  package var bounce = Bounce()
  package var submission = Submission()
  package var webhooks: [Webhook] = []
  /// Below which `/u/<token>` is served; empty = mail carries no unsubscribe links of ours.
  package var unsubscribeURL = ""
  /// Pool → addresses, in the file's order.
  package var pools: [(name: String, ips: [String])] = []
  /// Every address once.
  package var sourceIPs: [SourceIP] = []
  package var providers = ProviderTable()
  package var limits = Limits()
  package var breaker = BreakerPolicy()
  package var warming = WarmingPolicy()
  package var dnsbl = DNSBL()
  /// False: faults of PTR, forward match and EHLO name only warn.
  package var requiresIdentity = true
  package var historyRetentionDays = 30
  package var inspectors: [Inspector] = []
  /// PEM by domain: `DKIM_KEYS`, written to the key store at start when the domain has none.
  package var dkimSeeds: [(domain: String, selector: String, privateKey: String)] = []

  package init() {}

  package func pools(of address: String) -> [String] { pools.filter { $0.ips.contains(address) }.map(\.name) }
}

/// The outcome of reading: a configuration only when nothing is wrong.
package struct ConfigReport: Sendable {
  package var config: MTAConfig?
  /// What could be read, with problems; nil when the file is no mapping.
  package var draft: MTAConfig?
  package var problems: [ConfigProblem]
  /// Keys that are valid and have no effect in this version.
  package var notices: [ConfigProblem]

  package init(config: MTAConfig?, draft: MTAConfig? = nil, problems: [ConfigProblem], notices: [ConfigProblem]) {
    self.config = config
    self.draft = draft
    self.problems = problems
    self.notices = notices
  }
}
