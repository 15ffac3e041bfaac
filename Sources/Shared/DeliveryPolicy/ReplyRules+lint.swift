extension ReplyRules {
  /// Faults of the table, one a line; empty when it is sound. Run by the tests and by `supervisor classify --lint`.
  package static func lint() -> [String] { lint(table) }

  /// The same for another table.
  package static func lint(_ table: [ReplyRule]) -> [String] {
    var faults: [String] = []
    var names: Set<String> = []
    let providers = Set(marks.map(\.provider))
    for (index, rule) in table.enumerated() {
      if !names.insert(rule.name).inserted { faults.append("\(rule.name): another rule has this name") }
      if let provider = rule.provider, !providers.contains(provider) { faults.append("\(rule.name): unknown provider \(provider)") }
      for code in rule.codes where CompiledRules.range(code) == nil { faults.append("\(rule.name): no reply code: \(code)") }
      for code in rule.enhanced where CompiledRules.CodePattern(code) == nil { faults.append("\(rule.name): no enhanced code: \(code)") }
      faults += phraseFaults(rule).map { "\(rule.name): \($0)" }
      let quoted = fixedPhrases.filter { entry in
        (rule.any + rule.also + rule.all).contains { phrase in entry.phrases.contains { phrase.hasPrefix($0) } }
      }
      let owners = Set(quoted.map(\.provider)).union(rule.provider.map { [$0] } ?? [])
      if owners.count > 1, !quoted.isEmpty {
        faults.append("\(rule.name): quotes fixed phrases of \(owners.sorted().joined(separator: ", "))")
      }
      if let earlier = table[..<index].first(where: { covers($0, rule) }) {
        faults.append("\(rule.name): never reached, \(earlier.name) holds first")
      } else {
        for phrase in rule.any {
          if let earlier = table[..<index].first(where: { covers($0, rule, phrase: phrase) }) {
            faults.append("\(rule.name): \"\(phrase)\" never decides, \(earlier.name) holds first")
          }
        }
      }
    }
    if let last = table.last, !isUnconditional(last) { faults.append("\(last.name): the last rule must hold for every reply") }
    return faults
  }

  /// Words that one provider coined: a general rule may quote one provider's, a provider's rule its own.
  static let fixedPhrases: [(provider: String, phrases: [String])] = [
    ("google", ["unusual rate of unsolicited", "likely unsolicited", "gsmtp"]),
    ("microsoft", ["s3140", "s3150", "banned sending ip", "unfortunately messages from", "smtpsend", "part of their network"]),
    ("yahoo", ["tss0", "tss1", "ts01", "ts02", "ts03", "ts04", "ipts", "vs9", "disabled or discontinued"]),
    ("apple", ["hme1", "cs01", "cs02", "bs02", "hcm1"]),
    ("cox", ["cxbl", "cdrbl", "cxdns", "cxsndr", "cxsmtp", "cxcnct", "cxmxrt", "ipbl", "urlbl"]),
    ("godaddy", ["ib0", "ib1", "ib2", "ib4", "ib5", "ib6", "ib7"]),
    ("comcast", ["rl0000", "es0000"]),
    ("qq", ["frequency limit", "domain frequency", "sender frequency", "mail content denied", "mailbox unavailable or access"]),
    ("netease", ["dt spm", "hl itc", "rp orq", "mi spf", "mi dmc"]),
    ("mimecast", ["mcspamsignature", "local ct ip", "internal resource"]),
    ("gmx", ["reject due to policy", "zuviele mails"]),
    ("facebook", ["rcp p1"]),
  ]

  private static func phraseFaults(_ rule: ReplyRule) -> [String] {
    var faults: [String] = []
    for phrases in [rule.any, rule.also, rule.all, rule.none] {
      if Set(phrases).count < phrases.count { faults.append("a phrase stands twice") }
      for phrase in phrases {
        let isPlain = phrase.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x20 || $0 == 0x2A }
        if !isPlain { faults.append("not lower-case letters, digits, spaces and stars: \"\(phrase)\"") }
        if phrase.hasPrefix(" ") || phrase.hasSuffix(" ") || phrase.contains("  ") || phrase.hasPrefix("*") || phrase.utf8.count < 2 {
          faults.append("cannot match: \"\(phrase)\"")
        }
      }
    }
    for phrase in rule.any where rule.any.contains(where: { $0 != phrase && implies(phrase, $0) }) {
      faults.append("another phrase of it says \"\(phrase)\" already")
    }
    for phrase in rule.any where rule.none.contains(where: { implies(phrase, $0) }) { faults.append("asks for and forbids \"\(phrase)\"") }
    return faults
  }

  private static func isUnconditional(_ rule: ReplyRule) -> Bool {
    rule.provider == nil && rule.codes.isEmpty && rule.enhanced.isEmpty && rule.any.isEmpty && rule.also.isEmpty && rule.all.isEmpty
      && rule.none.isEmpty
  }

  /// Whenever `later` holds (by this phrase), `earlier` does.
  private static func covers(_ earlier: ReplyRule, _ later: ReplyRule, phrase: String? = nil) -> Bool {
    guard earlier.none.isEmpty || earlier.none == later.none, earlier.also.isEmpty || earlier.also == later.also,
      earlier.provider == nil || earlier.provider == later.provider
    else {
      return false
    }
    let codes =
      earlier.codes.isEmpty || !later.codes.isEmpty && later.codes.allSatisfy { code in earlier.codes.contains { code.hasPrefix($0) } }
    let enhanced = earlier.enhanced.isEmpty || !later.enhanced.isEmpty && later.enhanced.allSatisfy(earlier.enhanced.contains)
    let wanted = phrase.map { [$0] } ?? later.any
    let any =
      earlier.any.isEmpty
      || !wanted.isEmpty && wanted.allSatisfy { phrase in earlier.any.contains { implies(phrase, $0) } }
      || later.all.contains { phrase in earlier.any.contains { implies(phrase, $0) } }
    let all = earlier.all.allSatisfy { wanted in later.all.contains { implies($0, wanted) } }
    return codes && enhanced && any && all
  }

  /// A text with the first phrase has the second. Phrases with gaps imply only themselves.
  private static func implies(_ phrase: String, _ other: String) -> Bool {
    if phrase == other { return true }
    guard !phrase.contains(" * "), !other.contains(" * ") else { return false }
    let isOpen = other.hasSuffix("*")
    let words = isOpen ? String(other.dropLast()) : other + " "
    let text = phrase.hasSuffix("*") ? " " + phrase.dropLast() : " " + phrase + " "
    return text.contains(" " + words)
  }
}
