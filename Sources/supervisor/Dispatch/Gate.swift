import MailModel

/// What holds a scope: why, since when, until when. The dispatcher decides by these values, and `explain` shows the same
/// ones (DESIGN section 3).
struct Gate: Codable, Sendable, Equatable {
  enum Scope: String, Codable, Sendable {
    case installation, ip, provider, lane, domain, organisation, message
  }

  enum Reason: String, Codable, Sendable {
    case throttle, connections
    case warmingCap = "warming_cap"
    case warmingPacing = "warming_pacing"
    case providerWarmingCap = "provider_warming_cap"
    case breaker
    case orgLimit = "org_limit"
    case organisationPaused = "org_paused"
    case queuePaused = "queue_paused"
    case connectionBackoff = "connection_backoff"
    case smtpResponse = "smtp_response"
    case deferred, scheduled
    case noEligibleIP = "no_eligible_ip"
    case blocklisted, identity, dns, content, redis
  }

  var scope: Scope
  var key: String
  var reason: Reason
  var since: Milliseconds
  /// Nil when unknown.
  var until: Milliseconds?
}
