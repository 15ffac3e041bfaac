import DequeModule
import MailModel
import NIOCore
import Redis
import SMTPClient

/// IP × provider (for `other`: IP × recipient domain) as the worker sees it: what waits, and the sessions it may hold.
/// Lanes never wait for each other.
final class WorkLane {
  struct Idle {
    let connection: SMTPConnection
    let since: NIODeadline
  }

  private(set) var waiting = Deque<WorkEntry>()
  private var idle: [Idle] = []
  /// Attempts under way.
  var active = 0
  /// As the newest route says.
  private(set) var maxConnections = 1
  private var pace = LanePace()

  var isEmpty: Bool { waiting.isEmpty && active == 0 && idle.isEmpty }
  var connectionCount: Int { active + idle.count }
  var hasRoom: Bool { active < maxConnections && !waiting.isEmpty }

  func append(_ entry: WorkEntry, maxConnections: Int) {
    self.maxConnections = maxConnections
    waiting.append(entry)
  }

  /// When an attempt may begin: not before its permit, and not on the heels of one that began late.
  func opensAt(_ entry: WorkEntry, now: Milliseconds) -> Milliseconds { max(entry.earliest, pace.opensAt(step: entry.step, now: now)) }

  func noteBegin(_ entry: WorkEntry, now: Milliseconds) { pace.begin(step: entry.step, now: now) }

  func next() -> WorkEntry? { waiting.popFirst() }

  func takeWaiting(where shouldTake: (WorkEntry) -> Bool) -> [WorkEntry] {
    let taken = Array(waiting).filter(shouldTake)
    waiting.removeAll(where: shouldTake)
    return taken
  }

  /// An idle session to one of these hosts, if it still can carry a transaction.
  /// - Parameter needsTLS: a session in the clear will not do.
  func takeIdle(hosts: [Route.Host], port: Int, needsTLS: Bool) -> SMTPConnection? {
    while let index = idle.lastIndex(where: { kept in
      kept.connection.target.port == port && (!needsTLS || kept.connection.tlsVersion != nil)
        && hosts.contains { $0.name == kept.connection.target.hostName }
    }) {
      let connection = idle.remove(at: index).connection
      if connection.isUsable { return connection }
      connection.end()
    }
    return nil
  }

  /// Makes room for one more session.
  func closeIdleBeyondLimit() {
    while !idle.isEmpty, active + idle.count > maxConnections { idle.removeFirst().connection.quit() }
  }

  func keep(_ connection: SMTPConnection) { idle.append(Idle(connection: connection, since: .now())) }

  func closeIdle(olderThan age: TimeAmount) {
    let limit = NIODeadline.now() - age
    for kept in idle where kept.since <= limit || !kept.connection.isUsable { kept.connection.quit() }
    idle.removeAll { $0.since <= limit || !$0.connection.isUsable }
  }
}
