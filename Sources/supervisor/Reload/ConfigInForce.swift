import MTAConfig
import Synchronization

/// The configuration in force: a reload puts another in its place, and whoever holds this reads the new one from then on.
@dynamicMemberLookup
final class ConfigInForce: Sendable {
  // Read by every request, from any thread; held for the copy of one member.
  private let held: Mutex<MTAConfig>
  private let refused = Mutex(0)

  init(_ config: MTAConfig) { held = Mutex(config) }

  var current: MTAConfig { held.withLock { $0 } }

  subscript<Value: Sendable>(dynamicMember path: KeyPath<MTAConfig, Value>) -> Value { held.withLock { $0[keyPath: path] } }

  /// Named, because the function below would hide the member of this name.
  var pools: [(name: String, ips: [String])] { held.withLock { $0.pools } }

  func pools(of address: String) -> [String] { held.withLock { $0.pools(of: address) } }

  func put(_ config: MTAConfig) { held.withLock { $0 = config } }

  /// Problems for which the last reload was refused: the file is other than what is in force. 0 = it was not.
  var refusedProblems: Int {
    get { refused.withLock { $0 } }
    set { refused.withLock { $0 = newValue } }
  }
}

extension MTAConfig {
  /// Addresses by pool name.
  var addressesByPool: [String: [String]] {
    Dictionary(pools.map { ($0.name, $0.ips) }, uniquingKeysWith: { first, _ in first })
  }

  /// Each address, and whether the configuration says that it is warm.
  var warmth: [String: Bool] {
    Dictionary(sourceIPs.map { ($0.address, $0.isWarmed) }, uniquingKeysWith: { first, _ in first })
  }
}
