import ArgumentParser
import DeliveryPolicy
import Foundation
import MailModel

struct ClassifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classify", abstract: "What a server's reply means and what the MTA would do about it.",
    discussion: """
      With a reply as argument it explains that one. With --json it reads one reply a line from standard input, plain or as JSON with \
      `reply` and optional `provider`, and prints one JSON line each, in order; an empty line is an empty reply. A line that begins \
      with `{` and is no such JSON is answered as it stands; the first such line is named at the end, and the exit code is 1.

      Example: supervisor classify "421 4.7.28 Our system has detected an unusual rate of unsolicited mail" --provider gmail
      """)
  @Argument(help: "The reply, code first.") var reply: String?
  @Option(help: "The mailbox provider that said it (gmail, microsoft, yahoo …).") var provider: String?
  @Flag(help: "JSON lines, from standard input when no reply is given.") var json = false
  @Flag(help: "Check the rules instead, and name what is wrong with them.") var lint = false
  @Option(help: "Score the rules on labelled replies instead: a file of JSON lines with reply, category, category_accept, source.")
  var score: String?
  @Option(help: "With --score: only lines of these sources, divided by commas; with ! before them all others.") var source: String?
  @Option(help: "With --score: without the rules written from these sources (google, wording …), divided by commas.") var without: String?

  func run() {
    withFaults {
      guard score != nil || source == nil && without == nil else {
        throw CommandFault(code: 2, text: "--source and --without belong to --score")
      }
      if lint {
        let problems = ReplyRules.lint()
        for problem in problems { print(problem) }
        guard problems.isEmpty else { throw CommandFault(code: 1, text: "\(problems.count) rules are wrong") }
        return print("the rules are sound")
      }
      if let score { return print(try ReplyScoreReport.text(of: score, source: source, without: without, json: json)) }
      if let reply { return print(json ? Self.line(reply, provider) : Self.explanation(reply, provider)) }
      guard json else { throw CommandFault(code: 2, text: "give a reply, or --json and replies on standard input") }
      try Self.classifyLines(provider)
    }
  }

  /// Standard input to standard output, a line for each line whatever it holds; the first faulty one is told at the end.
  private static func classifyLines(_ provider: String?) throws {
    var output = Data()
    var number = 0
    var fault: String?
    while let text = readLine(strippingNewline: true) {
      number += 1
      let given = input(text)
      if let problem = given.problem, fault == nil { fault = "line \(number): \(problem)" }
      output.append(contentsOf: line(given.reply, given.provider ?? provider).utf8)
      output.append(0x0A)
      if output.count > 1 << 16 {
        FileHandle.standardOutput.write(output)
        output.removeAll(keepingCapacity: true)
      }
    }
    FileHandle.standardOutput.write(output)
    if let fault { throw CommandFault(code: 1, text: fault) }
  }

  /// A line is a reply, or a JSON object that holds one. No reply begins with a brace: what does and is no such object is taken as
  /// it stands, with the reason.
  private static func input(_ text: String) -> (reply: String, provider: String?, problem: String?) {
    guard text.utf8.first(where: { $0 != 0x20 && $0 != 0x09 }) == UInt8(ascii: "{") else { return (text, nil, nil) }
    guard let object = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any] else { return (text, nil, "not JSON") }
    guard let reply = object["reply"] as? String else { return (text, nil, "reply: a text is needed") }
    guard let provider = object["provider"], !(provider is NSNull) else { return (reply, nil, nil) }
    guard let name = provider as? String else { return (reply, nil, "provider: must be a text") }
    return (reply, name, nil)
  }

  private static func line(_ reply: String, _ provider: String?) -> String {
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
