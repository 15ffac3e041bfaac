import CShims
import Glibc
import Journal
import Logging
import NIOCore
import NIOPosix
import Observability

/// The hands of one dedicated IP. Takes messages from its stream, each with its route decided, delivers them from that
/// address, reports. Started by the supervisor with a control socket as descriptor 3; everything runs on one event loop.
@main
struct IPWorker {
  static func main() async {
    guard let settings = WorkerSettings(arguments: CommandLine.arguments), fcntl(3, F_GETFD) >= 0 else {
      let text = "ipworker is started by the supervisor, one for each dedicated IP; see `supervisor --help`.\n"
      _ = text.withCString { write(2, $0, strlen($0)) }
      exit(2)
    }
    signal(SIGPIPE, SIG_IGN)
    shim_abort_is_parents()
    // A clock that a test sets is a file.
    _ = SystemClock.now()
    let confinement = Confinement.begin(settings)
    shim_malloc_setup()
    Log.bootstrap(program: "ipworker")
    var log = Logger(label: "ipworker")
    log[metadataKey: LogKey.sourceIP] = "\(settings.sourceIP)"
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let loop = try WorkLoop(settings: settings, eventLoop: group.next(), log: log)
      let said = log
      exit(await loop.run { Confinement.complete(confinement, settings: settings, log: said) })
    } catch {
      log.error("worker cannot start", metadata: [LogKey.error: "\(error)"])
      exit(1)
    }
  }
}
