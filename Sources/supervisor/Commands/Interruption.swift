import Dispatch
import Glibc

/// Who interrupts a command (^C, a service manager) is heard: the command leaves nothing half done. Until this is let go.
final class Interruption {
  private var sources: [any DispatchSourceSignal] = []

  init(_ react: @escaping @Sendable () -> Void) {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler(handler: react)
      source.activate()
      sources.append(source)
    }
  }

  deinit { for source in sources { source.cancel() } }
}
