import AsyncHTTPClient
import CShims
import DNS
import DeliveryPolicy
import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import Journal
import Logging
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import NIOPosix
import Observability
import Redis
import SMTPServer
import ServiceLifecycle
import UnixSignals

/// The composition root: everything is made here, and here is the order in which it starts and ends.
enum Installation {
  static func run(_ config: MTAConfig, configPath: String, notices: [String]) async throws {
    signal(SIGPIPE, SIG_IGN)
    shim_malloc_setup()
    Log.bootstrap(program: "supervisor")
    let log = Logger(label: "supervisor")
    let startedAt = SystemClock.now()
    for notice in notices { log.notice("configuration: \(notice)") }
    try prepareDirectories(config)
    let stateLock = try lock(config.stateDir)
    let parts = try await build(config, log: log, startedAt: startedAt)
    if config.smtp.sandbox { Welcome.print(config, configPath: configPath) }
    try await ServiceGroup(
      configuration: .init(
        services: parts.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet)
    ).run()
    SystemdNotifier.stopping()
    withExtendedLifetime(stateLock) {}
    log.notice("ended")
  }

  /// One supervisor a state directory; a second one is told who holds it.
  private static func lock(_ directory: String) throws -> JournalLock {
    switch JournalLock.take(directory: directory) {
    case .success(let lock): return lock
    case .failure(.held(let pid)):
      throw SetupError("another supervisor (process \(pid.map(String.init) ?? "?")) runs on \(directory)")
    case .failure(let error): throw error
    }
  }

  /// For libraries that say more than an operator wants to read.
  private static var quiet: Logger {
    var logger = Logger(label: "quiet")
    logger.logLevel = .error
    return logger
  }

