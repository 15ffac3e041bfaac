import ArgumentParser
import Foundation
import Glibc

struct QueueCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "queue", abstract: "What waits, why, and what is done about it.",
    subcommands: [List.self, Explain.self, Pause.self, Resume.self, Pauses.self, Retry.self, Cancel.self, Flush.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Queues by recipient domain, pool and organization, largest first.",
      discussion: "What is deferred or scheduled waits elsewhere: see status and queue explain.")
    @Option(help: "At most so many rows.") var limit = 50
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("queue list", ["limit": String(limit)])
        if common.json { return print(document) }
        Table.print(
          json: document,
          [
            ("DOMAIN", "domain"), ("SET", "pool"), ("ORGANIZATION", "organization"), ("MESSAGES", "messages"), ("OLDEST", "oldest"),
            ("GATES", "gates"),
          ])
      }
    }
  }

  struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Why a message is still here, and until when.",
      discussion: "Every shut gate is named, the widest first. Until - means until somebody or something opens it.")
    @Argument(help: "The message id.") var id: String
    @Option(help: "The organization, when several have the id.") var org: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("queue explain", ["id": id, "org": org])
        if common.json { return print(document) }
        let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
        print("\(id): \(Table.text(value["state"]))")
        if let position = value["position"] as? Int { print("before it in its queue: \(position)") }
        if let next = value["nextAttemptAt"] as? String { print("next attempt: \(next)") }
        for gate in value["gates"] as? [[String: Any]] ?? [] {
          print(
            "shut: \(Table.text(gate["reason"])) (\(Table.text(gate["scope"])) \(Table.text(gate["key"]))), until \(Table.text(gate["until"]))"
          )
        }
      }
    }
  }

  /// What is paused or resumed: exactly one of the four.
  struct Target: ParsableArguments {
    @Option(help: "A recipient domain.") var domain: String?
    @Option(help: "A pool.") var pool: String?
    @Option(help: "A campaign: its waiting messages are held, wherever they wait.") var campaign: String?
    @Option(help: "A tag: like a campaign.") var tag: String?

    func arguments() throws -> [String: String?] {
      let given = [("domain", domain), ("pool", pool), ("campaign", campaign), ("tag", tag)].filter { $0.1 != nil }
      guard given.count == 1 else { throw CommandFault(code: 2, text: "give one of --domain, --pool, --campaign, --tag") }
      return ["scope": given[0].0, "name": given[0].1]
    }
  }

  struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Hold back a recipient domain, a pool, a campaign or a tag.",
      discussion: "Mail is still accepted and keeps its place. For one organization: org pause.")
    @OptionGroup var target: Target
    @Option(help: "Why, for `queue pauses` and `queue explain`.") var reason: String?
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("queue pause", try target.arguments().merging(["reason": reason]) { $1 })
        PauseText.show(document, common.json, "paused", "held", "held")
      }
    }
  }

  struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let it go on; mail leaves from its old place.",
      discussion: "Example: supervisor queue resume --campaign spring")
    @OptionGroup var target: Target
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        PauseText.show(try common.ask("queue resume", try target.arguments()), common.json, "resumed", "released", "back in their queues")
      }
    }
  }

  struct Pauses: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What is paused, since when and why.", discussion: "Pauses stand over restarts.")
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        let document = try common.ask("queue pauses")
        if common.json { return print(document) }
        Table.print(json: document, [("SCOPE", "scope"), ("NAME", "name"), ("SINCE", "since"), ("REASON", "reason")])
      }
    }
  }

  struct Retry: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Try deferred or scheduled mail now instead of at its time.", discussion: "Gates hold it all the same.")
    @OptionGroup var selection: Selection
    @OptionGroup var common: CommonOptions

    func run() { withFaults { try selection.act("queue retry", "tried now", places: "waiting", common) } }
  }

  struct Cancel: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End waiting mail: it is not sent, and told as failed, CANCELLED.",
      discussion: "What a worker is sending at this moment is not touched.")
    @OptionGroup var selection: Selection
    @OptionGroup var common: CommonOptions

    func run() { withFaults { try selection.act("queue cancel", "cancelled", places: nil, common) } }
  }

  struct Flush: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Empty the queue of an organization: all its waiting mail is cancelled.",
      discussion: "The same as POST /queue/flush. To try deferred mail now, use queue retry.")
    @Option(help: "The organization.") var org: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var common: CommonOptions

    func run() {
      withFaults {
        try Selection.act("queue flush", ["org": org], isOne: false, "cancelled", places: nil, yes, common)
      }
    }
  }
}

enum PauseText {
  static func show(_ document: String, _ json: Bool, _ what: String, _ key: String, _ how: String) {
    if json { return print(document) }
    let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
    let count = (value[key] as? Int).map { $0 == 0 ? "" : ", \($0) messages \(how)" } ?? ""
    print("\(Table.text(value["scope"])) \(Table.text(value["name"])) \(what)\(count)")
  }
}

/// Which messages a command means: one by its id, or all that match. What it would touch is counted and shown first; on a
/// terminal it asks.
struct Selection: ParsableArguments {
  @Argument(help: "A message id.") var id: String?
  @Option(help: "Of this organization.") var org: String?
  @Option(help: "To this recipient domain.") var domain: String?
  @Option(help: "Of this pool.") var pool: String?
  @Option(help: "Of this campaign.") var campaign: String?
  @Option(help: "With this tag.") var tag: String?
  @Flag(help: "Do not ask.") var yes = false

  func act(_ command: String, _ done: String, places: String?, _ common: CommonOptions) throws {
    let arguments = ["id": id, "org": org, "domain": domain, "pool": pool, "campaign": campaign, "tag": tag]
    guard arguments.values.contains(where: { $0 != nil }) else {
      throw CommandFault(code: 2, text: "give a message's id, or one of --org, --domain, --pool, --campaign, --tag")
    }
    try Self.act(command, arguments, isOne: id != nil, done, places: places, yes, common)
  }

  static func act(
    _ command: String, _ arguments: [String: String?], isOne: Bool, _ done: String, places: String?, _ yes: Bool, _ common: CommonOptions
  ) throws {
    let document = try common.ask("queue preview", arguments.merging(["places": places]) { $1 })
    let preview = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any] ?? [:]
    let count = preview["count"] as? Int ?? 0
    if isOne, count == 0 { throw CommandFault(code: 1, text: "no such message waits") }
    let sample = preview["sample"] as? [[String: Any]] ?? []
    if !common.json, !isOne {
      print("\(count) messages\(count > sample.count ? ", among them" : ""):")
      Table.print(
        ["ID", "ORGANIZATION", "TO", "STATE"],
        sample.map { row in ["messageId", "organizationId", "to", "state"].map { Table.text(row[$0]) } })
    }
    if !isOne, !yes, !common.json, count > 0, isatty(0) == 1 {
      print("Go on? [y/N] ", terminator: "")
      guard readLine()?.lowercased().hasPrefix("y") == true else { throw CommandFault(code: 1, text: "nothing was done") }
    }
    let result = try common.ask(command, arguments, bar: ProgressBar(total: count))
    let number = ((try? JSONSerialization.jsonObject(with: Data(result.utf8))) as? [String: Any])?["done"] as? Int ?? 0
    if common.json {
      var whole = preview
      whole["done"] = number
      print(
        String(decoding: try JSONSerialization.data(withJSONObject: whole, options: [.sortedKeys, .withoutEscapingSlashes]), as: UTF8.self))
    } else {
      print("\(number) \(done)")
    }
  }
}
