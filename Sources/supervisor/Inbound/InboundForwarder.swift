import AsyncHTTPClient
import Foundation
import Logging
import MTAConfig
import MailModel
import NIOCore
import Observability

/// Posts mail of `endpoint` routes to their URLs, signed like webhooks, until it is taken: a mail that was answered 250 is never
/// dropped. What an endpoint refuses for two days is kept among the held mail and told in the log.
actor InboundForwarder {
  static let schedule: [Milliseconds] = [1000, 5000, 15_000, 60_000, 300_000]
  static let patience: Milliseconds = 2 * 86_400_000
  static let parallel = 8

  /// POST of a body; answers the status. Throws when there was no answer or the URL may not be reached.
  typealias Post = @Sendable (_ url: String, _ headers: [(String, String)], _ body: String) async throws -> Int

  private let store: InboundStore
  private let routes: InboundRoutes
  private let secret: @Sendable () -> String?
  private let post: Post
  private let log: Logger
  private let signal = Signal()
  private(set) var forwarded = 0

  /// - Parameter secret: signs for routes without their own.
  init(store: InboundStore, routes: InboundRoutes, secret: @escaping @Sendable () -> String?, post: @escaping Post, log: Logger) {
    self.store = store
    self.routes = routes
    self.secret = secret
    self.post = post
    self.log = log
  }

  nonisolated func wake() { signal.fire() }

  func run() async {
    while !Task.isCancelled {
      do {
        let mails = try await store.due(.forwarding, now: SystemClock.now(), limit: Self.parallel)
        if mails.isEmpty {
          await signal.wait(atMost: .seconds(1))
          continue
        }
        await withTaskGroup(of: Void.self) { group in
          for mail in mails { group.addTask { await self.forward(mail) } }
        }
      } catch {
        log.error("inbound mail cannot be read", metadata: [LogKey.error: "\(error)"])
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  private func forward(_ mail: InboundStore.Mail) async {
    do {
      guard let route = try await routes.route(id: mail.routeID), route.mode == .endpoint, let url = route.endpointUrl,
        let secret = route.secret ?? secret()
      else {
        log.warning("a mail's inbound route is gone; it is held", metadata: ["inbound.id": "\(mail.id)"])
        return try await store.hold(mail.id, reason: "its route is gone")
      }
      guard let content = try await store.content(mail.id) else { return }
      let body = String(decoding: content, as: UTF8.self)
      let headers = WebhookSignature(secret: secret).headers(id: mail.id, body: body, seconds: SystemClock.now() / 1000)
      let status = (try? await post(url, headers, body)) ?? 0
      if (200..<300).contains(status) {
        forwarded += 1
        try await store.drop(mail.id)
      } else if SystemClock.now() - mail.receivedAt > Self.patience {
        log.error("an inbound route's endpoint takes no mail; it is held", metadata: ["inbound.id": "\(mail.id)", "status": "\(status)"])
        try await store.hold(mail.id, reason: "its endpoint does not take it")
      } else {
        let delay = Self.schedule[min(mail.tries, Self.schedule.count - 1)]
        try await store.postpone(mail.id, until: SystemClock.now() + delay)
      }
    } catch {
      log.error("inbound mail waits", metadata: [LogKey.error: "\(error)"])
      try? await store.postpone(mail.id, until: SystemClock.now() + 60_000)
    }
  }
}
