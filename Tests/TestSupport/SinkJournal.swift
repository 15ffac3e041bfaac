internal import Foundation
package import SMTPServer
internal import Synchronization

/// The sink's own log of final dots: when and from where each came, and whether its reply was sent. Small, for runs whose
/// mail is too much to keep.
package final class SinkJournal: Sendable {
  package struct Dot: Sendable {
    package var peer: String
    package var session: Int
    package var transaction: Int
    package var at: Int64
    package var isReplied = false
  }

  private struct State {
    var dots: [String: [Dot]] = [:]
    var count = 0
  }

  private let state = Mutex(State())

  package init() {}

  /// Final dots so far.
  package var count: Int { state.withLock { $0.count } }
  package var all: [String: [Dot]] { state.withLock { $0.dots } }

  package func dot(_ message: SinkMessage) {
    let id = message.messageID
    state.withLock {
      $0.count += 1
      $0.dots[id, default: []].append(
        Dot(peer: message.peer, session: message.session, transaction: message.transaction, at: message.receivedAt))
    }
  }

  package func replied(_ message: SinkMessage) {
    let id = message.messageID
    state.withLock { state in
      guard let index = state.dots[id]?.lastIndex(where: { $0.session == message.session && $0.transaction == message.transaction })
      else { return }
      state.dots[id]?[index].isReplied = true
    }
  }

  /// Why a message may be uncertain, as far as this side saw.
  package func explanation(_ id: String) -> String {
    switch state.withLock({ $0.dots[id]?.last }) {
    case nil: "no dot came"
    case let dot? where dot.isReplied: "dot at \(dot.at), its reply was sent"
    case let dot?: "dot at \(dot.at), the connection ended before its reply"
    }
  }
}

/// A small seeded generator (SplitMix64): the same seed, the same run.
package struct Dice: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
