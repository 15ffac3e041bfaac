/// The IPs a message may use: a pool, one dedicated IP, or a pool less some of its IPs. Fixed when the message is accepted or
/// by effects, so that no message of a group can refuse an IP that serves it (DESIGN section 4.2).
///
/// Spelt `pool:NAME`, `ip:ADDRESS`, `pool:NAME!ADDRESS,ADDRESS` (addresses sorted): one set has one spelling, since a group
/// begins with it.
package enum IPSet: Hashable, Sendable, CustomStringConvertible {
  case pool(String, less: Set<String> = [])
  case dedicated(String)

  /// Nil when it is none of the three.
  package init?(_ text: some StringProtocol) {
    if text.hasPrefix("ip:") {
      self = .dedicated(String(text.dropFirst(3)))
    } else if text.hasPrefix("pool:") {
      let parts = text.dropFirst(5).split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
      self = .pool(String(parts[0]), less: parts.count > 1 ? Set(parts[1].split(separator: ",").map { String($0) }) : [])
    } else {
      return nil
    }
  }

  package var description: String {
    switch self {
    case .dedicated(let address): "ip:\(address)"
    case .pool(let name, let less): less.isEmpty ? "pool:\(name)" : "pool:\(name)!" + less.sorted().joined(separator: ",")
    }
  }

  /// Its addresses in the pools' order; none when the pool is not configured (any more).
  /// - Parameter pools: addresses by pool name.
  package func addresses(pools: [String: [String]]) -> [String] {
    switch self {
    case .dedicated(let address): pools.values.contains { $0.contains(address) } ? [address] : []
    case .pool(let name, let less): (pools[name] ?? []).filter { !less.contains($0) }
    }
  }
}
