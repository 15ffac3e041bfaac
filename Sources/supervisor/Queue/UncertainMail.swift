import MailModel
import Observability
import Redis

/// Decides of one uncertain message: sent again, or let go. Its content is there until `smtp.max_age` is over.
struct UncertainMail: Sendable {
  enum Decision: String, Sendable {
    /// A new attempt; what came of the one before stays unknown.
    case resend
    /// Ends as `failed` CANCELLED.
    case drop
  }

  static let warning = "The recipient may get this message twice: the first attempt may have been delivered"

  let explainer: Explainer
  let host: String

  /// Members of the answer's object.
  /// - Throws: ``APIError`` 404 when nobody knows the id, 409 when the message is not uncertain, or is no longer kept, or when
  ///   several organisations have the id.
  func decide(_ decision: Decision, _ id: String, organisation: String?) async throws -> [(String, JSONObject.Value)] {
    let store = explainer.store
    let now = SystemClock.now()
    if let number = try await explainer.find(id, organisation) {
      let count =
        switch decision {
        case .resend: try await store.resend(now: now, [number])
        case .drop: try await store.drop(host: host, outcome: Dispatcher.outcome(.cancelled, now), [number])
        }
      if count > 0 {
        switch decision {
        case .resend: return [("messageId", .text(id)), ("state", .text("queued")), ("warning", .text(Self.warning))]
        case .drop: return [("messageId", .text(id)), ("state", .text("failed"))]
        }
      }
    }
    let state = try await explainer.explain(id, organisation: organisation).state
    throw APIError(
      status: 409,
      text: state == "uncertain" ? "The message is uncertain, and kept no longer" : "The message is \(state), not uncertain")
  }
}
