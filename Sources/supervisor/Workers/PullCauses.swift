import MailModel

/// Why IPs are pulled. An IP is out while any cause stands; what is shown is the gravest.
struct PullCauses: Sendable {
  /// In the order in which they are shown.
  enum Cause: Int, Sendable, CaseIterable {
    case blocklisted, identity, `operator`

    var gateReason: Gate.Reason {
      switch self {
      case .blocklisted: .blocklisted
      case .identity: .identity
      case .operator: .noEligibleIP
      }
    }
  }

  private var pulls: [String: [Cause: OperatorOrders.Pull]] = [:]

  /// - Returns: whether nothing else had pulled it.
  mutating func add(_ cause: Cause, _ pull: OperatorOrders.Pull, to ip: String) -> Bool {
    let isFirst = pulls[ip, default: [:]].isEmpty
    pulls[ip, default: [:]][cause] = pull
    return isFirst
  }

  /// - Returns: whether nothing pulls it any more, and something did.
  mutating func remove(_ cause: Cause, from ip: String) -> Bool {
    guard pulls[ip]?.removeValue(forKey: cause) != nil else { return false }
    return pulls[ip]?.isEmpty ?? true
  }

  func shown(_ ip: String) -> (cause: Cause, pull: OperatorOrders.Pull)? {
    pulls[ip]?.min { $0.key.rawValue < $1.key.rawValue }.map { ($0.key, $0.value) }
  }

  func gate(_ ip: String) -> Gate? {
    shown(ip).map { Gate(scope: .ip, key: ip, reason: $0.cause.gateReason, since: $0.pull.since, until: nil) }
  }
}
