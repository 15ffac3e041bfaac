import ArgumentParser
import MailModel
import NIOCore
import NIOPosix
import SMTPServer

/// Our own far end for measuring: an SMTP sink with a choice of tempers. `Benchmarks/bench.py` drives it.
@main
struct Mailbench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mailbench", abstract: "SMTP sink for benchmarks: takes everything, counts, keeps nothing.")

  @Option(help: "Address to listen on.") var host = "127.0.0.1"
  @Option(help: "Port.") var port = 2525
  @Option(help: "Milliseconds between the final dot and its reply.") var delay = 0

  func run() async throws {
    let counter = Counter()
    let wait = delay
    let sink = try await SMTPSink.start(
      host: host, port: port, group: MultiThreadedEventLoopGroup(numberOfThreads: 1),
      script: { moment in
        guard wait > 0, case .message = moment else { return nil }
        return .reply("250 2.0.0 ok", after: .milliseconds(Int64(wait)))
      }, take: { _ in counter.add() })
    print("listening on \(host):\(sink.port)")
    var told = 0
    while true {
      try await Task.sleep(for: .seconds(1))
      let count = counter.value
      if count != told { print("taken \(count)") }
      told = count
    }
  }
}
