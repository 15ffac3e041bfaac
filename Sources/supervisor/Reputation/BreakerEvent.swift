import DeliveryPolicy
import MailModel

/// `org.circuit_breaker` (contract section 2.3): once for each time the breaker of an organisation opens from closed. Its id is
/// derived, so that an outcome told twice tells it once.
enum BreakerEvent {
  static func opened(
    _ organisation: String, _ breaker: CircuitBreaker, _ bounceRate: Double, _ complaintRate: Double, now: Milliseconds
  ) -> DoneRecord.Event {
    var event = DeliveryEvent(.circuitBreaker)
    event.set("organizationId", organisation, limit: 128)
    event.set("bounceRate", ratio: bounceRate)
    event.set("complaintRate", ratio: complaintRate)
    event.set("severity", "critical")
    event.set("message", message(bounceRate, complaintRate, until: breaker.until))
    event.set("timestamp", now)
    return DoneRecord.Event(
      id: "breaker-\(organisation)-\(breaker.since)-\(breaker.generation)", kind: event.kind.rawValue, json: event.json, fallbackJSON: nil)
  }

  private static func message(_ bounceRate: Double, _ complaintRate: Double, until: Milliseconds) -> String {
    func percent(_ rate: Double) -> String { "\(Double(Int((rate * 1000).rounded())) / 10) %" }
    return "Circuit breaker opened: \(percent(bounceRate)) of the last messages bounced, \(percent(complaintRate)) were complained of; "
      + "mail of this organization is held until \(Timestamp.rfc3339(until))"
  }
}
