/// Two connections of one process that must be at one run of Redis. After a fail-over one of them may have missed it, and still be
/// open to the server of before: nothing breaks, and nothing goes on. Both are then made anew.
package struct ConnectionWatch: Sendable {
  /// A restart ends both, and one may be back a moment before the other.
  private static let patience = 3

  private let first: RedisClient
  private let second: RedisClient
  private var beats = 0

  package init(_ first: RedisClient, _ second: RedisClient) {
    self.first = first
    self.second = second
  }

  /// Once a second.
  package mutating func beat() {
    guard let one = first.session?.runID, let other = second.session?.runID, one != other else { return beats = 0 }
    beats += 1
    guard beats >= Self.patience else { return }
    beats = 0
    first.reconnect()
    second.reconnect()
  }
}
