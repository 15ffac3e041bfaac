import Glibc
import Synchronization

/// How many connections there are, in all and from each client address; IPv6 clients are counted by /64, which is what one of
/// them has.
final class ConnectionTable: Sendable {
  private struct State {
    var total = 0
    var byPeer: [String: Int] = [:]
  }

  private let limit: Int
  private let limitPerPeer: Int
  private let state = Mutex(State())

  init(limit: Int, perPeer: Int) {
    self.limit = limit
    limitPerPeer = perPeer
  }

  var count: Int { state.withLock { $0.total } }

  /// True when there is room; then ``leave(_:)`` follows once.
  func admit(_ peer: String) -> Bool {
    let key = Self.key(peer)
    return state.withLock { state in
      guard state.total < limit, state.byPeer[key, default: 0] < limitPerPeer else { return false }
      state.total += 1
      state.byPeer[key, default: 0] += 1
      return true
    }
  }

  func leave(_ peer: String) {
    let key = Self.key(peer)
    state.withLock { state in
      state.total -= 1
      let left = state.byPeer[key, default: 0] - 1
      state.byPeer[key] = left > 0 ? left : nil
    }
  }

  private static func key(_ peer: String) -> String {
    guard peer.contains(":") else { return peer }
    var address = in6_addr()
    guard inet_pton(AF_INET6, peer, &address) == 1 else { return peer }
    return withUnsafeBytes(of: &address) { $0.prefix(8).map { String($0, radix: 16) }.joined(separator: ".") }
  }
}
