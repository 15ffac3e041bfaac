/// A place where our answer is meant to differ from upstream's. Each must be needed: one that no longer occurs fails the test.
struct GoldenException: Sendable {
  /// `family/note`.
  var exchange: String
  /// Of the member; empty = the whole answer.
  var path: String
  /// What we answer instead: JSON, nil when the member is absent; for the whole answer status and JSON.
  var ours: String?
  var why: String
}

enum GoldenExceptions {
  static let all: [GoldenException] = governed + rotation + notOffered + health + logs + deadLetters + events

  private static func whole(_ exchange: String, _ ours: String, _ why: String) -> GoldenException {
    GoldenException(exchange: exchange, path: "", ours: ours, why: why)
  }

  private static func accepted(_ note: String, _ id: String, work: String? = nil, isAgain: Bool = false) -> GoldenException {
    whole(
      "send-validation/\(note)",
      "200 {\"success\":true,\"id\":\"\(id)\",\"workAttemptId\":\"\(work ?? id)\"\(isAgain ? ",\"deduplicated\":true" : "")}",
      "Governance is optional: leases and their context are accepted and never required.")
  }

  private static let governed = [
    accepted("governed no type", "gold-0018"), accepted("governed no domain", "gold-0019"), accepted("governed no lease", "gold-0020"),
    accepted("governed lease but no reentry", "gold-0021"), accepted("governed unknown lease", "gold-0022", work: "w"),
    accepted("too early startedAt", "gold-0022", work: "w", isAgain: true),
  ]

  private static let notFound = "404 {\"error\":\"Not Found\"}"

  private static let rotation = ["rotate live", "rotation", "activate early", "cancel", "cancel again"].map {
    whole("dkim/\($0)", notFound, "Rotation of keys is not there yet.")
  }

  private static let notOffered =
    [
      "scan/scan health", "inbound-mailboxes/mailbox", "inbound-mailboxes/mailbox bad", "inbound-mailboxes/tls policy",
      "inbound-mailboxes/cache", "ip-reputation/audit", "ip-reputation/audit one",
    ].map { whole($0, notFound, "Not offered: mailboxes, scanning and audits of IPs are no part of this product.") }
    + [whole("root-health-metrics/not found", notFound, "Every error is a JSON object.")]

  private static func health(_ path: String, _ ours: String?, _ why: String) -> GoldenException {
    GoldenException(exchange: "root-health-metrics/health", path: path, ours: ours, why: why)
  }

  private static let warm = "The recording's IPs had begun to warm up; the test's are warm."

  private static let health = [
    health("ips[].warming.dailyCap", "\"unlimited\"", warm), health("ips[].warming.day", "30", warm),
    health("ips[].warming.phase", "\"graduated\"", warm),
    health("smtpOutbound.targetDomain", "\"mta.test.example\"", "Port 25 is not probed yet: an address that its worker bound is all."),
    health("smtpOutbound.targetMx", nil, "Port 25 is not probed yet; the member is optional."),
  ]

  private static let logs =
    ["logs", "logs org status"].map {
      GoldenException(
        exchange: "delivery-logs/\($0)", path: "entries[gold-0034].smtpResponse", ours: "\"550 5.1.1 No such user\"",
        why: "What the server said, where upstream logs that it refused.")
    } + [
      GoldenException(
        exchange: "delivery-logs/logs", path: "entries[gold-0035].smtpResponse", ours: "\"452 4.2.2 Mailbox full\"",
        why: "What the server said, where upstream logs that it refused."),
      GoldenException(
        exchange: "delivery-logs/logs", path: "entries[gold-0035].status", ours: "\"deferred\"",
        why: "A full mailbox is tried again; upstream ends it."),
    ]

  private static let deadLetters = [
    GoldenException(
      exchange: "dlq/dlq", path: "entries[].failure.category", ours: "\"transport\"",
      why: "An event that waits for its endpoint is no dead letter: none is pending."),
    GoldenException(
      exchange: "dlq/retry all", path: "failed", ours: "1", why: "Upstream's one row was claimed by its own retry; ours is tried at once."),
  ]

  private static func event(_ id: String, _ path: String, _ ours: String?, _ why: String) -> GoldenException {
    GoldenException(exchange: "webhooks/\(id)", path: path, ours: ours, why: why)
  }

  private static let events = [
    event("gold-0043", "event", "\"uncertain\"", "Lost after the final dot has a name, told to endpoints that take every event."),
    event("gold-0043", "severity", nil, "Of `failed` only."),
  ]
}
