internal import MailModel

/// The rule table with its phrases indexed, so that a reply is read once whatever the number of rules.
struct CompiledRules: Sendable {
  /// `x.7.26`, `5.7.606-649`: nil = any number.
  struct CodePattern: Sendable, Equatable {
    var parts: [ClosedRange<Int>?]

    /// nil when the text is no pattern.
    init?(_ text: String) {
      let words = text.split(separator: ".", omittingEmptySubsequences: false)
      guard words.count == 3 else { return nil }
      parts = []
      for word in words {
        guard word != "x" else {
          parts.append(nil)
          continue
        }
        let ends = word.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { Int($0) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else { return nil }
        parts.append(first...last)
      }
    }

    func matches(_ code: EnhancedStatusCode) -> Bool {
      zip(parts, [code.subjectClass, code.subject, code.detail]).allSatisfy { $0?.contains($1) ?? true }
    }
  }

  struct Compiled: Sendable {
    let rule: ReplyRule
    /// (lowest, highest) codes.
    let codes: [ClosedRange<Int>]
    let enhanced: [CodePattern]
    let any: [Int]
    let also: [Int]
    let all: [Int]
    let none: [Int]
  }

  static let shared = CompiledRules(ReplyRules.table)

  private(set) var rules: [Compiled] = []
  private var index = PhraseIndex()
  private var marks: [(provider: String, phrases: [Int])] = []

  init(_ table: [ReplyRule]) {
    for rule in table {
      rules.append(
        Compiled(
          rule: rule, codes: rule.codes.compactMap(Self.range), enhanced: rule.enhanced.compactMap(CodePattern.init),
          any: rule.any.map { index.add($0) }, also: rule.also.map { index.add($0) }, all: rule.all.map { index.add($0) },
          none: rule.none.map { index.add($0) }))
    }
    for mark in ReplyRules.marks { marks.append((mark.provider, mark.phrases.map { index.add($0) })) }
  }

  /// `4` → 400…499, `55` → 550…559, `421` → itself.
  static func range(_ prefix: String) -> ClosedRange<Int>? {
    guard let number = Int(prefix), number > 0 else { return nil }
    switch prefix.utf8.count {
    case 1: return number * 100...number * 100 + 99
    case 2: return number * 10...number * 10 + 9
    case 3: return number...number
    default: return nil
    }
  }

  /// The first rule that holds; the table ends with one that always does.
  func first(_ text: ReplyText, provider name: String?) -> ReplyRule? {
    let hits = index.hits(in: text.words)
    let known = name.map { ReplyRules.aliases[$0] ?? $0 }
    let provider = known == nil || known == "other" ? inferred(text, hits) : known
    return rules.first { Self.holds($0, text, hits, provider) }?.rule
  }

  /// Details of three digits are Exchange's own: the registry has none.
  private func inferred(_ text: ReplyText, _ hits: PhraseIndex.Hits) -> String? {
    if let code = text.enhanced.first, code.detail >= 100 { return "microsoft" }
    return marks.first { $0.phrases.contains { hits[$0] } }?.provider
  }

  private static func holds(_ rule: Compiled, _ text: ReplyText, _ hits: PhraseIndex.Hits, _ provider: String?) -> Bool {
    if let wanted = rule.rule.provider, wanted != provider { return false }
    if !rule.codes.isEmpty, !rule.codes.contains(where: { $0.contains(text.code) }) { return false }
    if !rule.enhanced.isEmpty {
      guard let code = text.enhanced.first, rule.enhanced.contains(where: { $0.matches(code) }) else { return false }
    }
    if !rule.any.isEmpty, !rule.any.contains(where: { hits[$0] }) { return false }
    if !rule.also.isEmpty, !rule.also.contains(where: { hits[$0] }) { return false }
    return rule.all.allSatisfy { hits[$0] } && !rule.none.contains { hits[$0] }
  }
}
