import DeliveryPolicy
import Testing

@Suite struct ReplyScoreTests {
  private func line(_ reply: String, _ accepted: String, _ source: String) -> ReplyScore.Line {
    ReplyScore.Line(reply: reply, provider: nil, accepted: [accepted], source: source)
  }

  /// What only a source's own lines attest is left out for them; what another source attests too stays.
  @Test func aSourceIsLeftOut() {
    let score = ReplyScore([
      line("554 AUP#CXCNCT [192.0.2.1] cox.net", "rate_limited", "a"), line("550 quota exceeded", "mailbox_full", "a"),
      line("552 quota exceeded", "mailbox_full", "b"), line("550 hm", "policy", "b"),
    ])
    #expect(score.rows.map(\.source) == ["a", "b"] && score.rows.map(\.lines) == [2, 2])
    #expect(score.rows.map(\.right) == [2, 1] && score.rows.map(\.rightWithoutIt) == [1, 1])
    #expect(score.right == 3 && score.rightWithoutSource == 2)
    #expect(score.wrong.count == 1 && score.wrong[0].contains("550 hm"))
    #expect(score.learnt.count == 1 && score.learnt[0].contains("CXCNCT"))
  }

  @Test func rulesOfASourceAreLeftOut() {
    let lines = [ReplyScore.Line(reply: "554 AUP#CXCNCT", provider: "cox", accepted: ["rate_limited"], source: "a")]
    #expect(ReplyScore(lines).right == 1)
    #expect(ReplyScore(lines, leavingOut: ["cox"]).right == 0)
    #expect(ReplyScore(lines, leavingOut: ["google"]).right == 1)
  }

  @Test func everyRuleNamesItsSource() {
    let sources = Set(ReplyRules.table.map(\.source))
    #expect(sources.isSuperset(of: ["google", "microsoft", "yahoo", "registry", "wording"]))
    for rule in ReplyRules.table where rule.provider != nil { #expect(!["registry", "wording"].contains(rule.source), "\(rule.name)") }
  }
}
