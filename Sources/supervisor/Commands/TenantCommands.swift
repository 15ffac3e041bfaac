import ArgumentParser
import Foundation

struct OrganisationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "org", abstract: "Organizations.", subcommands: [Pause.self, Resume.self])

  struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Hold an organization's mail back; it is still accepted and keeps its place.",
      discussion: "Example: supervisor org pause acme --reason \"abuse report\"")
    @Argument(help: "The organization.") var name: String
    @Option(help: "Why, for `queue pauses` and `queue explain`.") var reason: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        PauseText.show(
          try common.ask("org pause", ["scope": "org", "name": name, "reason": reason]), common.json, "paused", "held", "held")
      }
    }
  }

  struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let an organization's mail go on.", discussion: "It leaves from its old place.")
    @Argument(help: "The organization.") var name: String
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        PauseText.show(try common.ask("org resume", ["scope": "org", "name": name]), common.json, "resumed", "released", "released")
      }
    }
  }
}

struct SuppressionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "suppression", abstract: "Addresses that get no mail, for everybody or one organization.",
    subcommands: [List.self, Add.self, Remove.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What is suppressed.", discussion: "Everybody's list, or with --org an organization's own.")
    @Option(help: "Of one organization (default: everybody's list).") var org: String?
    @Option(help: "With this reason only.") var reason: String?
    @Option(help: "At most so many.") var limit = 1000
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("suppression list", ["org": org, "reason": reason, "limit": String(limit)])
        if common.json { return print(document) }
        Table.print(
          json: document,
          [("ADDRESS", "email"), ("REASON", "reason"), ("SOURCE", "source"), ("SINCE", "suppressedAt"), ("UNTIL", "expiresAt")])
      }
    }
  }

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Suppress an address.", discussion: "With reason manual (the default) for a week, else for good.")
    @Argument(help: "The address.") var email: String
    @Option(help: "For one organization (default: for everybody).") var org: String?
    @Option(help: "manual, hard_bounce or complaint.") var reason: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("suppression add", ["email": email, "org": org, "reason": reason])
        print(common.json ? document : "\(email) is suppressed")
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let an address get mail again.", discussion: "Exits 1 when it is not on that list.")
    @Argument(help: "The address.") var email: String
    @Option(help: "From one organization's list (default: everybody's).") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("suppression remove", ["email": email, "org": org])
        print(common.json ? document : "\(email) is not suppressed any more")
      }
    }
  }
}
