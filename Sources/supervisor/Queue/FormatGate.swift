import Logging
import Redis
import ServiceLifecycle
import Synchronization

/// Ends the supervisor with a clear word when the queue in Redis is one that this version cannot read; nothing is done to such
/// a queue before.
final class FormatGate: Service {
  private let keys: RedisKeys
  private let log: Logger
  private let fault = Mutex<QueueFormat.Unreadable?>(nil)
  private let signal = Signal()

  init(keys: RedisKeys, log: Logger) {
    self.keys = keys
    self.log = log
  }

  /// To be passed by every connection before it is open to others.
  func pass(_ sender: RedisClient.Sender) async throws {
    do { try await QueueFormat.check(keys, sender) } catch let unreadable as QueueFormat.Unreadable {
      if fault.withLock({ $0.replace(unreadable) }) == nil { log.critical("\(unreadable.description)") }
      signal.fire()
      throw unreadable
    }
  }

  func run() async throws {
    let found = await cancelWhenGracefulShutdown { await self.wait() }
    if let found { throw SetupError(found.description) }
  }

  private func wait() async -> QueueFormat.Unreadable? {
    while !Task.isCancelled {
      if let found = fault.withLock({ $0 }) { return found }
      await signal.wait(atMost: .seconds(3600))
    }
    return nil
  }
}

extension Optional {
  /// - Returns: what was there before.
  fileprivate mutating func replace(_ value: Wrapped) -> Wrapped? {
    defer { self = value }
    return self
  }
}
