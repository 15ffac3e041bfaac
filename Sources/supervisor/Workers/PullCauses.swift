import MailModel

/// Why IPs are pulled. An IP is out while any cause stands; what is shown is the gravest.
struct PullCauses: Sendable {
  /// In the order in which they are shown.
  enum Cause: Int, Sendable, CaseIterable {
    case absent, blocklisted, identity, `operator`

    var gateReason: Gate.Reason {
      switch self {
      case .blocklisted: .blocklisted
      case .identity: .identity
      case .operator, .absent: .noEligibleIP
      }
    }
  }

  private var pulls: [String: [Cause: OperatorOrders.Pull]] = [:]
  /// Raised with every change: whoever acts on the causes looks again when it has moved.
  private(set) var version = 0

  mutating func add(_ cause: Cause, _ pull: OperatorOrders.Pull, to ip: String) {
    version += 1
    pulls[ip, default: [:]][cause] = pull
  }

  /// - Returns: whether it stood.
  mutating func remove(_ cause: Cause, from ip: String) -> Bool {
    version += 1
    return pulls[ip]?.removeValue(forKey: cause) != nil
  }

  func shown(_ ip: String) -> (cause: Cause, pull: OperatorOrders.Pull)? {
    pulls[ip]?.min { $0.key.rawValue < $1.key.rawValue }.map { ($0.key, $0.value) }
  }

  func gate(_ ip: String) -> Gate? {
    shown(ip).map { Gate(scope: .ip, key: ip, reason: $0.cause.gateReason, since: $0.pull.since, until: nil) }
  }
}
