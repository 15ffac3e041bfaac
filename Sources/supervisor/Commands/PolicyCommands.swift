import ArgumentParser
import DeliveryPolicy
import Foundation
import MailModel

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

struct ClassifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classify", abstract: "What a server's reply means and what the MTA would do about it.",
    discussion: """
      With a reply as argument it explains that one. With --json it reads one reply a line from standard input, plain or as JSON with \
      `reply` and optional `provider`, and prints one JSON line each, in order.

      Example: supervisor classify "421 4.7.28 Our system has detected an unusual rate of unsolicited mail" --provider gmail
      """)
  @Argument(help: "The reply, code first.") var reply: String?
  @Option(help: "The mailbox provider that said it (gmail, microsoft, yahoo …).") var provider: String?
  @Flag(help: "JSON lines, from standard input when no reply is given.") var json = false
  @Flag(help: "Check the rules instead, and name what is wrong with them.") var lint = false

  func run() {
    withFaults {
      if lint {
        let problems = ReplyRules.lint()
        for problem in problems { print(problem) }
        guard problems.isEmpty else { throw CommandFault(code: 1, text: "\(problems.count) rules are wrong") }
        return print("the rules are sound")
      }
      if let reply { return print(json ? Self.line(reply, provider) : Self.explanation(reply, provider)) }
      guard json else { throw CommandFault(code: 2, text: "give a reply, or --json and replies on standard input") }
      while let line = readLine(strippingNewline: true) { print(Self.line(line, provider)) }
    }
  }

  /// A line is a reply, or a JSON object that holds one.
  static func line(_ text: String, _ provider: String?) -> String {
    var reply = text
    var provider = provider
    if text.hasPrefix("{"), let object = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any],
      let given = object["reply"] as? String
    {
      reply = given
      provider = object["provider"] as? String ?? provider
    }
    let verdict = ReplyClassification.verdict(text: reply, providerName: provider)
    var object = JSONObject([
      ("reply", .text(reply)), ("category", .text(verdict.replyClass.rawValue)),
      ("class", .text(verdict.isPermanent ? "permanent" : "temporary")), ("scope", .text(verdict.scope.rawValue)),
      ("reaction", .text(verdict.reaction.rawValue)), ("rule", .text(verdict.rule)),
    ])
    object.add("pauseSeconds", verdict.pause.map { $0 / 1000 })
    object.add("statedWaitSeconds", verdict.statedWait.map { $0 / 1000 })
    return object.string
  }

  private static func explanation(_ reply: String, _ provider: String?) -> String {
    let verdict = ReplyClassification.verdict(text: reply, providerName: provider)
    var lines = [
      "category: \(verdict.replyClass.rawValue) (\(verdict.isPermanent ? "permanent" : "temporary"))",
      "blame:    \(verdict.scope.rawValue)", "reaction: \(verdict.reaction.rawValue)", "rule:     \(verdict.rule)",
      "message:  \(verdict.isDeferral ? "tried again" : "bounced")\(verdict.suppresses ? ", the address is suppressed" : "")",
    ]
    if let pause = verdict.pause { lines.append("for:      \(pause / 1000) s") }
    if let wait = verdict.statedWait { lines.append("it asks:  to wait \(wait / 1000) s") }
    return lines.joined(separator: "\n")
  }
}
