import Foundation
import TestSupport

/// An exchange as upstream's server was recorded having it.
struct GoldenExchange: Decodable, Sendable {
  struct Request: Decodable, Sendable {
    var method: String
    var path: String
    /// `master`, `none`, or `other` for a key that nobody has.
    var auth: String
    var body: JSONValue?
  }

  struct Response: Decodable, Sendable {
    var status: Int
    var headers: [[String]]
    var body: JSONValue?
    var body_text: String?
  }

  var note: String
  var request: Request
  var response: Response

  /// The JSON of its answer; an answer that is none as its text.
  var answer: JSONValue { response.body ?? .text(response.body_text ?? "") }
}

/// One place where our answer is not upstream's.
struct GoldenDifference: Sendable {
  var path: String
  /// Nil = the member is absent.
  var expected: JSONValue?
  var actual: JSONValue?
}

/// "Same status, same JSON but for ids and times": members of ours that upstream lacks are additive and no difference.
enum GoldenComparison {
  static func differences(_ expected: JSONValue, _ actual: JSONValue?, at path: String = "") -> [GoldenDifference] {
    guard let actual else { return [GoldenDifference(path: path, expected: expected, actual: nil)] }
    switch (expected, actual) {
    case (.object(let expected), .object(let actual)):
      return expected.keys.sorted().flatMap { name in
        differences(expected[name] ?? .null, actual[name], at: path.isEmpty ? name : "\(path).\(name)")
      }
    case (.list(let expected), .list(let actual)):
      guard expected.count == actual.count else {
        return [GoldenDifference(path: path, expected: .list(expected), actual: .list(actual))]
      }
      let (expected, actual) =
        path.hasSuffix("ips") || path == "routes" ? (expected.sorted(by: isBefore), actual.sorted(by: isBefore)) : (expected, actual)
      return zip(expected, actual).flatMap { one, other in differences(one, other, at: "\(path)[\(one["messageId"]?.text ?? "")]") }
    case _ where expected == actual || isVolatile(path, expected, actual): return []
    default: return [GoldenDifference(path: path, expected: expected, actual: actual)]
    }
  }

  /// Lists of IPs and of inbound routes have no order.
  private static func isBefore(_ one: JSONValue, _ other: JSONValue) -> Bool {
    func name(_ value: JSONValue) -> String { value["ip"]?.text ?? value["id"]?.text ?? "" }
    return name(one) < name(other)
  }

  /// What is of its day, its machine or its keys: both values must have the form, they need not be equal.
  private enum Form: Sendable {
    case time, duration, count, ratio
    case text(@Sendable (String) -> Bool)

    func holds(_ value: JSONValue) -> Bool {
      switch (self, value) {
      // From 2020 on, in milliseconds.
      case (.time, .number(let number)): number > 1_577_836_800_000 && number == number.rounded()
      case (.duration, .number(let number)), (.count, .number(let number)): number >= 0 && number == number.rounded()
      case (.ratio, .number(let number)): number >= 0
      case (.text(let matches), .text(let text)): matches(text)
      default: false
      }
    }
  }

  private static func matching(_ pattern: @autoclosure @escaping @Sendable () -> Regex<Substring>) -> Form {
    .text { $0.wholeMatch(of: pattern()) != nil }
  }

  private static let record = matching(#/v=DKIM1; k=rsa; p=[A-Za-z0-9+\/]{380,}={0,2}/#)
  private static let selector = matching(#/s\d{13}/#)
  private static let rowID = matching(#/\d{13}-\d+/#)
  private static let address = matching(#/127\.0\.1\.[1-4]/#)
  private static let name = matching(#/[a-z0-9.-]+/#)

  private static let forms: [String: Form] = [
    "acceptedAt": .time, "route.createdAt": .time, "routes[].createdAt": .time, "timestamp": .time, "domains[].addedAt": .time,
    "domains[].rotatedAt": .time, "entries[].timestamp": .time,
    "events[].timestamp": .time, "entries[].createdAt": .time, "worker.lastHeartbeat": .time, "smtpOutbound.checkedAt": .time,
    "smtpTls.checkedAt": .time, "uptime": .duration, "worker.secondsSinceHeartbeat": .duration, "smtpOutbound.mxResolutionMs": .duration,
    "smtpOutbound.ips[].connectMs": .duration, "oldestAge": .duration, "newestAge": .duration, "entries[].durationMs": .duration,
    "events[].durationMs": .duration, "selector": selector, "domains[].selector": selector, "dnsRecord": record, "entries[].id": rowID,
    "events[].id": rowID, "nextCursor": rowID, "entries[].dlqId": matching(#/[A-Za-z0-9._-]{8,200}/#), "entries[].ip": address,
    "events[].ip": address, "serverId": name, "smtpTls.hostname": name, "version": matching(#/\d+\.\d+\.\d+/#),
    "date": matching(#/\d{4}-\d\d-\d\d/#),
    // What the recording's machine had of DNS and ports is not what this one has.
    "status": .text { ["ok", "degraded"].contains($0) }, "dns": .text { ["ok", "unreachable"].contains($0) },
    "smtpOutbound.status": .text { ["ok", "degraded"].contains($0) },
    // Counts of a day on which upstream tried again within the second.
    "stats.delivered": .count, "stats.bounced": .count, "stats.deferred": .count, "stats.suppressed": .count, "stats.screened": .count,
    "stats.failed": .count, "stats.total": .count,
    // What the world thinks of the IPs, on names of the test's own, and what they did before.
    "ips[].fcrdns.ehlo": name, "ips[].fcrdns.ptrNames[]": name, "ips[].fcrdns.checkedAt": .time, "ips[].dnsblCheckedAt": .time,
    "fcrdns.ehlo": name, "fcrdns.ptrNames[]": name, "fcrdns.checkedAt": .time, "dnsblCheckedAt": .time, "routing.generatedAt": .time,
    "routing.signals[].observedAt": .time,
    "ips[].sent": .count, "ips[].delivered": .count, "ips[].bounced": .count, "ips[].deferred": .count, "ips[].bounceRate": .ratio,
    "metrics.sent": .count, "metrics.delivered": .count, "metrics.bounced": .count, "metrics.deferred": .count, "metrics.errors": .count,
    "rates.bounceRate": .ratio, "rates.deferralRate": .ratio, "rates.errorRate": .ratio, "warming.sentToday": .count,
    "warming.bounceRate": .ratio, "warming.deferralRate": .ratio, "ips[].warming.sentToday": .count, "ips[].warming.bounceRate": .ratio,
    "lease.token": matching(#/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/#), "retryAfterMs": .duration,
    // For people; the contract bounds it (section 2.3).
    "message": .text { (1...512).contains($0.count) },
  ]

  private static func isVolatile(_ path: String, _ expected: JSONValue, _ actual: JSONValue) -> Bool {
    guard let form = forms[path.replacing(#/\[[^\]]*\]/#, with: "[]")] else { return false }
    return form.holds(expected) && form.holds(actual)
  }
}
