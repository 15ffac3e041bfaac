import MailModel
import Redis
import Synchronization

/// Message numbers of this host: reserved in blocks, so that a number, and the return-path signed over it, is known before
/// Redis is asked to accept. Numbers of a block that is not used up are never used.
final class MessageNumbers: Sendable {
  private static let block = 10_000

  private let store: QueueStore
  private let state = Mutex<(next: UInt64, end: UInt64)>((0, 0))

  init(store: QueueStore) { self.store = store }

  /// - Throws: ``RedisError`` when a new block is needed and Redis is away.
  func take(_ count: Int) async throws -> [MessageNumber] {
    if let numbers = takeReserved(count) { return numbers }
    let size = max(Self.block, count)
    let first = try await store.reserveNumbers(size)
    return state.withLock { state in
      state = (first + UInt64(count), first + UInt64(size))
      return (0..<count).map { MessageNumber(first + UInt64($0)) }
    }
  }

  private func takeReserved(_ count: Int) -> [MessageNumber]? {
    state.withLock { state in
      guard state.end - state.next >= UInt64(count) else { return nil }
      let first = state.next
      state.next += UInt64(count)
      return (0..<count).map { MessageNumber(first + UInt64($0)) }
    }
  }
}
