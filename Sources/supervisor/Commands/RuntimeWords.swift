import ArgumentParser
import Foundation
import MTAConfig

struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload", abstract: "Read the configuration again and put it in force.",
    discussion: """
      Waits, then says what changed. A configuration with a fault changes nothing at all: every problem is printed with its key \
      and line, and the exit code is 1. Pools, IPs, provider profiles, limits, webhooks, retries and the figures of breaker, \
      warming, blocklists and identity change without touching other workers; what needs a restart is named. SIGHUP does the same.
      """)
  @OptionGroup var common: CommonOptions

  private struct Document: Decodable {
    struct Item: Decodable {
      var key: String
      var line: Int?
      var text: String

      var description: String { ConfigProblem(key: key, line: line, text: text).description }
    }

    var applied: Bool
    var changes: [String]
    var problems: [Item]
    var notices: [Item]
  }

  func run() {
    withFaults {
      let text: String
      do { text = try common.ask("reload") } catch let fault as CommandFault where fault.code == 3 {
        // A file that tells nothing does not tell where the supervisor listens either: it would be refused.
        let report = ConfigSource(path: common.configPath).read()
        guard common.socket == nil, report.draft == nil, let last = report.problems.last else { throw fault }
        for problem in report.problems.dropLast() { FileHandle.standardError.write(Data("\(problem)\n".utf8)) }
        throw CommandFault(code: 1, text: "\(last)")
      }
      let document = try JSONDecoder().decode(Document.self, from: Data(text.utf8))
      if common.json {
        print(text)
      } else {
        for notice in document.notices { print("notice: \(notice.description)") }
        for change in document.changes { print(change) }
        if document.applied, document.changes.isEmpty { print("nothing changed") }
        for problem in document.problems.dropLast() { FileHandle.standardError.write(Data("\(problem.description)\n".utf8)) }
      }
      if !document.applied { throw CommandFault(code: 1, text: document.problems.last?.description ?? "refused") }
    }
  }
}

extension IPCommand {
  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add an IP to a pool: its worker starts, no other notices.",
      discussion:
        "Stands over the configuration file until ip remove.\n\nExample: supervisor ip add 203.0.113.9 --pool campaign --ehlo c.example.net"
    )
    @Argument(help: "The address, which is on this host.") var address: String
    @Option(help: "The pool.") var pool: String
    @Option(help: "Its EHLO name (default: the host's).") var ehlo: String?
    @Option(help: "The address as the world sees it, behind 1:1 NAT.") var `public`: String?
    @Flag(help: "It is warm already: no daily cap.") var warmed = false
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let words = ["address": address, "pool": pool, "ehlo": ehlo, "public": `public`, "warmed": warmed ? "true" : nil]
        IPCommand.show(try common.ask("ip add", words), common.json)
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take an IP out of all pools: its worker drains and ends, its mail goes by the others.",
      discussion:
        "Refused while mail waits that only this IP may send. Prints the IPs that are left.\n\nExample: supervisor ip remove 203.0.113.9")
    @Argument(help: "The address.") var address: String
    @OptionGroup var common: CommonOptions

    func run() { withFaults { IPCommand.show(try common.ask("ip remove", ["address": address]), common.json) } }
  }

  struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give an IP no more mail; it is pulled once what it holds is sent.",
      discussion: "Unlike ip pull it cuts no session short. It stays out over restarts, until ip restore.")
    @Argument(help: "The address.") var address: String
    @Option(help: "Why, for `ip list`.") var reason: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults { IPCommand.show(try common.ask("ip drain", ["address": address, "reason": reason]), common.json) }
    }
  }
}

struct WorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker", abstract: "The processes that send.", subcommands: [Restart.self])

  struct Restart: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End a worker in good order and start it again, or all of them one by one.",
      discussion: """
        The next worker is touched only when the one before takes mail again; no mail is lost or sent twice.

        Example: supervisor worker restart --all
        """)
    @Argument(help: "The worker's address.") var address: String?
    @Flag(help: "Every worker that runs.") var all = false
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        guard (address != nil) != all else { throw CommandFault(code: 2, text: "give an address or --all") }
        IPCommand.show(try common.ask("worker restart", ["address": address]), common.json)
      }
    }
  }
}
