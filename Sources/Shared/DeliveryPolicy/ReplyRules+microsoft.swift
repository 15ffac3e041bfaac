extension ReplyRules {
  /// Outlook.com and Exchange Online: the enhanced codes of "Email non-delivery reports" and the S and AS codes.
  static let microsoft: [ReplyRule] = [
    ReplyRule(
      "microsoft-ip-rate", .ipReputation, provider: "microsoft", enhanced: ["x.7.650"], reaction: .slow, pause: 90 * minute),
    ReplyRule(
      "microsoft-connections", .rateLimited, provider: "microsoft", enhanced: ["x.7.651", "x.7.652", "x.7.653"], reaction: .slow,
      pause: hour),
    ReplyRule(
      "microsoft-system-busy", .network, provider: "microsoft", enhanced: ["4.7.500"], none: ["access denied"], scope: .lane,
      reaction: .slow, pause: 15 * minute),
    ReplyRule("microsoft-busy", .rateLimited, provider: "microsoft", any: ["server busy"], reaction: .slow, pause: 15 * minute),
    ReplyRule(
      "microsoft-banned-ip", .ipReputation, provider: "microsoft",
      any: ["banned sending ip", "s3140", "s3150", "on our block list"], scope: .lane,
      reaction: .otherIP, pause: 2 * hour),
    ReplyRule(
      "microsoft-level-of-authentication", .authFailure, provider: "microsoft", enhanced: ["x.7.509", "x.7.515", "x.7.23", "x.7.26"],
      reaction: .pauseOrganisation, pause: 30 * minute),
    ReplyRule(
      "microsoft-throttle", .network, provider: "microsoft", codes: ["4"], enhanced: ["x.3.2"], none: ["thread limit"], scope: .lane,
      reaction: .slow,
      pause: 20 * minute),
    ReplyRule("microsoft-edge-closed", .policy, provider: "microsoft", any: ["all recipient addresses rejected"]),
    ReplyRule(
      "microsoft-edge-unknown", .invalidRecipient, provider: "microsoft", codes: ["5"], enhanced: ["x.4.1"],
      any: ["recipient address rejected"], reaction: .drop),
    ReplyRule(
      "microsoft-recipient-rate", .rateLimited, provider: "microsoft", enhanced: ["x.2.121", "x.2.122"], scope: .recipient, reaction: .retry
    ),
    ReplyRule(
      "microsoft-sender-quota", .rateLimited, provider: "microsoft", enhanced: ["5.1.90", "5.7.232", "5.7.233"], scope: .organisation,
      reaction: .pauseOrganisation),
    ReplyRule("microsoft-ip-rate-v6", .rateLimited, provider: "microsoft", enhanced: ["5.7.508"], reaction: .slow, pause: hour),
    ReplyRule(
      "microsoft-sender", .policy, provider: "microsoft", enhanced: ["x.1.0", "x.1.7", "x.1.8", "x.1.20"], any: ["sender*", "from"]),
    ReplyRule(
      "microsoft-banned-sender", .policy, provider: "microsoft",
      enhanced: ["5.7.501", "5.7.502", "5.7.503", "5.7.703", "5.7.705", "5.7.706", "5.7.750"], scope: .organisation, reaction: .drop),
    ReplyRule("microsoft-not-sent", .ipReputation, any: ["unfortunately messages from"], pause: 90 * minute),
    ReplyRule(
      "microsoft-low-reputation", .ipReputation, provider: "microsoft",
      enhanced: ["5.7.511", "5.7.606-649", "5.7.708", "5.7.513"], pause: 2 * hour),
    ReplyRule(
      "microsoft-pointer-record", .ipReputation, provider: "microsoft", enhanced: ["x.7.25"], scope: .ip, reaction: .pauseIP, pause: hour),
    ReplyRule(
      "microsoft-tls", .tls, provider: "microsoft",
      enhanced: ["x.7.321", "x.7.322", "x.7.323", "x.7.324", "x.7.325", "x.7.51", "x.4.317", "x.4.320", "x.7.5"]),
    ReplyRule("microsoft-dns", .domainNotFound, provider: "microsoft", enhanced: ["x.4.310"]),
    ReplyRule(
      "microsoft-restricted", .policy, provider: "microsoft",
      enhanced: [
        "5.7.12", "5.7.13", "5.7.120", "5.7.123", "5.7.124", "5.7.133", "5.7.134", "5.7.135", "5.7.136", "5.7.193", "5.7.506", "5.7.507",
        "5.7.510", "5.7.64",
      ]),
    ReplyRule("microsoft-banned-recipient", .suspended, provider: "microsoft", enhanced: ["5.7.504", "5.7.505"], reaction: .drop),
    ReplyRule(
      "microsoft-strict-transport", .tls, provider: "microsoft", enhanced: ["x.4.8"], any: ["mta sts", "dane", "tls*"], reaction: .retry),
    ReplyRule("microsoft-legacy-address", .invalidRecipient, provider: "microsoft", enhanced: ["x.1.2"], any: ["invalid * address"]),
    ReplyRule("microsoft-depth", .protocol, provider: "microsoft", enhanced: ["x.4.11"]),
    ReplyRule("microsoft-no-mailboxes", .noMX, provider: "microsoft", any: ["no mail enabled subscriptions"]),
    // Exchange says it of the name in HELO, and of a poisoned or over-long message.
    ReplyRule("microsoft-helo", .policy, provider: "microsoft", enhanced: ["x.5.4"], any: ["invalid domain name"]),
    ReplyRule("microsoft-poison", .protocol, provider: "microsoft", any: ["too many related errors"]),
    ReplyRule("microsoft-header", .policy, provider: "microsoft", enhanced: ["x.0.350"], any: ["header is too long"]),
    // Its table explains this by the submission rate of the source address and by blocks on the way.
    ReplyRule(
      "microsoft-dropped", .ipReputation, provider: "microsoft", enhanced: ["x.4.2"], any: ["connection dropped"], reaction: .slow,
      pause: 15 * minute),
    ReplyRule(
      "microsoft-forwarding", .network, provider: "microsoft", enhanced: ["x.2.4", "x.2.14"], any: ["expansion", "forwarding address"]),
    ReplyRule("microsoft-arguments", .network, provider: "microsoft", enhanced: ["x.4.4"], any: ["invalid arguments"]),
    ReplyRule(
      "microsoft-store", .network, provider: "microsoft", enhanced: ["x.3.0", "x.3.1", "x.3.3", "x.3.5", "x.3.190", "x.0.350"],
      none: [
        "mailbox * full", "quota*", "policy", "insufficient", "unrecognized command", "no such user", "no such recipient", "user unknown",
        "unknown user", "user not found", "does not exist", "spam",
      ]),
    // A hop behind the one that answers: not the domain that was written to.
    ReplyRule("microsoft-next-hop", .network, provider: "microsoft", any: ["smtpsend dns"]),
    ReplyRule(
      "microsoft-expired", .network, provider: "microsoft",
      enhanced: ["x.4.300", "x.4.312", "x.4.316", "x.4.318", "x.4.8", "x.4.16", "x.4.17"]),
    ReplyRule("microsoft-format", .protocol, provider: "microsoft", enhanced: ["x.6.11", "x.6.211", "5.7.512"]),
    ReplyRule("microsoft-loop", .routingLoop, provider: "microsoft", enhanced: ["x.4.6", "x.4.14"], any: ["loop", "hop", "hops"]),
    ReplyRule(
      "microsoft-access-denied", .ipReputation, provider: "microsoft", codes: ["4"], any: ["access denied"], reaction: .pauseLane,
      pause: hour),
  ]
}
