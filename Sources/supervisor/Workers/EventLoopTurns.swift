import NIOCore
import Observability
import Synchronization

/// Whether event loops turn: each is given a stamp to set, again and again.
final class EventLoopTurns: Sendable {
  private struct Stamp {
    var turnedAt: Int64
    var isAsked = false
  }

  private let loops: [any EventLoop]
  private let stamps: Mutex<[Stamp]>

  init(_ group: any EventLoopGroup) {
    loops = Array(group.makeIterator())
    stamps = Mutex(loops.map { _ in Stamp(turnedAt: SystemClock.monotonic()) })
  }

  /// Asks every loop that has answered the last time.
  func ask() {
    for (index, loop) in loops.enumerated() {
      let isFree = stamps.withLock { stamps in
        defer { stamps[index].isAsked = true }
        return !stamps[index].isAsked
      }
      guard isFree else { continue }
      loop.execute {
        self.stamps.withLock { $0[index] = Stamp(turnedAt: SystemClock.monotonic()) }
      }
    }
  }

  /// Milliseconds since the slowest loop's last turn.
  func silence(_ now: Int64) -> Int64 { stamps.withLock { $0.map { now - $0.turnedAt }.max() ?? 0 } }
}
