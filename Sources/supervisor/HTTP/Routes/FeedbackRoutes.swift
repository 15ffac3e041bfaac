import DeliveryPolicy
import HTTPTypes
import MailModel
import Observability
import Redis

/// Complaints and bounces that a client got elsewhere; an organisation's word moves nothing that it shares with others, the
/// operator's does (a feedback loop to a mailbox of its own, a provider's portal), and who is a
/// bulk sender.
struct FeedbackRoutes: Sendable {
  let returned: ReturnedMail
  let history: HistoryStore
  let store: QueueStore
  let book: PolicyBook

  var all: [APIRoute] {
    [
      APIRoute(method: .post, path: "/v1/messages/:id/feedback", access: .tenant) { call in
        let news = try Self.news(try await call.json())
        let number = try await number(call.parameters["id"] ?? "", call.organisation)
        let answer = try await returned.take(news, of: number, speaksOfIP: call.organisation == nil)
        switch answer {
        case .taken, .repeated:
          return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("result", .text(answer.rawValue))]).string)
        case .ended: throw APIError(status: 409, text: "The message was not delivered: nothing can come back of it")
        case .early: throw APIError(status: 409, text: "The message is still under way")
        case .unknown: throw APIError(status: 404, text: "Message not found")
        }
      },
      APIRoute(method: .get, path: "/v1/bulk-senders", access: .master) { _ in
        let now = SystemClock.now()
        let rows = await book.bulkSenders().map { key, volume in
          JSONObject([
            ("organizationId", .text(key.organisation)), ("provider", .text(key.provider?.rawValue ?? "")),
            ("since", .text(Timestamp.rfc3339(volume.bulkSince))), ("today", .number(Int64(volume.today(now: now)))),
          ])
        }
        return HTTPAnswer(.ok, JSONObject([("senders", JSONObject.list(rows))]).string)
      },
    ]
  }

  private static func news(_ body: JSONBody) throws(APIError) -> ReturnedMail.News {
    switch try body.text("kind") {
    case "complaint":
      let isp = try body.text("sourceIsp")
      return .complaint(
        .init(
          text: try body.text("message", limit: 2_000) ?? "", reportedDomain: try body.domain("reportedDomain"),
          sourceISP: isp.flatMap { MailboxProvider(rawValue: $0.lowercased()) }))
    case "bounce":
      guard let diagnostic = try body.text("diagnostic", limit: 2_000) else { throw .bad("diagnostic is required") }
      let status = try body.text("status", limit: 16)
      if let status, status.wholeMatch(of: #/[245]\.\d{1,3}\.\d{1,3}/#) == nil { throw .bad("status must be like 5.1.1") }
      return .bounce(.init(diagnostic: diagnostic, status: status, replyClass: nil))
    default: throw .bad("kind must be complaint or bounce")
    }
  }

  private func number(_ id: String, _ organisation: String?) async throws -> MessageNumber {
    let entries = try await history.find(id, organisation: organisation)
    if organisation == nil, Set(entries.map(\.organizationId)).count > 1 { throw Explainer.ambiguous }
    if let number = entries.first.flatMap({ MessageNumber($0.number) }) { return number }
    let live = try await store.numbers(messageID: id)
    if organisation == nil, live.count > 1 { throw Explainer.ambiguous }
    guard let number = organisation == nil ? live.values.first : organisation.flatMap({ live[$0] }) else {
      throw APIError(status: 404, text: "Message not found")
    }
    return number
  }
}
