package import MailModel

/// One line of the rule table: data. All conditions that are given must hold; the first rule that holds decides.
///
/// Phrases are lower-case ASCII words with single spaces, matched on whole words; `word*` also matches longer words, and a
/// ` * ` of its own stands for up to ``gap`` bytes of other words (`mailbox * full`).
package struct ReplyRule: Sendable {
  /// How far the parts of a phrase around ` * ` may stand apart.
  static let gap = 48

  package let name: String
  /// What it was written from: a provider's own pages, `registry` (RFCs and IANA's list) or `wording` (plain meaning).
  package private(set) var source = "wording"
  /// Only for replies of this provider, known by its MX or by marks in the text.
  package let provider: String?
  /// Prefixes of the reply's code: `4`, `55`, `421`. Empty = any.
  package let codes: [String]
  /// `x.7.26`, `5.7.x`, `5.7.606-649`; x = any number. Empty = any.
  package let enhanced: [String]
  /// One of them must be there. Empty = no condition.
  package let any: [String]
  /// And one of these: `any` names a thing, `also` what is the matter with it. Empty = no condition.
  package let also: [String]
  /// Each of them must be there.
  package let all: [String]
  /// None of them may be there.
  package let none: [String]
  package let replyClass: ReplyClass
  /// Instead of what follows from the class (``ReplyClassification``).
  package let scope: ReplyScope?
  package let reaction: ReplyReaction?
  package let pause: Milliseconds?

  package init(
    _ name: String, _ replyClass: ReplyClass, provider: String? = nil, codes: [String] = [], enhanced: [String] = [],
    any: [String] = [], also: [String] = [], all: [String] = [], none: [String] = [], scope: ReplyScope? = nil,
    reaction: ReplyReaction? = nil,
    pause: Milliseconds? = nil
  ) {
    self.name = name
    self.provider = provider
    self.codes = codes
    self.enhanced = enhanced
    self.any = any
    self.also = also
    self.all = all
    self.none = none
    self.replyClass = replyClass
    self.scope = scope
    self.reaction = reaction
    self.pause = pause
  }

  /// The same rule under another source.
  func from(_ source: String) -> ReplyRule {
    var rule = self
    rule.source = source
    return rule
  }

  /// The same rule without some of its phrases; nil when none of those that it asked for is left.
  func without(_ phrases: Set<String>) -> ReplyRule? {
    let left = any.filter { !phrases.contains($0) }
    let alsoLeft = also.filter { !phrases.contains($0) }
    guard any.isEmpty || !left.isEmpty, also.isEmpty || !alsoLeft.isEmpty, !all.contains(where: phrases.contains) else { return nil }
    return ReplyRule(
      name, replyClass, provider: provider, codes: codes, enhanced: enhanced, any: left, also: alsoLeft, all: all, none: none, scope: scope,
      reaction: reaction, pause: pause
    ).from(source)
  }
}
