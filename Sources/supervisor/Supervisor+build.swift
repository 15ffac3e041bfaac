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
    let sockets = ListenSockets.inherited()
    let startedAt = SystemClock.now()
    for notice in notices { log.notice("configuration: \(notice)") }
    // Whatever is written from here on is nobody else's to read.
    umask(0o077)
    let stateLock = try prepareDirectories(config)
    let parts = try await build(config, configPath: configPath, sockets: sockets, log: log, startedAt: startedAt)
    if config.smtp.sandbox { Welcome.print(config, configPath: configPath) }
    try await ServiceGroup(
      configuration: .init(
        services: parts.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet)
    ).run()
    withExtendedLifetime(stateLock) {}
    log.notice("ended")
  }

  /// For libraries that say more than an operator wants to read.
  private static var quiet: Logger {
    var logger = Logger(label: "quiet")
    logger.logLevel = .error
    return logger
  }

  private static func redisEndpoint(_ config: MTAConfig, _ embedded: EmbeddedRedis?) throws -> (RedisEndpoint, String) {
    let url = embedded.map { "unix://" + $0.socket } ?? config.redis.url
    guard
      let endpoint = RedisEndpoint(
        url: url, username: embedded == nil ? config.redis.username : "", password: embedded?.password ?? config.redis.password)?
        .findingPassword
    else { throw SetupError("redis.url is of a form that this version does not support yet: use embedded, redis:// or unix://") }
    // Workers get it on their command line: without credentials, which go over the control socket.
    return (endpoint, endpoint.url)
  }

  /// Services in the order of their start; they end in the opposite order, each waiting for the one before.
  private static func build(
    _ file: MTAConfig, configPath: String, sockets: ListenSockets, log: Logger, startedAt: Milliseconds
  ) async throws -> [any Service] {
    let config = try ordered(file, log)
    let inForce = ConfigInForce(config)
    let group = MultiThreadedEventLoopGroup.singleton
    let stopping = StopFlag()
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
    let formats = FormatGate(keys: redisKeys, log: log)
    let store = QueueStore(client: client, keys: redisKeys)
    let reading = QueueStore(client: blocking, keys: redisKeys)
    let secret = try secret(config)
    let keys = KeyStore(store: store, box: SecretBox(secret: secret))
    let grants = KeyGrants(store: store, keys: keys, log: log)
    let foreign = embedded == nil ? ForeignRedis(durability: config.redis.durability, log: log) : nil
    let accounts = WorkerAccounts(config: config, store: store, host: host, own: endpoint, log: log)

    let outbox = try EventOutbox(path: config.stateDir + "/outbox.db")
    let history = try HistoryStore(path: config.stateDir + "/history.db")
    let httpClient = HTTPClient(eventLoopGroupProvider: .shared(group))
    let senders = WebhookSenders(config.webhooks, outbox: outbox) {
      WebhookSender(endpoint: $0, outbox: outbox, client: httpClient, log: log)
    }
    let done = DoneWriter(outbox: outbox, history: history, log: log) { senders.wake() }

    let sandbox = config.smtp.sandbox ? try await Sandbox.start(group: group) : nil
    let resolver = try sandbox == nil ? DNSResolver(servers: config.dns.servers, trustAnchors: config.dns.trustAnchors) : nil
    let probe = resolver.map { DNSProbe(resolver: $0, domain: config.bounce.domain) }
    let lookup = destinationLookup(inForce, sandbox, resolver)
    let tls = OutboundTLS(store: store)
    let destinations = Destinations(
      port: sandbox?.sink.port ?? config.smtp.port, providers: config.providers, tls: tls, lookup: lookup)
    let signal = Signal()
    let limits = OrganisationLimits(store: store, config: inForce.limits)
    let rules = PoolRules(store: store)
    let credentials = Credentials(store: store)
    let relay = HeadRelay()
    let pauses = Pauses(store: store, host: host, changed: { signal.fire() }, heads: { await relay.note($0) })
    let departed = Set(Fleet.departed(config, journalRoot: config.stateDir + "/journal"))
    let dispatcher = Dispatcher(
      store: store, host: host, config: config, destinations: destinations, limits: limits, pauses: pauses, departedIPs: departed,
      signal: signal, log: log)
    await relay.connect(dispatcher)
    let heads: @Sendable ([QueueHead]) async -> Void = { await dispatcher.note($0) }
    let deliveries = DeliveryMetrics(providers: config.providers)
    let due = DueLoop(store: store, host: host, pauses: pauses, heads: heads)
    let book = PolicyBook(
      providers: config.providers, breaker: config.breaker, warming: config.warming,
      ips: config.warmth)
    let outcomes = OutcomeLoop(
      store: store, reading: reading, host: host,
      reducer: OutcomeReducer(retry: config.retry, providers: config.providers), pools: config.addressesByPool, departedIPs: departed,
      book: book, dispatcher: dispatcher, done: done, due: due, metrics: deliveries, log: log)

    let urls = URLBlocklist(store: store)
    let profiles = ProviderProfiles(store: store, configured: config.providers) { table in
      await destinations.setProviders(table)
      await dispatcher.setProviders(table)
      await dispatcher.apply(await book.setProviders(table))
    }
    let policy = PolicyRoutes(profiles: profiles, book: book, store: store, dispatcher: dispatcher, urls: urls)

    let relayed = FleetReference()
    let tell: @Sendable ([DoneRecord.Event]) async throws -> Void = { events in
      let now = SystemClock.now()
      try await outbox.store(events.map { ($0, now) })
      senders.wake()
    }
    let reputation = Reputation(
      config: config, resolver: resolver, book: book, store: store, dispatcher: dispatcher, keys: keys, fleet: { relayed.fleet },
      tell: tell, log: log)
    let fleet = try Fleet(
      config: inForce,
      settings: WorkerLife.Settings(
        program: try workerProgram(), host: host, redisURL: redisURL, redisAccess: { try await accounts.admit($0) },
        redisWithdrawal: { await accounts.withdraw($0) }, prefix: config.redis.prefix, journalRoot: config.stateDir + "/journal",
        smtp: config.smtp, store: store, eventLoop: group.next(), log: log, keys: { await grants.answer(ip: $0, domain: $1, entryID: $2) },
        replayed: { await dispatcher.journalReplayed($0, run: $1) }, gate: { await dispatcher.setIP($0, isOpen: $1) },
        stopping: stopping),
      pulled: Reputation.pulled(config) + AddressWatch.pulled(config.sourceIPs.map(\.address)),
      gate: { await dispatcher.setIPGate($0, $1) }, warming: { await reputation.warmingRows() })
    relayed.fleet = fleet
    await keys.setChangeHandler { await fleet.forgetKey(domain: $0) }

    let verp = VERPSigner(key: config.bounce.verpKey, installation: config.redis.prefix + "@" + config.bounce.domain)
    let unsubscriptions = Unsubscriptions(
      store: store, host: host, signer: verp, done: done, unsure: { await outcomes.policyIsStale() })
    let admission = Admission(store: store, config: inForce, log: log)
    let intake = Intake(
      store: store, host: host, config: inForce, numbers: MessageNumbers(store: store), verp: verp,
      pauses: pauses, admission: admission, log: log, heads: heads)
    let bulk = BulkSenders(addsLinks: !config.unsubscribeURL.isEmpty) { await book.isBulkSender($0, at: $1) }
    let returned = ReturnedMail(
      store: store, host: host, history: history, book: book, dispatcher: dispatcher, done: done, providers: config.providers,
      retentionDays: config.historyRetentionDays, log: log, policyIsStale: { await outcomes.policyIsStale() })
    let inspectors = Inspectors(config.inspectors, bounceDomain: config.bounce.domain, group: group, log: log)
    let send = SendHandler(
      intake: intake, admission: admission,
      validator: SendValidator(pools: inForce.pools.map(\.name), maxAge: inForce.smtp.maxAge), keys: keys, rules: rules,
      screen: ContentScreen(urls: urls), inspectors: inspectors, bulk: bulk, clock: SystemClock.now)
    let parts = try InboundParts(
      config: config, store: store, signer: verp, history: history, keys: keys, intake: intake, admission: admission,
      unsubscriptions: unsubscriptions,
      returned: returned, http: httpClient, resolver: resolver,
      isTold: { kind in outbox.endpoints.all.contains { $0.events.isEmpty || $0.events.contains(kind) } }, tell: tell, log: log)
    let submission = SubmissionReceiver(
      config: config, send: send, credentials: credentials, store: store, log: log, clock: SystemClock.now)
    let inbound = try await Self.inbound(config, sockets, receiver: parts.desk, submission: submission, log: log)
    let explainer = Explainer(store: store, history: history, dispatcher: dispatcher, pauses: pauses)
    let deadLetters = DeadLetters(outbox: outbox, senders: senders)
    let queueAdmin = QueueAdmin(store: store, host: host, heads: heads)
    let reputationRoutes = ReputationRoutes(
      config: inForce, reputation: reputation, book: book, store: store, fleet: fleet, dispatcher: dispatcher)
    let reload = Reload(
      parts: .init(
        config: inForce, source: ConfigSource(path: configPath), fleet: fleet, dispatcher: dispatcher, book: book, store: store,
        outcomes: outcomes, profiles: profiles, senders: senders, reputation: reputation, rules: rules, log: log), file: file)
    let health = HealthReport(
      config: inForce, host: config.hostname, startedAt: startedAt, store: store, fleet: fleet,
      lastOutcomeTurn: { await outcomes.lastTurn }, dnsWorks: { await probe?.works() }, reach: deliveries.reach,
      standing: { await reputationRoutes.health() })
    let metrics = MetricsText(
      intake: intake, dispatcher: dispatcher, outcomes: outcomes, fleet: fleet, outbox: outbox, senders: senders,
      deliveries: deliveries, further: FurtherMetrics(inspectors: inspectors, bulk: bulk, returned: returned, book: book), store: store,
      startedAt: startedAt, inbound: parts.metrics)
    let api = APIParts(
      config: inForce, store: store, send: send, batch: BatchHandler(send: send, spoolDirectory: config.stateDir), keys: keys,
      explainer: explainer, dispatcher: dispatcher, history: history,
      health: health, metrics: { await metrics.render() + inbound.metrics() },
      tenants: TenantRoutes(
        config: inForce, credentials: credentials, limits: limits, rules: rules, tls: tls, dispatcher: dispatcher),
      suppressions: SuppressionRoutes(list: Suppressions(store: store)),
      queue: QueueRoutes(store: store, admin: queueAdmin, pauses: pauses, dispatcher: dispatcher, history: history),
      logs: LogRoutes(history: history, providers: config.providers), deadLetters: DeadLetterRoutes(letters: deadLetters), policy: policy,
      reputation: reputationRoutes,
      decision: DecisionRoute(config: inForce, book: book, rules: rules, destinations: destinations, dispatcher: dispatcher),
      feedback: FeedbackRoutes(returned: returned, history: history, store: store, book: book),
      unsubscribes: UnsubscribeRoutes(unsubscriptions: unsubscriptions), inbound: parts.api,
      ips: IPRoutes(reload: reload, fleet: fleet, reputation: reputation))
    let audit = AuditLog(path: config.stateDir + "/audit.jsonl", log: log)
    let server = APIServer(config: inForce, routes: APIServer.routes(api), credentials: credentials, audit: audit, log: log)
    let commands = AdminCommands(
      config: inForce, host: config.hostname, startedAt: startedAt, store: store, fleet: fleet, dispatcher: dispatcher,
      explainer: explainer, history: history, keys: keys, send: send, outbox: outbox, queue: queueAdmin,
      pauses: pauses, suppressions: Suppressions(store: store), policy: policy, reputation: reputation, reputationRoutes: reputationRoutes,
      runtime: RuntimeCommands(reload: reload, fleet: fleet, config: inForce))

    let watchdog = Watchdog(
      outcomes: outcomes, dispatcher: dispatcher, store: store, fleet: fleet, config: inForce, group: group, stopping: stopping,
      log: log)
    let listener = listener(config, sockets, server, watchdog, group, log)
    for socket in sockets.rest {
      log.warning("a passed socket stands for no listen entry", metadata: ["name": "\(socket.name)", "address": "\(socket.address)"])
      close(socket.descriptor)
    }

    var services: [any Service] = [watchdog]
    if let embedded { services.append(LoopService { await embedded.run() }) }
    services.append(
      LoopService {
        await client.run { session, sender in
          try await embedded?.meet(sender)
          try await formats.pass(sender)
          try await accounts.meet(sender)
          await foreign?.meet(session, sender)
        }
      })
    services.append(formats)
    services.append(LoopService { await blocking.run() })
    services.append(
      LoopService {
        var connections = ConnectionWatch(client, blocking)
        while (try? await Task.sleep(for: .seconds(1))) != nil { connections.beat() }
      })
    services.append(LoopService(ending: { try? await httpClient.shutdown() }) { await done.run() })
    services.append(LoopService { await senders.run() })
    services.append(LoopService { await outcomes.run() })
    services.append(LoopService { await due.run() })
    services.append(LoopService { await pauses.run() })
    services.append(LoopService { await profiles.run() })
    services.append(LoopService { await reputation.watchDays() })
    if let blocklists = reputation.blocklists { services.append(LoopService { await blocklists.run() }) }
    if let identity = reputation.identity { services.append(LoopService { await identity.run() }) }
    services.append(LoopService { await dispatcher.run() })
    services.append(LoopService { await housekeeping(history, store, inForce) })
    services += parts.services
    services.append(LoopService { await fleet.run() })
    services.append(LoopService { await AddressWatch(config: inForce, fleet: fleet, log: log).run() })
    services.append(LoopService { await Self.seed(keys, config, log) })
    services.append(LoopService { await admission.run() })
    if sandbox != nil, let url = config.webhooks.first?.url, let receiver = SandboxReceiver.application(url: url) {
      services.append(receiver)
    }
    services.append(
      LoopService {
        do {
          try await AdminServer(
            path: config.runtimeDir + "/control.sock", group: group, log: log,
            answer: { await commands.answer($0, progress: $1, from: $2, audit) }
          ).run()
        } catch { log.error("control socket", metadata: [LogKey.error: "\(error)"]) }
      })
    services.append(Hangup(reload: reload, audit: audit))
    // What was accepted is answered before intake refuses.
    services.append(StopNotice { admission.stop() })
    services += inbound.services
    services.append(listener)
    services.append(
      StopNotice {
        stopping.set()
        SystemdNotifier.stopping()
      })
    return services
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

  /// As the kernel spells a socket's address.
  private static func canonical(_ listen: String) -> String {
    guard let (host, port) = MTAConfig.listenAddress(listen), let address = IPAddress.canonical(host) else { return listen }
    return address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
  }

  private static func listener(
    _ config: MTAConfig, _ sockets: ListenSockets, _ server: APIServer, _ watchdog: Watchdog, _ group: any EventLoopGroup, _ log: Logger
  ) -> HTTPListener {
    let share = sockets.take(ListenSockets.api, listen: [canonical(config.api.listen)])
    for address in share.unlisted {
      log.warning(
        "a passed socket has another address than api.listen", metadata: ["address": "\(address)", "listen": "\(config.api.listen)"])
    }
    let room = min(config.limits.apiConnections, ConnectionBudget(config).api)
    let table = ConnectionTable(limit: room, perPeer: config.limits.apiConnectionsPerIP)
    let limits = ConnectionClock.Limits(
      header: .milliseconds(config.api.headerTimeout), body: .milliseconds(config.api.bodyTimeout),
      idle: .milliseconds(config.api.idleTimeout))
    return HTTPListener(
      share: share, group: group, log: log, gate: AcceptGate(most: room + AcceptGate.beingRefused),
      settings: .init(additionalChannelHandlers: [ConnectionGuard(table: table, limits: limits)]),
      respond: { await server.respond($0, peer: $1.peer).response },
      prepared: { await watchdog.prepared() },
      serving: { addresses in
        log.notice("listening", metadata: ["api": "\(addresses.joined(separator: ", "))"])
        watchdog.isServing(on: addresses)
      })
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

  private static func housekeeping(_ history: HistoryStore, _ store: QueueStore, _ config: ConfigInForce) async {
    while !Task.isCancelled {
      try? await history.prune(before: SystemClock.now() - Milliseconds(config.historyRetentionDays) * 86_400_000)
      try? await store.pruneLanes(before: SystemClock.now() - 60_000)
      try? await Task.sleep(for: .seconds(3600))
    }
  }
}
