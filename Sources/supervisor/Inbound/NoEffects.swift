import Feedback
import MailModel
struct NoEffects: FeedbackEffects {
  func bounced(_ message: KnownMessage, _ failure: Feedback.Recipient, now: Milliseconds) async throws -> Bool { false }
  func complained(_ message: KnownMessage, _ complaint: Feedback.Complaint, now: Milliseconds) async throws -> Bool { false }
}
