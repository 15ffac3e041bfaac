@preconcurrency import Dispatch
import Glibc

/// Calls a closure for each delivery of one signal, which does nothing else from then on.
final class SignalWatch: Sendable {
  private let source: any DispatchSourceSignal

  init(_ number: Int32, _ handler: @escaping @Sendable () -> Void) {
    signal(number, SIG_IGN)
    source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler(handler: handler)
    source.resume()
  }

  deinit { source.cancel() }
}
