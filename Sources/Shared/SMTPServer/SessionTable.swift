internal import NIOConcurrencyHelpers
internal import NIOCore

/// Who is connected: bounds the number in all and by peer.
final class SessionTable: Sendable {
  enum Refusal { case full, peerFull, stopping }

  private struct State {
    var channels: [ObjectIdentifier: any Channel] = [:]
    var byPeer: [String: Int] = [:]
    var isStopping = false
  }

  private let most: Int
  private let mostPerPeer: Int
  private let state = NIOLockedValueBox(State())

  init(most: Int, mostPerPeer: Int) {
    self.most = most
    self.mostPerPeer = mostPerPeer
  }

  /// Pair each nil with ``leave(_:peer:)``.
  func enter(_ channel: any Channel, peer: String) -> Refusal? {
    state.withLockedValue { state in
      if state.isStopping { return .stopping }
      guard state.channels.count < most else { return .full }
      guard state.byPeer[peer, default: 0] < mostPerPeer else { return .peerFull }
      state.byPeer[peer, default: 0] += 1
      state.channels[ObjectIdentifier(channel)] = channel
      return nil
    }
  }

  func leave(_ channel: any Channel, peer: String) {
    state.withLockedValue { state in
      state.channels[ObjectIdentifier(channel)] = nil
      let count = state.byPeer[peer, default: 1] - 1
      state.byPeer[peer] = count > 0 ? count : nil
    }
  }

  /// Nobody enters from now on.
  /// - Returns: who is there.
  func stop() -> [any Channel] {
    state.withLockedValue { state in
      state.isStopping = true
      return Array(state.channels.values)
    }
  }
}

/// How many octets of messages may be in the receiver's hands at once, first come first served.
actor HandOver {
  private let total: Int
  private var used = 0
  private var waiting = CircularBuffer<(size: Int, continuation: CheckedContinuation<Void, Never>)>()

  init(total: Int) { self.total = total }

  /// Pair with ``release(_:)`` of the same size. A message larger than the whole budget gets all of it.
  func acquire(_ size: Int) async {
    let size = min(size, total)
    if waiting.isEmpty, used + size <= total {
      used += size
      return
    }
    await withCheckedContinuation { waiting.append((size, $0)) }
  }

  func release(_ size: Int) {
    used -= min(size, total)
    while let next = waiting.first, used + next.size <= total {
      used += next.size
      waiting.removeFirst()
      next.continuation.resume()
    }
  }
}
