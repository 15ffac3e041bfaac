/// Wakes one waiter: something happened worth a look.
final class Signal: Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  func fire() { continuation.yield() }

  /// Returns after the next ``fire()``, or after the limit.
  func wait(atMost limit: Duration) async {
    let timer = Task {
      try? await Task.sleep(for: limit)
      if !Task.isCancelled { continuation.yield() }
    }
    var iterator = stream.makeAsyncIterator()
    _ = await iterator.next(isolation: nil)
    timer.cancel()
  }
}
