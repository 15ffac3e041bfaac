extension ReplyRules {
  /// Yahoo, AOL and Yahoo Japan: bracketed codes.
  static let yahoo: [ReplyRule] = [
    ReplyRule(
      "yahoo-complaints", .rateLimited, any: ["ipts04", "ipts05", "tss0*"], none: ["tss09"], reaction: .pauseLane, pause: 2 * hour),
    ReplyRule("yahoo-unusual", .rateLimited, any: ["ts01", "ts02", "ts03", "ts04"], reaction: .slow, pause: 30 * minute),
    ReplyRule("yahoo-permanent", .ipReputation, any: ["tss09", "tss1*"], reaction: .otherIP, pause: 4 * hour),
    ReplyRule("yahoo-listed", .ipReputation, provider: "yahoo", any: ["bl2*", "bl1*", "bl0*"], reaction: .otherIP, pause: 2 * hour),
    ReplyRule(
      "yahoo-waited", .network, provider: "yahoo", codes: ["4"], any: ["waiting for command"], scope: .lane, reaction: .slow,
      pause: 30 * minute),
    ReplyRule("yahoo-per-session", .rateLimited, provider: "yahoo", any: ["max message per connection"]),
    ReplyRule("yahoo-volume", .rateLimited, provider: "yahoo", any: ["vs98", "vs1*", "vs2*", "vs99"], reaction: .pauseLane, pause: hour),
    ReplyRule("yahoo-policy", .policy, provider: "yahoo", any: ["ph01", "policy reasons"]),
    ReplyRule("yahoo-deferred", .rateLimited, any: ["temporarily deferred due to*"], reaction: .pauseLane, pause: 2 * hour),
    ReplyRule("yahoo-given-up", .inactiveMailbox, provider: "yahoo", any: ["is no longer valid"]),
    ReplyRule("yahoo-disabled", .suspended, provider: "yahoo", any: ["mailbox is disabled", "disabled or discontinued", "554 30"]),
  ]

  /// AOL's own codes, as its postmaster pages gave them: RTR, CON and DYN of an address, HVU of a link, DNS of its name.
  static let aol: [ReplyRule] = [
    ReplyRule("aol-link", .spamContent, provider: "yahoo", any: ["hvu b*"]),
    ReplyRule("aol-listed", .ipReputation, provider: "yahoo", any: ["rtr", "con b*", "dyn t*", "rly b*"], pause: 2 * hour),
    ReplyRule("aol-pointer-record", .ipReputation, provider: "yahoo", any: ["dns nr", "dns b*"], scope: .ip),
  ]

  /// iCloud: codes in brackets.
  static let apple: [ReplyRule] = [
    ReplyRule(
      "apple-domain-listed", .ipReputation, provider: "apple", any: ["dbl"], scope: .organisation, reaction: .pauseOrganisation,
      pause: 4 * hour),
    ReplyRule("apple-volume", .rateLimited, provider: "apple", any: ["excessive volume"]),
    ReplyRule(
      "apple-unavailable", .rateLimited, provider: "apple", codes: ["4"], any: ["bs02", "hcm1", "service unavailable"], pause: 15 * minute),
    ReplyRule("apple-unauthenticated", .authFailure, provider: "apple", any: ["hme1"]),
    ReplyRule("apple-local-policy", .policy, provider: "apple", any: ["cs01", "cs02", "local policy"]),
  ]
}
