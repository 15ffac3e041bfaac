import AsyncHTTPClient
import DNS
import Logging
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import NIOHTTP1
import Observability
import Redis
import ServiceLifecycle

/// All that serves the mail that comes in, put together.
struct InboundParts: Sendable {
  let desk: InboundDesk
  let api: InboundRoutesAPI
  let metrics: InboundMetrics
  let services: [any Service]

  init(
    config: MTAConfig, store: QueueStore, signer: VERPSigner, history: HistoryStore, keys: KeyStore, intake: Intake, admission: Admission,
    unsubscriptions: Unsubscriptions, returned: ReturnedMail, http: HTTPClient, resolver: DNSResolver?,
    isTold: @escaping @Sendable (_ kind: String) -> Bool, tell: @escaping @Sendable ([DoneRecord.Event]) async throws -> Void,
    log: Logger
  ) throws {
    let counts = InboundCounts()
    let routes = InboundRoutes(store: store)
    let mailStore = try InboundStore(path: config.stateDir + "/inbound.db", most: config.bounce.inboundMaxMiB << 20)
    let secret = config.webhooks.first?.secret
    let forwarder = InboundForwarder(
      store: mailStore, route: { try await routes.route(id: $0) }, secret: { secret }, post: Self.poster(config, http, resolver), log: log)
    let mails = InboundMails(store: mailStore, forwarder: forwarder, counts: counts, isTold: isTold, tell: tell)
    let postmaster = PostmasterRelay(config: config, intake: intake, keys: keys, mails: mailStore, counts: counts)
    desk = InboundDesk(
      addresses: InboundAddresses(config: config, signer: signer, routes: routes, returnPathHosts: { try await keys.returnPathHosts() }),
      feedback: FeedbackDesk(
        signer: signer, history: history, store: store, returned: returned, counts: counts, providers: config.providers),
      postmaster: postmaster, unsubscriptions: unsubscriptions,
      mails: mails, counts: counts,
      room: InboundRoom(standing: { admission.standing }, admitFile: { admission.admitFile(octets: $0) }, mails: mailStore),
      authenticator: resolver.map { InboundAuthenticator(resolver: $0) }, log: log)
    api = InboundRoutesAPI(config: config, routes: routes, mails: mailStore) { mail in
      guard mail.routeID != PostmasterRelay.routeID else { return try await postmaster.retry(mail) }
      let route = try await routes.route(id: mail.routeID)
      if route?.mode == .endpoint { return try await mails.forwardAgain(mail) }
      try await mails.release(mail, organisation: route?.organizationId)
    }
    metrics = InboundMetrics(counts: counts, mails: mailStore)
    let watch = RelayWatch(mails: mailStore, queue: store, history: history, counts: counts, log: log)
    services = [
      LoopService { await forwarder.run() },
      LoopService { await watch.run() },
      LoopService {
        while !Task.isCancelled {
          try? await mailStore.prune(before: SystemClock.now() - 7 * 86_400_000)
          try? await Task.sleep(for: .seconds(3600))
        }
      },
    ]
  }

  /// URLs of routes come in by the API: where they lead is judged at each call. An installation that may deliver to its own
  /// host (`smtp.allow_loopback_mx`) is a test's and may post to it.
  private static func poster(_ config: MTAConfig, _ client: HTTPClient, _ resolver: DNSResolver?) -> InboundForwarder.Post {
    guard let resolver, !config.smtp.allowLoopbackMX, !config.smtp.sandbox else { return { try await post(client, $0, $1, $2) } }
    let fetch = GuardedFetch(
      addresses: AddressGuard(own: HostAddresses.now() + config.sourceIPs.map(\.publicAddress)), schemes: ["http", "https"], ports: nil,
      group: client.eventLoopGroup, resolve: GuardedFetch.resolving(with: resolver))
    return { url, headers, body in
      var request = GuardedFetch.Request(url: url)
      request.method = .POST
      request.headers = headers + [("User-Agent", "owlat-mta")]
      request.body = Array(body.utf8)
      request.timeLimit = .seconds(30)
      request.maxAnswer = 65_536
      return try await fetch.call(request).status
    }
  }

  private static func post(_ client: HTTPClient, _ url: String, _ headers: [(String, String)], _ body: String) async throws -> Int {
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    request.headers.add(name: "User-Agent", value: "owlat-mta")
    request.body = .bytes(ByteBuffer(string: body))
    let response = try await client.execute(request, timeout: .seconds(30))
    _ = try? await response.body.collect(upTo: 65_536)
    return Int(response.status.code)
  }
}
