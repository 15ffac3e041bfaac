import MailModel
import Synchronization

/// Whether each IP reaches mail servers, by what its latest attempts came to: a server that spoke proves the way out, and
/// connections that failed to several hosts without one that did prove the opposite. Nobody is called for it.
final class OutboundReach: Sendable {
  /// Attempts older than this prove nothing.
  static let memory: Milliseconds = 600_000
  /// One host that does not answer is its own fault.
  static let hostsForFailure = 2

  struct Row: Sendable, Equatable {
    var works: Bool
    /// Upstream's words (contract section 1.5); nil when it works.
    var reason: String?
    var at: Milliseconds
  }

  private struct State {
    var spokeAt: Milliseconds?
    /// Hosts that did not answer since, each with when and why.
    var failures: [String: (at: Milliseconds, reason: String)] = [:]
  }

  private let states = Mutex<[String: State]>([:])

  func note(_ result: AttemptResult) {
    guard let host = result.host, !result.sourceIP.isEmpty else { return }
    let failed = result.kind == .connectionFailed && result.reply == nil && result.stage == .connect
    guard failed || result.kind == .replied || result.kind == .uncertain || result.reply != nil else { return }
    states.withLock { states in
      var state = states[result.sourceIP] ?? State()
      if failed {
        state.failures[host] = (result.at, Self.reason(result.text ?? ""))
        if state.failures.count > 64 { state.failures = state.failures.filter { $0.value.at > result.at - Self.memory } }
        // Hosts are counted, not kept: of many that fail a few are enough.
        if state.failures.count > 64 { state.failures = [host: (result.at, Self.reason(result.text ?? ""))] }
      } else {
        state.spokeAt = max(state.spokeAt ?? result.at, result.at)
        state.failures = [:]
      }
      states[result.sourceIP] = state
    }
  }

  /// Nil when nothing is known of late.
  func row(_ ip: String, now: Milliseconds) -> Row? {
    guard let state = states.withLock({ $0[ip] }) else { return nil }
    let since = now - Self.memory
    let failures = state.failures.values.filter { $0.at > since }.sorted { $0.at < $1.at }
    if let last = failures.last, failures.count >= Self.hostsForFailure { return Row(works: false, reason: last.reason, at: last.at) }
    guard let spokeAt = state.spokeAt, spokeAt > since else { return nil }
    return Row(works: true, reason: nil, at: spokeAt)
  }

  static func reason(_ text: String) -> String {
    let text = text.lowercased()
    if text.contains("timed out") || text.contains("timeout") { return "timeout" }
    if text.contains("refused") { return "connection_refused" }
    if text.contains("unreachable") || text.contains("no route") { return "network_unreachable" }
    return "connection_error"
  }
}
