import MailModel
import Observability

/// A value that is costly to read and may be a few seconds old, as ``ConfiguredTable``'s rows: strangers who ask for it often
/// cost one reading.
actor Remembered<Value: Sendable> {
  static var memory: Milliseconds { 5000 }

  private let read: @Sendable () async throws -> Value
  private let clock: @Sendable () -> Milliseconds
  private var known: (value: Value, at: Milliseconds)?

  init(clock: @escaping @Sendable () -> Milliseconds = SystemClock.monotonic, _ read: @escaping @Sendable () async throws -> Value) {
    self.read = read
    self.clock = clock
  }

  func value() async throws -> Value {
    let now = clock()
    if let known, now - known.at < Self.memory { return known.value }
    let value = try await read()
    known = (value, now)
    return value
  }
}
