extension ReplyRules {
  /// Enhanced codes that mean one thing wherever they come from (RFC 3463, 7372, 7505, 8689 and IANA's registry).
  static let decisiveCodes: [ReplyRule] = [
    ReplyRule(
      "null-mx", .noMX, enhanced: ["x.1.10"], any: ["null mx", "nullmx", "does not accept mail", "accepts no mail"], reaction: .suppress),
    ReplyRule(
      "takes-no-mail", .noMX, codes: ["521", "556"],
      any: ["null mx", "not accept mail", "not accept any mail", "accepts no mail", "does not receive mail"], reaction: .suppress),
    ReplyRule("sender-null-mx", .policy, enhanced: ["x.7.27"], any: ["null mx", "nullmx"]),
    ReplyRule("mailbox-full-code", .mailboxFull, enhanced: ["x.2.2"], none: ["submission quota", "sending quota"]),
    ReplyRule(
      "dkim-spf-code", .authFailure, enhanced: ["x.7.20", "x.7.21", "x.7.22", "x.7.23", "x.7.24", "x.7.26", "x.7.29"],
      none: ["tls*", "ssl"]),
    ReplyRule("pointer-record-code", .ipReputation, enhanced: ["x.7.25"], scope: .ip),
    ReplyRule("require-tls-code", .tls, enhanced: ["x.7.29", "x.7.30", "x.7.10", "x.7.11"], none: ["protocol violation", "syntax error"]),
    ReplyRule("congestion-code", .network, enhanced: ["x.4.5"], any: ["busy", "congest*"], scope: .lane, reaction: .slow),
    ReplyRule("loop-code", .routingLoop, enhanced: ["x.4.6"]),
    ReplyRule("sender-code", .policy, enhanced: ["x.1.7", "x.1.8"]),
    ReplyRule("header-code", .protocol, codes: ["5"], enhanced: ["x.6.x"], any: ["header*", "malformed"]),
    ReplyRule(
      "media-code", .protocol, codes: ["5"], enhanced: ["x.6.1", "x.6.2", "x.6.3", "x.6.4", "x.6.5", "x.6.6", "x.6.7", "x.6.8", "x.6.9"],
      none: ["spam*", "virus*", "unsolicited", "bulk", "junk", "phish*", "malware", "infected"]),
    ReplyRule("owner-changed-code", .invalidRecipient, enhanced: ["x.7.17", "x.7.18"]),
    ReplyRule("no-such-feature", .protocol, codes: ["50"], enhanced: ["x.7.4"]),
    ReplyRule("size-code", .messageTooLarge, enhanced: ["x.3.4", "x.2.3"]),
  ]

  /// Commands out of place, after what speaks of mailboxes: many servers say 5.5.0 or 5.5.1 of anything.
  static let commandCodes: [ReplyRule] = [
    ReplyRule(
      "command-code", .protocol, codes: ["45", "5"], enhanced: ["x.5.0", "x.5.1", "x.5.2", "x.5.4"],
      any: [
        "unrecognized command*", "unknown command", "command unrecognized", "command not *", "unimplemented command", "bad command*",
        "invalid command*", "no command*", "too many * commands", "syntax", "sequence", "argument", "pipelin*",
        "hello first", "helo first", "mail first", "rcpt first", "need mail", "need rcpt", "nested mail", "protocol violation",
        "invalid domain name", "parameter*", "not implemented",
      ], none: ["authentication required", "no valid recipient*", "rcpt commands", "starttls may not"])
  ]

  /// What is left when neither provider nor wording told: enhanced codes by subject, then reply codes, then nothing.
  static let remainingCodes: [ReplyRule] = [
    ReplyRule("code-address", .invalidRecipient, enhanced: ["x.1.x"]),
    ReplyRule("code-host", .domainNotFound, enhanced: ["x.1.2", "x.4.4"], reaction: .suppress),
    ReplyRule("code-sender", .policy, enhanced: ["x.1.7", "x.1.8", "x.1.9"]),
    ReplyRule("null-mx-code", .noMX, codes: ["556"], reaction: .suppress),
    ReplyRule("code-disabled", .suspended, enhanced: ["x.2.1"]),
    ReplyRule("code-mailbox", .invalidRecipient, codes: ["5"], enhanced: ["x.2.0", "x.2.4"], reaction: .drop),
    ReplyRule("code-system-full", .mailboxFull, enhanced: ["x.3.1"]),
    ReplyRule("code-takes-no-mail", .noMX, codes: ["5"], enhanced: ["x.3.2"]),
    ReplyRule("code-system", .network, enhanced: ["x.3.x"]),
    ReplyRule("code-network", .network, enhanced: ["x.4.x"]),
    ReplyRule("code-recipients", .rateLimited, enhanced: ["x.5.3"], scope: .message, reaction: .retry),
    ReplyRule("code-protocol", .protocol, enhanced: ["x.5.x"]),
    ReplyRule("code-content", .protocol, enhanced: ["x.6.x"]),
    ReplyRule("code-cryptography", .authFailure, enhanced: ["x.7.5", "x.7.7", "x.7.8", "x.7.9"]),
    ReplyRule("code-security", .policy, enhanced: ["x.7.x"]),
    ReplyRule("reply-size", .messageTooLarge, codes: ["552"]),
    ReplyRule("reply-full", .mailboxFull, codes: ["452"]),
    ReplyRule("reply-name", .invalidRecipient, codes: ["551", "553"], reaction: .drop),
    ReplyRule("reply-syntax", .protocol, codes: ["50", "555"]),
    ReplyRule("reply-login", .authFailure, codes: ["53"]),
    ReplyRule("reply-closing", .network, codes: ["421"]),
    ReplyRule("nothing-known", .unknown),
  ]
}
