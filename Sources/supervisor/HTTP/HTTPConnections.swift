import NIOConcurrencyHelpers
import NIOCore

/// The open connections of one listener.
final class HTTPConnections: Sendable {
  private let open = NIOLockedValueBox<[ObjectIdentifier: any Channel]>([:])

  func add(_ channel: any Channel) {
    let id = ObjectIdentifier(channel)
    open.withLockedValue { $0[id] = channel }
    channel.closeFuture.whenComplete { _ in self.open.withLockedValue { $0[id] = nil } }
  }

  /// Tells every connection that its next answer is its last, and waits for their ends; the rest is cut.
  func drain(within limit: Duration) async {
    let deadline = ContinuousClock().now + limit
    for channel in current { channel.pipeline.fireUserInboundEventTriggered(HTTPDrainHandler.Begin()) }
    while !current.isEmpty, ContinuousClock().now < deadline { try? await Task.sleep(for: .milliseconds(10)) }
    for channel in current { channel.close(promise: nil) }
  }

  private var current: [any Channel] { open.withLockedValue { Array($0.values) } }
}
