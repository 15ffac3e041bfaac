extension ReplyRules {
  /// Gmail and Google Workspace: enhanced codes first (Google's "SMTP errors and codes" and its sender guidelines).
  static let google: [ReplyRule] = [
    ReplyRule(
      "google-rate-of-domain", .rateLimited, provider: "google", enhanced: ["x.7.28"],
      any: ["spf domain", "dkim domain", "your domain", "sending domain", "url domain", "urls"], scope: .organisation,
      reaction: .pauseOrganisation, pause: 30 * minute),
    ReplyRule(
      "google-rate-blocked", .rateLimited, provider: "google", codes: ["5"], enhanced: ["x.7.28"], reaction: .pauseLane, pause: hour),
    ReplyRule("google-rate", .rateLimited, provider: "google", enhanced: ["x.7.28"], reaction: .slow, pause: 30 * minute),
    ReplyRule(
      "google-pointer-record", .ipReputation, provider: "google", enhanced: ["x.7.23", "x.7.25"], scope: .ip, reaction: .pauseIP,
      pause: hour),
    ReplyRule("google-tls", .tls, provider: "google", enhanced: ["x.7.29"]),
    ReplyRule(
      "google-authentication", .authFailure, provider: "google",
      enhanced: ["x.7.24", "x.7.26", "x.7.27", "x.7.30", "x.7.31", "x.7.32", "x.7.40"], scope: .organisation,
      reaction: .pauseOrganisation, pause: 30 * minute),
    ReplyRule(
      "google-recipient-rate", .rateLimited, provider: "google", enhanced: ["x.2.1"], any: ["too quickly", "at a rate", "rate that"],
      scope: .recipient, reaction: .retry),
    ReplyRule(
      "google-quota-of-sender", .rateLimited, provider: "google", enhanced: ["x.4.5"], none: ["busy"], scope: .organisation,
      reaction: .pauseOrganisation, pause: hour),
    ReplyRule(
      "google-low-reputation-domain", .ipReputation, provider: "google",
      any: ["reputation of * domain"], none: ["reputation of the sending ip", "reputation of your ip"],
      scope: .organisation, reaction: .pauseOrganisation, pause: hour),
    ReplyRule(
      "google-low-reputation", .ipReputation, provider: "google", any: ["low reputation"],
      reaction: .pauseLane, pause: hour),
    ReplyRule(
      "google-closing", .ipReputation, provider: "google", codes: ["421"], any: ["try again later closing"], reaction: .slow,
      pause: 30 * minute),
    ReplyRule("google-detected", .rateLimited, provider: "google", codes: ["421"], any: ["our system has detected"], reaction: .slow),
    ReplyRule("google-unusual-rate", .rateLimited, provider: "google", any: ["unusual rate"], reaction: .pauseLane, pause: hour),
    // Before the spam wording that Gmail adds to every refusal.
    ReplyRule(
      "google-format", .protocol, provider: "google",
      any: [
        "message header", "from header", "message id header", "rfc 5322", "multiple addresses", "encoded word", "malformed",
        "duplicate header*", "multiple headers",
      ],
      none: ["unauthenticated", "unsolicited", "likely", "size limit*", "exceeds"]),
    ReplyRule("google-policy-size", .network, provider: "google", any: ["policy size per transaction"], scope: .message, reaction: .retry),
    ReplyRule("google-relay-service", .policy, provider: "google", any: ["credentials for relay"]),
    ReplyRule(
      "google-email-quota", .rateLimited, provider: "google", any: ["email quota exceeded"], scope: .organisation,
      reaction: .pauseOrganisation, pause: hour),
    ReplyRule("google-group", .policy, provider: "google", any: ["groups google com"]),
    ReplyRule("google-no-contact", .network, provider: "google", any: ["requests to connect"]),
    ReplyRule(
      "google-commands", .protocol, provider: "google", enhanced: ["x.7.0", "x.7.10", "x.7.11"],
      any: ["protocol violation", "syntax error", "unauthenticated commands"]),
    // The word at the end of Gmail's help link says why, also where a relay cut the rest off.
    ReplyRule("google-link-disabled", .inactiveMailbox, any: ["disableduser"]),
    ReplyRule("google-link-full", .mailboxFull, any: ["overquotaperm", "overquotatemp"]),
    ReplyRule("google-link-unknown", .invalidRecipient, any: ["nosuchuser"]),
    ReplyRule("google-link-loop", .routingLoop, any: ["mailloop"]),
    ReplyRule("google-link-authentication", .authFailure, any: ["dmarcrejection"]),
    ReplyRule("google-link-rate", .rateLimited, any: ["receivingrate*"], scope: .recipient, reaction: .retry),
    ReplyRule("google-not-whitelisted", .ipReputation, provider: "google", any: ["ip not in whitelist"]),
  ]
}
