import MTAConfig
import MailModel
import Observability

/// Workers that come, go, and start anew while the others go on.
extension Fleet {
  /// IPs that are ours no more: gates shut, workers drained and ended, what they had not begun goes back.
  func retire(_ addresses: [String]) async {
    for address in addresses {
      guard let index = lives.firstIndex(where: { $0.address == address }) else { continue }
      let life = lives.remove(at: index)
      removed.append(life)
      _ = causes.remove(.operator, from: address)
      await life.pull(reason: "not in the configuration")
      await showGate(address, nil)
    }
  }

  /// Brings the workers to what is configured now, in its order. Who stays as it was notices nothing.
  func adopt(_ ips: [MTAConfig.SourceIP]) async {
    var next: [WorkerLife] = []
    var back: [WorkerLife] = []
    for ip in ips {
      if let life = lives.first(where: { $0.address == ip.address }) {
        next.append(life)
      } else if let index = removed.firstIndex(where: { $0.address == ip.address }) {
        back.append(removed.remove(at: index))
        next += back.suffix(1)
      } else {
        next.append(makeLife(ip))
      }
    }
    lives = next
    for (life, ip) in zip(next, ips) { await life.become(ip) }
    for life in back { await follow(life) }
    for life in next {
      await showGate(life.address, causes.gate(life.address))
      start(life)
    }
  }

  /// No more mail for this IP; its worker sends what it holds and ends then. False when the address is not ours.
  func drain(_ address: String, reason: String) async throws -> Bool {
    guard let life = life(address) else { return false }
    causes.add(.operator, try noteOut(life, reason), to: life.address)
    await showGate(life.address, causes.gate(life.address))
    await life.empty(reason: reason)
    return true
  }

  enum Restart: Sendable, Equatable {
    case done
    /// Pulled, or out for another cause: it has no worker to restart.
    case idle
    /// The new worker was not ready within a minute.
    case late
  }

  /// Ends one worker and waits until its successor takes mail. Nil when the address is not ours.
  func restart(_ address: String) async -> Restart? {
    guard let life = life(address) else { return nil }
    let before = await life.pid
    guard await life.restart() else { return .idle }
    let deadline = SystemClock.monotonic() + 60_000
    while SystemClock.monotonic() < deadline, !Task.isCancelled {
      if await life.state == .active, await life.pid != before { return .done }
      if await life.state == .pulled { return .idle }
      try? await Task.sleep(for: .milliseconds(20))
    }
    return .late
  }
}