  private static func prepareDirectories(_ config: MTAConfig) throws {
    for path in [config.stateDir, config.runtimeDir, config.stateDir + "/journal"] {
      do {
        try FileManager.default.createDirectory(
          atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      } catch { throw SetupError("\(path) cannot be made: \(error.localizedDescription)") }
    }
  }

  /// The secret of the configuration, or one made once and kept.
  private static func secret(_ config: MTAConfig) throws -> String {
    if !config.secret.isEmpty { return config.secret }
    let path = config.stateDir + "/secret"
    if let text = try? String(contentsOfFile: path, encoding: .utf8), text.utf8.count >= 32 {
      return text.trimmingCharacters(in: .newlines)
    }
    let fresh = Digest.hex(Digest.randomBytes(32))
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    guard descriptor >= 0, write(descriptor, fresh, fresh.utf8.count) == fresh.utf8.count, fsync(descriptor) == 0,
      close(descriptor) == 0
    else { throw SetupError("\(path) cannot be written") }
    return fresh
  }

  /// What this host is called in the queue, made once: outcomes wait under this name, whatever the host is renamed to.
  private static func hostIdentity(_ config: MTAConfig) throws -> String {
    let path = config.stateDir + "/host-id"
    if let text = try? String(contentsOfFile: path, encoding: .utf8), !text.isEmpty {
      return text.trimmingCharacters(in: .newlines)
    }
    let fresh = config.hostname + "-" + Digest.hex(Digest.randomBytes(4))
    do { try (fresh + "\n").write(toFile: path, atomically: true, encoding: .utf8) } catch {
      throw SetupError("\(path) cannot be written")
    }
    return fresh
  }

  private static func redisEndpoint(_ config: MTAConfig, _ embedded: EmbeddedRedis?) throws -> (RedisEndpoint, String) {
    let url = embedded.map { "unix://" + $0.socket } ?? config.redis.url
    guard
      let endpoint = RedisEndpoint(url: url, username: config.redis.username, password: config.redis.password)
    else { throw SetupError("redis.url \(url) is not supported yet by this version: use embedded, redis:// or unix://") }
    // Workers get it on their command line: without credentials, which go by environment.
    switch endpoint.address {
    case .unix(let path): return (endpoint, "unix://" + path)
    case .tcp(let host, let port): return (endpoint, "redis://" + (host.contains(":") ? "[\(host)]" : host) + ":\(port)")
    }
  }

  /// Services in the order of their start; they end in the opposite order, each waiting for the one before.
  private static func build(_ config: MTAConfig, log: Logger, startedAt: Milliseconds) async throws -> [any Service] {
    let group = MultiThreadedEventLoopGroup.singleton
    let host = try hostIdentity(config)
    let embedded =
      config.redis.url == "embedded"
      ? try EmbeddedRedis(
        stateDir: config.stateDir, durability: config.redis.durability,
        maxMiB: EmbeddedRedis.maxMemory(config.limits.queueMaxMiB), log: log) : nil
    let (endpoint, redisURL) = try redisEndpoint(config, embedded)
    let client = RedisClient(endpoint: endpoint, eventLoop: group.next(), loadsFunctions: true, clock: SystemClock.now)
    let blocking = RedisClient(endpoint: endpoint, eventLoop: group.next(), loadsFunctions: false, clock: SystemClock.now)
    let redisKeys = RedisKeys(prefix: config.redis.prefix)
    let store = QueueStore(client: client, keys: redisKeys)
    let reading = QueueStore(client: blocking, keys: redisKeys)
    let secret = try secret(config)
    let keys = KeyStore(store: store, box: SecretBox(secret: secret))

    let outbox = try EventOutbox(path: config.stateDir + "/outbox.db")
    let history = try HistoryStore(path: config.stateDir + "/history.db")
    let httpClient = HTTPClient(eventLoopGroupProvider: .shared(group))
    outbox.endpoints.set(config.webhooks.map(Endpoint.init))
    let senders = config.webhooks.map {
      WebhookSender(endpoint: Endpoint($0), outbox: outbox, client: httpClient, log: log)
    }
    let done = DoneWriter(outbox: outbox, history: history, log: log) { for sender in senders { sender.wake() } }

    let sandbox = config.smtp.sandbox ? try await Sandbox.start(group: group) : nil
    let resolver = try sandbox == nil ? DNSResolver(servers: config.dns.servers, trustAnchors: config.dns.trustAnchors) : nil
    let probe = resolver.map { DNSProbe(resolver: $0, domain: config.bounce.domain) }
    let lookup = destinationLookup(config, sandbox, resolver)
    let tls = OutboundTLS(store: store)
    let destinations = Destinations(
      port: sandbox?.sink.port ?? config.smtp.port, providers: config.providers, tls: tls, lookup: lookup)
    let signal = Signal()
    let limits = OrganisationLimits(store: store, config: config.limits)
    let rules = PoolRules(store: store)
    let credentials = Credentials(store: store)
    let relay = HeadRelay()
    let pauses = Pauses(store: store, host: host, changed: { signal.fire() }, heads: { await relay.note($0) })
    let dispatcher = Dispatcher(
      store: store, host: host, config: config, destinations: destinations, limits: limits, pauses: pauses, signal: signal,
      log: log)
    await relay.connect(dispatcher)
    let heads: @Sendable ([QueueHead]) async -> Void = { await dispatcher.note($0) }
    let deliveries = DeliveryMetrics(providers: config.providers)
    let due = DueLoop(store: store, host: host, pauses: pauses, heads: heads)
    let book = PolicyBook(
      providers: config.providers, breaker: config.breaker, warming: config.warming,
      ips: Dictionary(config.sourceIPs.map { ($0.address, $0.isWarmed) }, uniquingKeysWith: { first, _ in first }))
    let pools = Dictionary(config.pools.map { ($0.name, $0.ips) }, uniquingKeysWith: { first, _ in first })
    let outcomes = OutcomeLoop(
      store: store, reading: reading, host: host,
      reducer: OutcomeReducer(retry: config.retry, providers: config.providers), pools: pools, book: book, dispatcher: dispatcher,
      done: done, due: due,
      metrics: deliveries, log: log)

    let urls = URLBlocklist(store: store)
    let profiles = ProviderProfiles(store: store, configured: config.providers) { table in
      await destinations.setProviders(table)
      await dispatcher.setProviders(table)
      await dispatcher.apply(await book.setProviders(table))
    }
    let policy = PolicyRoutes(profiles: profiles, book: book, store: store, dispatcher: dispatcher, urls: urls)

    let relayed = FleetReference()
    let reputation = Reputation(
      config: config, resolver: resolver, book: book, store: store, dispatcher: dispatcher, keys: keys, fleet: { relayed.fleet },
      tell: { events in
        let now = SystemClock.now()
        try await outbox.store(events.map { ($0, now) })
        for sender in senders { sender.wake() }
      }, log: log)
    let fleet = try Fleet(
      config: config,
      settings: WorkerLife.Settings(
        program: try workerProgram(), host: host, redisURL: redisURL, redisUsername: endpoint.username,
        redisPassword: endpoint.password, prefix: config.redis.prefix, journalRoot: config.stateDir + "/journal",
        smtp: config.smtp, store: store, eventLoop: group.next(), log: log, keys: { await keys.signingKeys($0) },
        replayed: { await dispatcher.journalReplayed($0, run: $1) }, gate: { await dispatcher.setIP($0, isOpen: $1) }),
      pulled: Reputation.pulled(config), gate: { await dispatcher.setIPGate($0, $1) }, warming: { await reputation.warmingRows() })
    relayed.fleet = fleet
    await keys.setChangeHandler { await fleet.forgetKey(domain: $0) }

    let admission = Admission(store: store, config: config, log: log)
    let intake = Intake(
      store: store, host: host, config: config, numbers: MessageNumbers(store: store),
      verp: VERPSigner(key: config.bounce.verpKey, installation: config.redis.prefix + "@" + config.bounce.domain),
      pauses: pauses, admission: admission, log: log, heads: heads)
    let send = SendHandler(
      intake: intake, admission: admission,
      validator: SendValidator(pools: config.pools.map(\.name), maxAge: config.smtp.maxAge), keys: keys, rules: rules,
      screen: ContentScreen(urls: urls), clock: SystemClock.now)
    let explainer = Explainer(store: store, history: history, dispatcher: dispatcher, pauses: pauses)
    let deadLetters = DeadLetters(outbox: outbox, senders: senders)
    let queueAdmin = QueueAdmin(store: store, host: host, heads: heads)
    let reputationRoutes = ReputationRoutes(
      config: config, reputation: reputation, book: book, store: store, fleet: fleet, dispatcher: dispatcher)
    let health = HealthReport(
      config: config, host: config.hostname, startedAt: startedAt, store: store, fleet: fleet,
      lastOutcomeTurn: { await outcomes.lastTurn }, dnsWorks: { await probe?.works() }, standing: { await reputationRoutes.health() })
    let metrics = MetricsText(
      intake: intake, dispatcher: dispatcher, outcomes: outcomes, fleet: fleet, outbox: outbox, senders: senders,
      deliveries: deliveries, store: store, startedAt: startedAt)
    let api = APIParts(
      config: config, store: store, send: send, batch: BatchHandler(send: send, spoolDirectory: config.stateDir), keys: keys,
      explainer: explainer, dispatcher: dispatcher, history: history,
      health: health, metrics: { await metrics.render() },
      tenants: TenantRoutes(
        config: config, credentials: credentials, limits: limits, rules: rules, tls: tls, dispatcher: dispatcher),
      suppressions: SuppressionRoutes(list: Suppressions(store: store)),
      queue: QueueRoutes(store: store, admin: queueAdmin, pauses: pauses, dispatcher: dispatcher, history: history),
      logs: LogRoutes(history: history, providers: config.providers), deadLetters: DeadLetterRoutes(letters: deadLetters), policy: policy,
      reputation: reputationRoutes,
      decision: DecisionRoute(config: config, book: book, rules: rules, destinations: destinations, dispatcher: dispatcher))
    let server = APIServer(config: config, routes: APIServer.routes(api), credentials: credentials, log: log)
    let commands = AdminCommands(
      config: config, host: config.hostname, startedAt: startedAt, store: store, fleet: fleet, dispatcher: dispatcher,
      explainer: explainer, history: history, keys: keys, send: send, outbox: outbox, queue: queueAdmin,
      pauses: pauses, suppressions: Suppressions(store: store), policy: policy, reputation: reputation, reputationRoutes: reputationRoutes)

    var services: [any Service] = []
    if let embedded { services.append(LoopService { await embedded.run() }) }
    services.append(LoopService { await client.run { _, sender in try await Self.greet(sender) } })
    services.append(LoopService { await blocking.run() })
    services.append(LoopService(ending: { try? await httpClient.shutdown() }) { await done.run() })
    for sender in senders { services.append(LoopService { await sender.run() }) }
    services.append(LoopService { await outcomes.run() })
    services.append(LoopService { await due.run() })
    services.append(LoopService { await pauses.run() })
    services.append(LoopService { await profiles.run() })
    services.append(LoopService { await reputation.watchDays() })
    if let blocklists = reputation.blocklists { services.append(LoopService { await blocklists.run() }) }
    if let identity = reputation.identity { services.append(LoopService { await identity.run() }) }
    services.append(LoopService { await dispatcher.run() })
    services.append(LoopService { await housekeeping(history, store, config) })
    services.append(LoopService { await fleet.run() })
    services.append(LoopService { await Self.seed(keys, config, log) })
    services.append(LoopService { await admission.run() })
    if sandbox != nil, let url = config.webhooks.first?.url, let receiver = SandboxReceiver.application(url: url) {
      services.append(receiver)
    }
    services.append(
      LoopService {
        do {
          try await AdminServer(
            path: config.runtimeDir + "/control.sock", group: group, log: log, answer: { await commands.answer($0, progress: $1) }
          ).run()
        } catch { log.error("control socket", metadata: [LogKey.error: "\(error)"]) }
      })
    services.append(application(config, server, group, log))
    services.append(Watchdog(outcomes: outcomes, store: store, fleet: fleet, log: log))
    services.append(StopNotice { admission.stop() })
    return services
  }

  /// Nothing yet to ask a fresh connection; the Functions are loaded by the client.
  private static func greet(_ sender: RedisClient.Sender) async throws { _ = try await sender.send(RedisCommand("PING")) }

  private static func destinationLookup(
    _ config: MTAConfig, _ sandbox: Sandbox?, _ resolver: DNSResolver?
  ) -> @Sendable (String) async -> MailHosts {
    if let sandbox { return { sandbox.hosts(of: $0) } }
    guard let resolver else {
      return { _ in MailHosts(status: .unknown("no resolver"), mxNames: [], ttl: 60) }
    }
    let own = Set(config.sourceIPs.flatMap { [$0.address, $0.publicAddress] })
    let allowsLoopback = config.smtp.allowLoopbackMX
    let lookup = MXLookup(resolver: resolver) { address in
      allowsLoopback || !(IPAddress.isLoopback(address) || own.contains(IPAddress.canonical(address) ?? address))
    }
    return { await lookup.hosts(of: $0) }
  }

  /// `ipworker` beside this program.
  private static func workerProgram() throws -> String {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    for folder in [(own as NSString).deletingLastPathComponent, "/usr/lib/owlat-mta", "/usr/libexec/owlat-mta"] {
      let candidate = folder + "/ipworker"
      if access(candidate, X_OK) == 0 { return candidate }
    }
    throw SetupError("ipworker is not beside \(own)")
  }

  private static func application(_ config: MTAConfig, _ server: APIServer, _ group: any EventLoopGroup, _ log: Logger) -> some Service {
    let address = MTAConfig.listenAddress(config.api.listen) ?? ("127.0.0.1", 3100)
    let responder = CallbackResponder { (request: Request, context: APIContext) in
      await server.respond(request, peer: context.peer).response
    }
    return Application(
      responder: responder,
      configuration: .init(
        address: .hostname(address.0, port: address.1), serverName: nil, backlog: 1024,
        availableConnectionsDelegate: .maximum(ConnectionBudget.connections(ips: config.sourceIPs.count), logger: quiet)),
      onServerRunning: { channel in
        log.notice("listening", metadata: ["api": "\(channel.localAddress.map { "\($0)" } ?? config.api.listen)"])
        SystemdNotifier.ready(status: "listening on \(config.api.listen)")
      },
      eventLoopGroupProvider: .shared(group), logger: quiet)
  }

  private static func seed(_ keys: KeyStore, _ config: MTAConfig, _ log: Logger) async {
    while !Task.isCancelled, !config.dkimSeeds.isEmpty {
      do {
        try await keys.seed(config.dkimSeeds)
        break
      } catch is RedisError {
        try? await Task.sleep(for: .milliseconds(200))
      } catch {
        log.error("DKIM_KEYS", metadata: [LogKey.error: "\(error)"])
        break
      }
    }
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
  }

  private static func housekeeping(_ history: HistoryStore, _ store: QueueStore, _ config: MTAConfig) async {
    while !Task.isCancelled {
      try? await history.prune(before: SystemClock.now() - Milliseconds(config.historyRetentionDays) * 86_400_000)
      try? await store.pruneLanes(before: SystemClock.now() - 60_000)
      try? await Task.sleep(for: .seconds(3600))
    }
  }
}

/// What a request knows of its connection.
struct APIContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let peer: String?

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    peer = source.channel.remoteAddress?.ipAddress
  }
}

/// A loop as a service: cancelled when it is its turn to end.
struct LoopService: Service {
  private let ending: @Sendable () async -> Void
  private let body: @Sendable () async -> Void

  init(ending: @escaping @Sendable () async -> Void = {}, _ body: @escaping @Sendable () async -> Void) {
    self.ending = ending
    self.body = body
  }

  func run() async throws {
    await cancelWhenGracefulShutdown { await body() }
    await ending()
  }
}

/// First to end: from then on intake refuses.
struct StopNotice: Service {
  private let stop: @Sendable () -> Void

  init(_ stop: @escaping @Sendable () -> Void) { self.stop = stop }

  func run() async throws {
    try? await gracefulShutdown()
    stop()
  }
}
