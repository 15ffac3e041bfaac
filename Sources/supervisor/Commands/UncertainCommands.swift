import ArgumentParser
import Foundation

extension MessageCommand {
  struct Resend: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send an uncertain message again; the recipient may get it twice.",
      discussion: "Its connection was lost between the final dot and the reply. The new attempt is queued at once.")
    @Argument(help: "The message id.") var id: String
    @Option(help: "The organization, when several have the id.") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("message resend", ["id": id, "org": org])
        if common.json { return print(document) }
        print("\(id) is queued again. \(UncertainMail.warning).")
      }
    }
  }

  struct Drop: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give an uncertain message up: it ends as failed, CANCELLED.",
      discussion: "If the first attempt was delivered after all, the recipient has it.")
    @Argument(help: "The message id.") var id: String
    @Option(help: "The organization, when several have the id.") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("message drop", ["id": id, "org": org])
        if common.json { return print(document) }
        print("\(id) is given up")
      }
    }
  }
}
