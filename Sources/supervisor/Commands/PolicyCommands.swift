import ArgumentParser
import Foundation

struct BreakerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "breaker", abstract: "Circuit breakers: organizations whose mail is stopped because too much of it bounces.",
    subcommands: [List.self, Reset.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Breakers, their state and rates.",
      discussion: "A row without provider is about all of the organization's mail, one with a provider about its mail there.")
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("breaker list")
        if common.json { return print(document) }
        let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
        Table.print(
          ["ORGANIZATION", "PROVIDER", "STATE", "UNTIL", "BOUNCES", "COMPLAINTS"],
          (value["breakers"] as? [[String: Any]] ?? []).map { row in
            ["organizationId", "provider", "state", "until"].map { Table.text(row[$0]) }
              + ["bounceRate", "complaintRate"].map { String(format: "%.1f %%", (row[$0] as? Double ?? 0) * 100) }
          })
      }
    }
  }

  struct Reset: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Close an organization's breakers and forget its rates.",
      discussion: "Its waiting mail goes on at once. If its list is still bad the breaker opens again after 50 messages.")
    @Argument(help: "The organization.") var organization: String
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("breaker reset", ["org": organization])
        print(common.json ? document : "\(organization): closed")
      }
    }
  }
}
