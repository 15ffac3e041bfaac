import AsyncHTTPClient
import Foundation
import Logging
import MTAConfig
import MailModel
import NIOCore
import Observability

/// Posts mail of `endpoint` routes to their URLs, signed like webhooks, until it is taken: a mail that was answered 250 is never
/// dropped. What an endpoint does not take in days of trying is kept among the held mail and told in the log.
///
/// Routes take turns. Each has two mails on their way at most, and one while its endpoint does not take any: whoever hangs keeps
/// its own mail waiting and nobody else's.
actor InboundForwarder {
  static let schedule: [Milliseconds] = [1000, 5000, 15_000, 60_000, 300_000]
  /// How long a mail is tried that its endpoint refuses, and one whose endpoint does not answer, which may be for our own network.
  /// Only time in which this process ran counts, and only after so many tries: an outage of ours gives nothing up.
  static let patience: Milliseconds = 2 * 86_400_000
  static let patienceInSilence: Milliseconds = 7 * 86_400_000
  static let leastTries = 24
  static let parallel = 32
  static let perRoute = 2
  /// Octets of mail, as it came, that are on their way.
  static let mostOctets = 128 << 20

  /// POST of a body; answers the status. Throws when there was no answer or the URL may not be reached.
  typealias Post = @Sendable (_ url: String, _ headers: [(String, String)], _ body: String) async throws -> Int

  private let store: InboundStore
  private let route: @Sendable (_ id: String) async throws -> InboundRoutes.Route?
  private let secret: @Sendable () -> String?
  private let post: Post
  private let log: Logger
  private let clock: @Sendable () -> Milliseconds
  private let startedAt: Milliseconds
  private let signal = Signal()
  /// Sizes of the mails that are on their way, by route and id.
  private var flights: [String: [String: Int]] = [:]
  /// Tries in a row that a route's endpoint did not take.
  private var failures: [String: Int] = [:]
  /// Routes of which the log tells that their endpoint takes no mail.
  private var told: Set<String> = []
  private var lastRoute = ""
  private(set) var forwarded = 0

  /// - Parameter secret: signs for routes without their own.
  init(
    store: InboundStore, route: @escaping @Sendable (_ id: String) async throws -> InboundRoutes.Route?,
    secret: @escaping @Sendable () -> String?, post: @escaping Post, log: Logger,
    clock: @escaping @Sendable () -> Milliseconds = SystemClock.now
  ) {
    self.store = store
    self.route = route
    self.secret = secret
    self.post = post
    self.log = log
    self.clock = clock
    startedAt = clock()
  }

  nonisolated func wake() { signal.fire() }

  func run() async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled {
        do {
          for mail in try await next() {
            flights[mail.routeID, default: [:]][mail.id] = mail.size
            group.addTask { await self.send(mail) }
          }
          await signal.wait(atMost: .seconds(1))
        } catch {
          log.error("inbound mail cannot be read", metadata: [LogKey.error: "\(error)"])
          try? await Task.sleep(for: .seconds(1))
        }
      }
    }
  }

  private func send(_ mail: InboundStore.Mail) async {
    await forward(mail)
    flights[mail.routeID]?[mail.id] = nil
    if flights[mail.routeID]?.isEmpty == true { flights[mail.routeID] = nil }
    signal.fire()
  }

  /// What may go now, beginning with the route behind the one that was served last.
  private func next() async throws -> [InboundStore.Mail] {
    var room = Self.parallel - flights.values.reduce(0) { $0 + $1.count }
    var octets = flights.values.reduce(0) { $1.values.reduce($0, +) }
    guard room > 0 else { return [] }
    var found: [InboundStore.Mail] = []
    let routes = try await store.routes(.forwarding)
    for route in routes.filter({ $0 > lastRoute }) + routes.filter({ $0 <= lastRoute }) where room > 0 {
      let busy = flights[route] ?? [:]
      let free = (failures[route] == nil ? Self.perRoute : 1) - busy.count
      guard free > 0 else { continue }
      let due = try await store.due(.forwarding, route: route, now: clock(), limit: free + busy.count).filter { busy[$0.id] == nil }
      for mail in due.prefix(min(free, room)) {
        guard octets == 0 || octets + mail.size <= Self.mostOctets else { return found }
        found.append(mail)
        room -= 1
        octets += mail.size
        lastRoute = route
      }
    }
    return found
  }

  /// One try.
  func forward(_ mail: InboundStore.Mail) async {
    do {
      guard let route = try await route(mail.routeID), route.mode == .endpoint, let url = route.endpointUrl,
        let secret = route.secret ?? secret()
      else {
        log.warning("a mail's inbound route is gone; it is held", metadata: ["inbound.id": "\(mail.id)"])
        return try await store.hold(mail.id, reason: "its route is gone")
      }
      guard let content = try await store.content(mail.id) else { return }
      let body = String(decoding: content, as: UTF8.self)
      let headers = WebhookSignature(secret: secret).headers(id: mail.id, body: body, seconds: SystemClock.wall() / 1000)
      var answer = Answer.nothing
      do { answer = .status(try await post(url, headers, body)) } catch let refusal as GuardedFetch.Refusal {
        answer = Answer(refusal)
      } catch {}
      if case .status(200..<300) = answer {
        failures[mail.routeID] = nil
        if told.remove(mail.routeID) != nil {
          log.notice("an inbound route's endpoint takes mail again", metadata: ["route": "\(mail.routeID)"])
        }
        forwarded += 1
        try await store.drop(mail.id)
      } else {
        try await refused(mail, answer)
      }
    } catch {
      log.error("inbound mail waits", metadata: [LogKey.error: "\(error)"])
      try? await store.lookAgain(mail.id, at: clock() + 60_000)
    }
  }

  /// What came of a try.
  private enum Answer {
    case status(Int)
    /// Its URL may not be called, or its answer (a redirect) not be followed.
    case forbidden(GuardedFetch.Refusal)
    case nothing

    /// A name that has no address now may have one later.
    init(_ refusal: GuardedFetch.Refusal) {
      if case .unresolved = refusal { self = .nothing } else { self = .forbidden(refusal) }
    }

    var why: String {
      switch self {
      case .status(let status): "its endpoint answers \(status)"
      case .forbidden(let refusal): "its endpoint may not be used: \(refusal)"
      case .nothing: "its endpoint does not answer"
      }
    }

    /// How long it is tried.
    var patience: Milliseconds {
      if case .status = self { InboundForwarder.patience } else { InboundForwarder.patienceInSilence }
    }

    /// After how many failures one after the other the log tells: what may not be called does not change by itself.
    var failuresToTell: Int { if case .forbidden = self { 1 } else { InboundForwarder.schedule.count } }
  }

  private func refused(_ mail: InboundStore.Mail, _ answer: Answer) async throws {
    let now = clock()
    failures[mail.routeID, default: 0] += 1
    if failures[mail.routeID, default: 0] >= answer.failuresToTell, told.insert(mail.routeID).inserted {
      log.warning(
        "an inbound route's endpoint takes no mail: it waits", metadata: ["route": "\(mail.routeID)", LogKey.error: "\(answer.why)"])
    }
    let tries = mail.tries + 1
    let triedFor = mail.triedFor + (mail.triedAt == 0 ? 0 : max(0, now - max(mail.triedAt, startedAt)))
    if tries >= Self.leastTries, triedFor >= answer.patience {
      log.error(
        "an inbound route's endpoint takes no mail; it is held", metadata: ["inbound.id": "\(mail.id)", LogKey.error: "\(answer.why)"])
      try await store.hold(mail.id, reason: answer.why)
    } else {
      let delay = Self.schedule[min(mail.tries, Self.schedule.count - 1)]
      try await store.refused(mail.id, at: now, triedFor: triedFor, until: now + delay)
    }
  }
}
