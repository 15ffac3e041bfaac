/// How right the rules are on labelled replies, and how right they would be had they never seen a source.
///
/// A rule that was fitted to a line says nothing about unseen lines. So each source of lines is also scored with everything left
/// out that only its lines attest: phrases that stand in no other source's lines, and rules of a provider's codes that hold for no
/// other source's lines. What is left is what the rules know of that source from elsewhere; words that all replies share stay.
package struct ReplyScore: Sendable {
  /// One line with its label.
  package struct Line: Sendable {
    let text: ReplyText
    let provider: String?
    let accepted: Set<String>
    package let source: String
    let reply: String

    /// - Parameter accepted: raw values of the classes that are right.
    package init(reply: String, provider: String?, accepted: Set<String>, source: String) {
      self.text = ReplyText(reply)
      self.provider = provider
      self.accepted = accepted
      self.source = source
      self.reply = reply
    }
  }

  /// The lines of one source.
  package struct Row: Sendable {
    package let source: String
    package let lines: Int
    package let right: Int
    /// With what only this source attests left out.
    package let rightWithoutIt: Int
  }

  package private(set) var rows: [Row] = []
  /// `label, not class by rule: reply` for every line that the whole table has wrong.
  package private(set) var wrong: [String] = []
  /// The same for lines that are right only thanks to what their own source taught: where the rules generalise least.
  package private(set) var learnt: [String] = []

  package var lines: Int { rows.reduce(0) { $0 + $1.lines } }
  package var right: Int { rows.reduce(0) { $0 + $1.right } }
  package var rightWithoutSource: Int { rows.reduce(0) { $0 + $1.rightWithoutIt } }

  /// - Parameter leavingOut: sources of rules (``ReplyRule/source``) that are not used at all.
  package init(_ lines: [Line], leavingOut: Set<String> = []) {
    let table = ReplyRules.table.filter { !leavingOut.contains($0.source) }
    let rules = CompiledRules(table)
    let sources = Set(lines.map(\.source)).sorted()
    let attested = Self.attestations(lines, table)
    for source in sources {
      let own = lines.filter { $0.source == source }
      let reduced = CompiledRules(Self.without(source, table, attested))
      var right = 0
      var rightWithoutIt = 0
      for line in own {
        let isRight = Self.complaint(line, rules).map { wrong.append($0) } == nil
        let complaint = Self.complaint(line, reduced)
        if isRight { right += 1 }
        if complaint == nil { rightWithoutIt += 1 }
        if isRight, let complaint { learnt.append(complaint) }
      }
      rows.append(Row(source: source, lines: own.count, right: right, rightWithoutIt: rightWithoutIt))
    }
  }

  /// nil when the rules have the line right.
  private static func complaint(_ line: Line, _ rules: CompiledRules) -> String? {
    let rule = rules.first(line.text, provider: line.provider)
    let found = rule?.replyClass.rawValue ?? ReplyClass.unknown.rawValue
    guard !line.accepted.contains(found) else { return nil }
    return "\(line.accepted.sorted().joined(separator: "|")), not \(found) by \(rule?.name ?? "none"): \(line.reply)"
  }

  /// Phrase, or `rule:` and a name for rules of codes alone → the sources in whose lines it stands.
  private static func attestations(_ lines: [Line], _ table: [ReplyRule]) -> [String: Set<String>] {
    var index = PhraseIndex()
    let phrases = Set(table.flatMap { $0.any + $0.also + $0.all }).map { ($0, index.add($0)) }
    let codeRules = table.filter { $0.provider != nil && $0.any.isEmpty && $0.also.isEmpty && $0.all.isEmpty }
      .map { ($0.name, CompiledRules([$0])) }
    var attested: [String: Set<String>] = [:]
    for line in lines {
      let hits = index.hits(in: line.text.words)
      for (phrase, id) in phrases where hits[id] { attested[phrase, default: []].insert(line.source) }
      for (name, rule) in codeRules where rule.first(line.text, provider: line.provider) != nil {
        attested["rule:" + name, default: []].insert(line.source)
      }
    }
    return attested
  }

  private static func without(_ source: String, _ table: [ReplyRule], _ attested: [String: Set<String>]) -> [ReplyRule] {
    let only = Set(attested.filter { $0.value == [source] }.keys)
    return table.compactMap { only.contains("rule:" + $0.name) ? nil : $0.without(only) }
  }
}
