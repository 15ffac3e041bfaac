import AsyncHTTPClient
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
    config: MTAConfig, store: QueueStore, signer: VERPSigner, history: HistoryStore, keys: KeyStore, intake: Intake,
    unsubscriptions: Unsubscriptions, returned: ReturnedMail, http: HTTPClient,
    tell: @escaping @Sendable ([DoneRecord.Event]) async throws -> Void, log: Logger
  ) throws {
    let counts = InboundCounts()
    let routes = InboundRoutes(store: store)
    let mailStore = try InboundStore(path: config.stateDir + "/inbound.db")
    let secret = config.webhooks.first?.secret
    let forwarder = InboundForwarder(
      store: mailStore, routes: routes, secret: { secret }, post: { try await Self.post(http, $0, $1, $2) }, log: log)
    let mails = InboundMails(store: mailStore, forwarder: forwarder, counts: counts, tell: tell)
    desk = InboundDesk(
      addresses: InboundAddresses(config: config, signer: signer, routes: routes, returnPathHosts: { try await keys.returnPathHosts() }),
      feedback: FeedbackDesk(signer: signer, history: history, store: store, returned: returned, counts: counts),
      postmaster: PostmasterRelay(config: config, intake: intake, keys: keys, counts: counts), unsubscriptions: unsubscriptions,
      mails: mails, counts: counts, log: log)
    api = InboundRoutesAPI(config: config, routes: routes, mails: mailStore) { mail in
      try await mails.release(mail, organisation: try await routes.route(id: mail.routeID)?.organizationId)
    }
    metrics = InboundMetrics(counts: counts, mails: mailStore)
    services = [
      LoopService { await forwarder.run() },
      LoopService {
        while !Task.isCancelled {
          try? await mailStore.prune(before: SystemClock.now() - 7 * 86_400_000)
          try? await Task.sleep(for: .seconds(3600))
        }
      },
    ]
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
