import NIOCore

/// Sessions of lanes whose limit other IPs share, by lane, each from before it connects until its socket is closed: what was
/// told to end counts as long as the server may see it.
struct SharedSessions {
  private var open: [String: Set<ObjectIdentifier>] = [:]
  private var waiters: [String: [CheckedContinuation<Void, Never>]] = [:]

  func count(_ lane: String) -> Int { open[lane]?.count ?? 0 }

  mutating func began(_ id: ObjectIdentifier, _ lane: String) { open[lane, default: []].insert(id) }

  mutating func closed(_ id: ObjectIdentifier, _ lane: String) {
    open[lane]?.remove(id)
    if open[lane]?.isEmpty == true { open[lane] = nil }
    for waiter in waiters.removeValue(forKey: lane) ?? [] { waiter.resume() }
  }

  /// Resumed when one of the lane's sessions is closed.
  mutating func wait(_ lane: String, _ continuation: CheckedContinuation<Void, Never>) {
    waiters[lane, default: []].append(continuation)
  }
}

extension WorkLoop {
  /// A session of such a lane is about to connect.
  func noteShared(_ channel: any Channel, _ name: String) {
    let id = ObjectIdentifier(channel)
    sharedSessions.began(id, name)
    channel.closeFuture.whenComplete { _ in self.assumeIsolated { $0.sharedSessions.closed(id, name) } }
  }

  /// Returns when the lane may open one session more. Those under way are as many as its attempts, so that what is waited
  /// for is on its way out.
  func roomForShared(_ name: String, _ lane: WorkLane) async {
    if sharedSessions.count(name) >= lane.maxConnections { lane.closeIdle(olderThan: .zero) }
    while sharedSessions.count(name) >= lane.maxConnections, !isEnding {
      await withCheckedContinuation { sharedSessions.wait(name, $0) }
    }
  }

  /// Before the outcome of an attempt is told: when nothing else waits in its lane, its session is closed, because what is
  /// not out at a worker has no session.
  func endShared(_ name: String, _ lane: WorkLane) async {
    guard lane.waiting.isEmpty else { return }
    lane.closeIdle(olderThan: .zero)
    while sharedSessions.count(name) > max(0, lane.active - 1), !isEnding {
      await withCheckedContinuation { sharedSessions.wait(name, $0) }
    }
  }
}
