import Foundation
import TestSupport

/// Where the recordings are, and what becomes of each.
enum GoldenRecordings {
  /// Beside the repository, never in it.
  static let folder = FileManager.default.currentDirectoryPath + "/../shared/reference/golden"
  static let isThere = FileManager.default.fileExists(atPath: folder)

  /// Recordings that are not replayed, each with a reason; what stands in neither list fails.
  static let notReplayed: [String: String] = [
    "inbound-setup-sends": "tokens under a key that was not recorded",
    "inbound-smtp": "sessions, no HTTP: the scenarios of what comes back",
    "smtp-out": "mail, no HTTP: the renderer's tests",
  ]
  /// Of these files only what is not offered (404) is replayed: the rest is not there yet.
  static let notYetPaths: [String] = []
  /// The metrics are asked for at the end, see ``GoldenReplay/metrics(_:)``.
  static func isLater(_ path: String) -> Bool { path == "/metrics" || notYetPaths.contains { path.hasPrefix($0) } }

  static let replayed = [
    "root-health-metrics", "isp-profiles", "queue", "dkim", "outbound-tls", "send-validation", "send-outcomes", "delivery-logs", "dlq",
    "scan", "inbound-mailboxes", "ip-reputation", "send-decision", "circuit-breaker", "webhooks",
  ]
  /// Families of the contract that nobody recorded: when one turns up here, it must be replayed.
  static let unrecorded = ["/credentials", "/org-limits", "/suppression", "/pool-rules"]

  /// The exchanges of a recording in their order; none when it holds something else.
  static func exchanges(_ family: String) throws -> [GoldenExchange] {
    struct Recording: Decodable { var exchanges: [GoldenExchange]? }
    let text = try String(contentsOfFile: "\(folder)/\(family).json", encoding: .utf8)
    guard case .object = try JSONValue(text) else { return [] }
    return try JSONDecoder().decode(Recording.self, from: Data(text.utf8)).exchanges ?? []
  }
}
