import AsyncHTTPClient
import Foundation
import Logging
import MailModel
import NIOCore
import NIOHTTP1
import Observability

/// Sends one endpoint its events, oldest first. An endpoint that does not answer, or answers 408, 429 or 5xx, is down: its
/// queue waits, and a single probe goes out on the schedule. An event that is refused with another 4xx is tried again by
/// itself, then goes to the dead letters (DESIGN section 8.4).
actor WebhookSender {
  static let schedule: [Milliseconds] = [1000, 5000, 15_000, 60_000, 300_000]
  /// An event refused so often is dead.
  static let maxRefusals = 6

  private enum Result {
    case taken
    case refused(Int)
    case down(retryAfter: Milliseconds?, isTooMany: Bool)
  }

  nonisolated let endpoint: Endpoint
  private let signature: WebhookSignature
  private let outbox: EventOutbox
  private let client: HTTPClient
  private let log: Logger
  private let signal = Signal()
  private var failures = 0
  private var pace = WebhookPace()
  private(set) var isDown = false
  private(set) var delivered = 0

  init(endpoint: Endpoint, outbox: EventOutbox, client: HTTPClient, log: Logger) {
    self.endpoint = endpoint
    signature = WebhookSignature(secret: endpoint.secret)
    self.outbox = outbox
    self.client = client
    self.log = log
  }

  nonisolated func wake() { signal.fire() }

  func run() async {
    while !Task.isCancelled {
      do {
        let limit = isDown ? 1 : pace.window(most: endpoint.ratePerSecond)
        let events = try await outbox.due(endpoint.name, now: SystemClock.now(), after: 0, limit: limit)
        if events.isEmpty {
          await signal.wait(atMost: .seconds(1))
        } else {
          try await send(events)
        }
      } catch {
        log.error("outbox cannot be read", metadata: [LogKey.error: "\(error)"])
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  /// A window of requests; results are written down once for all.
  private func send(_ events: [EventOutbox.Pending]) async throws {
    let started = SystemClock.monotonic()
    var results: [(EventOutbox.Pending, Result)] = []
    var next = 0
    var stop = false
    await withTaskGroup(of: (Int, Result).self) { group in
      func add() {
        guard next < events.count, !stop else { return }
        let index = next
        next += 1
        group.addTask { (index, await self.post(events[index])) }
      }
      for _ in 0..<pace.parallel { add() }
      for await (index, result) in group {
        results.append((events[index], result))
        if case .down = result { stop = true }
        add()
      }
    }
    try await outbox.delivered(
      endpoint.name, results.compactMap { if case .taken = $0.1 { $0.0.sequence } else { nil } })
    for case (let event, .refused(let status)) in results { try await refuse(event, status) }
    let spent = SystemClock.monotonic() - started
    pace.note(
      taken: results.count { if case .taken = $0.1 { true } else { false } }, spent: spent,
      wasTooMany: results.contains { if case .down(_, true) = $0.1 { true } else { false } },
      wasDown: results.contains { if case .down = $0.1 { true } else { false } })
    await settle(results)
    let least = pace.least(results.count, most: endpoint.ratePerSecond)
    if least > spent { try? await Task.sleep(for: .milliseconds(least - spent)) }
  }

  private func settle(_ results: [(EventOutbox.Pending, Result)]) async {
    let taken = results.count { if case .taken = $0.1 { true } else { false } }
    delivered += taken
    var retryAfter: Milliseconds?
    var sawDown = false
    for case (_, .down(let after, _)) in results {
      sawDown = true
      retryAfter = max(retryAfter ?? 0, after ?? 0)
    }
    guard sawDown else {
      if isDown { log.notice("webhook endpoint is up again") }
      isDown = false
      failures = 0
      return
    }
    if !isDown { log.warning("webhook endpoint is down; its events wait on disk") }
    isDown = true
    let delay = max(Self.schedule[min(failures, Self.schedule.count - 1)], retryAfter ?? 0)
    failures += 1
    try? await Task.sleep(for: .milliseconds(delay))
  }

  private func refuse(_ event: EventOutbox.Pending, _ status: Int) async throws {
    let now = SystemClock.now()
    guard event.tries + 1 < Self.maxRefusals else {
      log.error("event refused for good", metadata: ["event.id": "\(event.id)", "status": "\(status)"])
      return try await outbox.bury(endpoint.name, event, body: endpoint.body(event), status: status, now: now)
    }
    let delay = Self.schedule[min(event.tries, Self.schedule.count - 1)]
    try await outbox.postpone(endpoint.name, event.sequence, until: now + delay)
  }

  /// A dead letter once more, by hand. Nil = taken; else the status that refused it, 0 for no answer.
  func resend(_ letter: EventOutbox.Dead) async -> Int? {
    switch await post(id: letter.id, body: letter.json) {
    case .taken: nil
    case .refused(let status): status
    case .down: 0
    }
  }

  private func post(_ event: EventOutbox.Pending) async -> Result { await post(id: event.id, body: endpoint.body(event)) }

  private func post(id: String, body: String) async -> Result {
    var request = HTTPClientRequest(url: endpoint.name)
    request.method = .POST
    for (name, value) in signature.headers(id: id, body: body, seconds: SystemClock.wall() / 1000) {
      request.headers.add(name: name, value: value)
    }
    request.headers.add(name: "User-Agent", value: "owlat-mta")
    request.body = .bytes(ByteBuffer(string: body))
    do {
      let response = try await client.execute(request, timeout: .seconds(10))
      // What a receiver says beside its status is of no interest; read a little so that the connection can be used again.
      _ = try? await response.body.collect(upTo: 65_536)
      let status = Int(response.status.code)
      switch status {
      case 200..<300: return .taken
      case 408, 429, 500...: return .down(retryAfter: Self.retryAfter(response.headers), isTooMany: status == 429)
      default: return .refused(status)
      }
    } catch {
      return .down(retryAfter: nil, isTooMany: false)
    }
  }

  /// Seconds or an HTTP date; at most an hour is honoured.
  private static func retryAfter(_ headers: HTTPHeaders) -> Milliseconds? {
    guard let value = headers.first(name: "Retry-After") else { return nil }
    if let seconds = Int64(value) { return min(max(0, seconds), 3600) * 1000 }
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(secondsFromGMT: 0)
    formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
    guard let date = formatter.date(from: value) else { return nil }
    return min(max(0, Milliseconds(date.timeIntervalSinceNow * 1000)), 3_600_000)
  }
}
