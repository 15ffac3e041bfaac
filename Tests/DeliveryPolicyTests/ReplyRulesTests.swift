import DeliveryPolicy
import Foundation
import Testing

@Suite struct ReplyRulesTests {
  @Test func theTableIsSound() { #expect(ReplyRules.lint() == []) }

  @Test func everyClassHasARule() {
    #expect(Set(ReplyRules.table.map(\.replyClass)) == Set(ReplyClass.allCases))
  }

  private static let rest = ReplyRule("rest", .unknown)

  /// (table, part of the fault)
  private static let faulty: [([ReplyRule], String)] = [
    ([ReplyRule("a", .policy, any: ["Upper"]), rest], "not lower-case"),
    ([ReplyRule("a", .policy, any: ["two  spaces"]), rest], "cannot match"),
    ([ReplyRule("a", .policy, any: ["x", "yes"]), rest], "cannot match"),
    ([ReplyRule("a", .policy, any: ["one"]), ReplyRule("a", .tls, any: ["two"]), rest], "another rule has this name"),
    ([ReplyRule("a", .policy, any: ["user"]), ReplyRule("b", .tls, any: ["user unknown"]), rest], "b: never reached, a holds first"),
    (
      [ReplyRule("a", .policy, any: ["use*"]), ReplyRule("b", .tls, any: ["user unknown", "new"]), rest], "\"user unknown\" never decides"
    ),
    ([ReplyRule("a", .policy, enhanced: ["5.7"]), rest], "no enhanced code"),
    ([ReplyRule("a", .policy, codes: ["5xx"]), rest], "no reply code"),
    ([ReplyRule("a", .policy, provider: "nobody"), rest], "unknown provider"),
    ([ReplyRule("a", .policy, any: ["tss04", "s3150"]), rest], "quotes fixed phrases of microsoft, yahoo"),
    ([ReplyRule("a", .policy, any: ["one two"], none: ["two"]), rest], "asks for and forbids"),
    ([ReplyRule("a", .policy, any: ["one", "one two"]), rest], "says \"one two\" already"),
    ([rest, ReplyRule("b", .tls, any: ["two"])], "never reached"),
    ([ReplyRule("a", .policy, any: ["one"])], "must hold for every reply"),
  ]

  @Test(arguments: faulty.indices)
  func faultsAreFound(index: Int) {
    let (table, part) = Self.faulty[index]
    let faults = ReplyRules.lint(table)
    #expect(faults.contains { $0.contains(part) }, "\(faults)")
  }

  @Test func aSoundTablePasses() {
    #expect(ReplyRules.lint([ReplyRule("a", .policy, enhanced: ["x.7.x"], any: ["one * two", "three*"]), Self.rest]) == [])
  }
}

/// Labelled third-party replies; they lie beside the repository, not in it, and may be absent.
@Suite struct ReplyCorpusTests {
  private struct Entry: Decodable {
    var reply: String
    var provider: String
    var category: String
    var category_accept: [String]
    var `class`: String?
  }

  private static let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "../shared/corpus/dev/smtp-replies.jsonl").standardizedFileURL

  @Test(.enabled(if: FileManager.default.fileExists(atPath: file.path)))
  func atLeast97OfAHundredAreRight() throws {
    let entries = try String(contentsOf: Self.file, encoding: .utf8).split(separator: "\n")
      .map { try JSONDecoder().decode(Entry.self, from: Data($0.utf8)) }
    var wrong: [String] = []
    for entry in entries {
      let verdict = ReplyClassification.verdict(text: entry.reply, providerName: entry.provider)
      let found = verdict.replyClass.rawValue
      if found != entry.category, !entry.category_accept.contains(found) {
        wrong.append("\(entry.category), not \(found) by \(verdict.rule): \(entry.reply.prefix(100))")
      }
      if let digit = entry.class { #expect(digit == (verdict.isPermanent ? "permanent" : "temporary"), "\(entry.reply)") }
    }
    #expect(!entries.isEmpty)
    #expect(Double(wrong.count) <= 0.03 * Double(entries.count), "\(wrong.joined(separator: "\n"))")
  }

  /// Replies in words of our own, labelled before the rules saw them: what was right once stays right.
  @Test func repliesOfOurOwnAreRight() throws {
    struct Own: Decodable {
      var reply: String
      var category: String
      var category_accept: [String]
    }
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/replies.jsonl")
    let entries = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
      .map { try JSONDecoder().decode(Own.self, from: Data($0.utf8)) }
    #expect(entries.count > 400)
    for entry in entries {
      let verdict = ReplyClassification.verdict(text: entry.reply, providerName: nil)
      let found = verdict.replyClass.rawValue
      // What the labels call unknown is told as a fault of the network where it is one.
      let accepted = [entry.category] + entry.category_accept
      #expect(accepted.contains(found), "\(entry.category), not \(found) by \(verdict.rule): \(entry.reply)")
    }
  }

  /// Wording that only hints at what is meant ends a message, and condemns no address.
  @Test func aGuessSuppressesNobody() {
    let rules = ReplyRules.table.filter { $0.name.hasPrefix("any-") }
    #expect(rules.count > 5)
    for rule in rules {
      for thing in rule.any {
        for trouble in rule.also {
          let verdict = ReplyClassification.verdict(text: "550 \(thing) xx xx \(trouble)".replacing("*", with: ""), providerName: nil)
          if verdict.rule.hasPrefix("any-") { #expect(!verdict.suppresses, "\(thing) \(trouble): \(verdict.rule)") }
        }
      }
    }
  }
}
