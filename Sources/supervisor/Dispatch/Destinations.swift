import DNS
import DeliveryPolicy
import MTAConfig
import MailModel
import Observability

/// Domain → route, cached by the time DNS gives it. The only place that asks for MX records; in the sandbox every domain is
/// the sink.
actor Destinations {
  struct Known: Sendable {
    var route: Route
    var encoded: [UInt8]
    var provider: MailboxProvider
  }

  enum Answer: Sendable {
    case known(Known)
    case unknown(why: String, until: Milliseconds)
    case closed(ConcludeReason)
  }

  private let lookup: @Sendable (String) async -> MailHosts
  private var providers: ProviderTable
  private let tls: OutboundTLS
  private let port: Int
  private var cache: [String: (answer: Answer, until: Milliseconds)] = [:]
  private var running: [String: Task<(answer: Answer, until: Milliseconds), Never>] = [:]

  init(port: Int, providers: ProviderTable, tls: OutboundTLS, lookup: @escaping @Sendable (String) async -> MailHosts) {
    self.port = port
    self.providers = providers
    self.tls = tls
    self.lookup = lookup
  }

  /// Routes carry their provider's limits: they are made anew, on the DNS answers that are known.
  func setProviders(_ providers: ProviderTable) {
    guard providers != self.providers else { return }
    self.providers = providers
    for (domain, row) in cache {
      guard case .known(let known) = row.answer else { continue }
      let profile = providers[known.provider]
      var route = known.route
      route.tls = profile.tlsMode
      route.maxConnections = profile.maxConnections
      route.maxDeliveriesPerConnection = profile.maxDeliveriesPerConnection
      cache[domain] = (.known(Known(route: route, encoded: route.encoded(), provider: known.provider)), row.until)
    }
  }

  /// From the cache or from DNS; concurrent questions for one domain share one lookup.
  func answer(for domain: String) async -> Answer {
    let now = SystemClock.now()
    if let cached = cache[domain], cached.until > now { return cached.answer }
    if let task = running[domain] { return await task.value.answer }
    let task = Task { await resolve(domain) }
    running[domain] = task
    let row = await task.value
    running[domain] = nil
    if cache.count > 100_000 { cache = cache.filter { $0.value.until > now } }
    cache[domain] = row
    return row.answer
  }

  /// Without asking DNS; nil when nothing fresh is known.
  func cached(_ domain: String) async -> Known? {
    guard let row = cache[domain], row.until > SystemClock.now(), case .known(var known) = row.answer,
      let demand = try? await tls.demand(for: domain)
    else { return nil }
    guard demand == .require, known.route.tls != .require else { return known }
    known.route.tls = .require
    known.encoded = known.route.encoded()
    return known
  }

  private func resolve(_ domain: String) async -> (answer: Answer, until: Milliseconds) {
    let hosts = await lookup(domain)
    let now = SystemClock.now()
    let until = now + Milliseconds(max(5, min(hosts.ttl, 86_400))) * 1000
    switch hosts.status {
    case .hosts(let list):
      let provider = providers.provider(mx: hosts.mxNames)
      let profile = providers[provider]
      let route = Route(
        hosts: list.map { Route.Host(name: $0.name, addresses: $0.addresses) }, port: port, tls: profile.tlsMode,
        maxConnections: profile.maxConnections, maxDeliveriesPerConnection: profile.maxDeliveriesPerConnection,
        validUntil: until)
      return (.known(Known(route: route, encoded: route.encoded(), provider: provider)), until)
    case .noSuchDomain: return (.closed(.noSuchDomain), min(until, now + 300_000))
    case .nullMX: return (.closed(.nullMX), min(until, now + 300_000))
    case .noMailHost: return (.closed(.noMailHost), min(until, now + 300_000))
    case .unknown(let why):
      let again = now + Milliseconds(max(5, min(hosts.ttl, 60))) * 1000
      return (.unknown(why: why, until: again), again)
    }
  }
}
