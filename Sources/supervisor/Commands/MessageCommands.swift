import ArgumentParser
import Foundation

struct MessageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "message", abstract: "One message.", subcommands: [Show.self, Trace.self, Resend.self, Drop.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What became of a message: by its id or its Message-ID field.",
      discussion: "While it waits, the same as queue explain.")
    @Argument(help: "The message id.") var id: String
    @Option(help: "The organization, when several have the id.") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("message show", ["id": id, "org": org])
        if common.json { return print(document) }
        for entry in (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [[String: Any]] ?? [] {
          for key in entry.keys.sorted() { print("\(key): \(Table.text(entry[key]))") }
        }
      }
    }
  }

  struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Every attempt at a message, and what was answered.",
      discussion: "With source IP, mail host, address, TLS and every line of the reply.")
    @Argument(help: "The message id.") var id: String
    @Option(help: "The organization, when several have the id.") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("message trace", ["id": id, "org": org])
        if common.json { return print(document) }
        let rows = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [[String: Any]] ?? []
        if rows.isEmpty { print("\(id): no attempt yet") }
        for row in rows {
          print(
            "\(Table.text(row["at"])) attempt \(Table.text(row["attempt"])): \(Table.text(row["status"])) after \(Table.text(row["durationMs"])) ms"
          )
          print(
            "  from \(Table.text(row["ip"])) to \(Table.text(row["mx"])) [\(Table.text(row["address"]))], TLS \(Table.text(row["tls"]))")
          for line in row["reply"] as? [String] ?? [] { print("  \(Table.text(row["smtpCode"])) \(line)") }
          if let text = row["text"] as? String { print("  \(text)") }
        }
      }
    }
  }
}
