import ArgumentParser
import Foundation
import Glibc
import MTAConfig

/// The brain: one per host. Without a command it runs in the foreground; the commands talk to the running one.
@main
struct Supervisor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "supervisor",
    abstract: "Owlat MTA: outbound mail from your own IPs, one worker process for each.",
    version: APIServer.version,
    subcommands: [
      RunCommand.self, CheckConfig.self, StatusCommand.self, SendCommand.self, IPCommand.self, QueueCommand.self,
      MessageCommand.self, OrganisationCommand.self, SuppressionCommand.self, DKIMCommand.self, TopCommand.self,
      BreakerCommand.self, ReloadCommand.self, WorkerCommand.self, ClassifyCommand.self, FeedbackCommand.self, SimulateCommand.self,
      DispatchCostCommand.self, BackupCommand.self, RestoreCommand.self, ImportCommand.self, MendCommand.self,
    ],
    defaultSubcommand: RunCommand.self)

  /// Wrong usage exits 2, as everywhere in this program.
  static func main() async {
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      let code = exitCode(for: error)
      if code == .validationFailure {
        FileHandle.standardError.write(Data((fullMessage(for: error) + "\n").utf8))
        Glibc.exit(2)
      }
      exit(withError: error)
    }
  }
}

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run the supervisor in the foreground (the default).",
    discussion: "SIGTERM ends it: intake stops first, transactions finish, the rest stays queued.")
  @OptionGroup var common: CommonOptions

  func run() async throws {
    let report = common.report()
    guard let config = report.config else {
      for problem in report.problems { FileHandle.standardError.write(Data("\(common.configPath): \(problem)\n".utf8)) }
      Glibc.exit(1)
    }
    do {
      try await Installation.run(config, configPath: common.configPath, notices: report.notices.map { "\($0)" })
    } catch {
      CommandFault(code: 1, text: "\(error)").leave()
    }
  }
}
