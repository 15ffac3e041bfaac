extension ReplyRules {
  static let sizes: [ReplyRule] = [
    ReplyRule(
      "message-size", .messageTooLarge,
      any: [
        "message * too large", "message * too big", "message size", "size limit", "size exceed*", "exceeds * size", "exceeds * maximum",
        "exceed* maximum message", "too large", "too big", "message length exceed*", "message exceeds", "email exceeds",
        "nachricht * zu gross", "message trop", "trop volumineux", "mensaje * grande", "larger than", "message * too long",
        "mail * too long",
      ],
      none: ["mailbox size", "mailbox * size limit", "line*", "too long in", "for too long", "queue", "tried", "trying"])
  ]

  static let encryption: [ReplyRule] = [
    ReplyRule(
      "system-fault", .network, codes: ["4"], any: ["temporary system problem", "internal error", "internal server error", "system error"]),
    ReplyRule(
      "tls-demanded", .tls,
      any: [
        "must issue a starttls", "starttls * first", "starttls required", "starttls is required", "tls required", "tls is required",
        "require* tls", "requires encryption", "encryption required", "encryption needed", "must use tls", "secure connection",
        "use starttls", "unencrypted", "requires * encrypt*", "tls encryption", "encrypted connection*", "encrypted session*",
        "not encrypted",
      ], none: ["relay", "auth"], reaction: .retryWithTLS),
    ReplyRule("tls-fault", .tls, any: ["starttls", "ssl", "certificate", "tls", "dane", "mta sts", "cipher*"], reaction: .retry),
  ]

  static let authentication: [ReplyRule] = [
    ReplyRule(
      "spf-dkim-dmarc", .authFailure,
      any: [
        "spf", "dkim", "dmarc", "domainkeys", "openspf*", "sender policy framework", "senderid", "sender id",
        "domain based message authentication",
      ]),
    ReplyRule(
      "unauthenticated-mail", .authFailure,
      any: [
        "unauthenticated", "not authenticated", "fail* authentication", "authentication fail*", "authentication check*",
        "level of authentication", "authentication requirements", "authentication level", "authentication information",
        "sender authentication",
        "message authentication",
      ], none: ["client was not authenticated"]),
    ReplyRule(
      "login-demanded", .authFailure,
      any: [
        "authentication required", "authentication is required", "requires authentication", "requires * authentication", "smtp auth",
        "authentication data", "auth required", "authenticate", "username and password", "login", "log in", "credentials",
        "client was not authenticated", "smtp authentication", "authentication turned on", "pop before smtp", "anonymous",
      ]),
  ]

  static let relaysByName: [ReplyRule] = [
    ReplyRule(
      "relaying-denied", .policy,
      any: [
        "relaying * denied", "relay * denied", "relaying not permitted", "relay not permitted", "relaying prohibited",
        "unable to relay", "not an open relay", "no relaying", "dont handle mail for", "do not handle mail for",
      ],
      none: ["reverse dns"])
  ]

  static let relaying: [ReplyRule] = [
    ReplyRule(
      "relaying", .policy,
      any: [
        "relay*", "rcpthosts", "gateway user", "not a gateway", "not local host", "does not handle mail for",
        "not allowed to receive mail for", "mail for * not accepted", "domain isnt in", "domain is not in my list", "not a domain",
        "not our domain", "dont accept mail for", "do not accept mail for",
      ]),
    // Filters that a recipient or a list set up, in words that sound like an unknown address.
    ReplyRule(
      "recipient-filter", .policy,
      any: [
        "not accepting mail with", "mailing list", "organizational settings", "low priority", "multiple addresses", "mass mailer",
        "not subscribed", "not accepting any mail", "only accepting mail from", "only accepts mail from", "refuses to receive",
        "refused to receive", "recipient preferences", "user rules", "by destination domain", "account is protected",
        "verification failure", "dead domain", "does not accept mail from", "doesnt accept mail from",
      ], none: ["no such*", "unknown", "spf", "dkim", "dmarc", "expansion"]),
  ]

  static let loops: [ReplyRule] = [
    ReplyRule(
      "loop", .routingLoop,
      any: [
        "loop", "loops", "looping", "too many hops", "hop count", "hops exceed*", "exceeded * hops", "too many received", "maximum hop",
        "hop limit",
      ])
  ]

  /// The recipient's domain, in words that leave no doubt.
  static let domainsByName: [ReplyRule] = [
    ReplyRule(
      "host-unknown-code", .domainNotFound, enhanced: ["x.1.2"],
      any: ["host unknown", "unknown host", "domain not found", "host not found"],
      none: ["sender*", "helo"], reaction: .suppress),
    ReplyRule(
      "host-named-code", .domainNotFound, enhanced: ["x.1.2"],
      any: ["host", "hosts", "hostname", "domain", "domains", "dns", "destination system", "nxdomain"],
      none: ["sender*", "your domain", "helo", "from", "user", "mailbox", "account", "ip", "spam*", "blocked", "policy"]),
    ReplyRule(
      "domain-not-found", .domainNotFound,
      any: [
        "domain not found", "host not found", "host unknown", "unknown host", "unknown domain", "domain unknown", "domain does not exist",
        "domain doesnt exist", "no such domain", "no such host", "host does not exist", "nonexistent domain", "non existent domain",
        "domain name not found", "domain is not found", "domain mentioned in * unknown", "domain is not reachable",
        "recipient domain must exist", "domain is unreachable", "nxdomain", "invalid domain", "domain is invalid",
        "unrouteable mail domain",
        "unroutable domain",
      ],
      none: ["helo", "ehlo", "sender*", "from", "client host", "helohost", "user", "tenant"]),
  ]

  static let domains: [ReplyRule] = [
    ReplyRule(
      "no-mail-host", .noMX,
      any: [
        "null mx", "nullmx", "no mx", "indicated no smtp service", "mx record*", "does not accept mail", "doesnt accept mail",
        "accepts no mail", "does not receive mail", "no mail server*", "no mail host*", "no mail exchanger*", "mx host",
      ], none: ["sender", "not accept mail from"]),
    ReplyRule(
      "domain-unknown", .domainNotFound,
      any: [
        "host unknown", "unknown host", "domain * not found", "host * not found", "domain * not exist", "domain * doesnt exist",
        "host * not exist", "unknown domain", "domain unknown", "no such domain", "no such host", "invalid domain", "domain * invalid",
        "domain name not found", "bad destination system", "unrouteable mail domain", "unrouteable domain", "name or service not known",
        "nxdomain", "non existent domain", "nonexistent domain", "dns error", "illegal host domain", "couldnt find any host",
        "domain lookup failed", "name server", "hostname unknown", "domain not exist", "domain must exist",
      ], none: ["helo", "ehlo", "sender"]),
  ]

  static let content: [ReplyRule] = [
    ReplyRule(
      "spam-wording", .spamContent,
      any: [
        "spam*", "unacceptable content", "antispam*", "junk", "unsolicited", "virus*", "malware", "phish*", "suspicious", "trojan*",
        "ransomware", "spoof*", "bulk mail", "bulk email", "content rejected", "content filter*", "content * blocked",
        "rejected by content", "attachment*", "infected", "banned content", "objectionable", "message content", "message looks like",
        "mail content", "ube", "uce", "scam", "rejected by * filter", "message filtered", "filtered by", "contains * link*",
        "contains * url*",
        "high score", "advertis*", "body * match*", "blocked by filter*", "message scored", "classified as", "fraud*",
      ])
  ]

  static let policies: [ReplyRule] = [
    ReplyRule(
      "policy", .policy,
      any: [
        "policy", "policies", "administrative prohibition", "administratively", "prohibited", "not permitted", "permission denied",
        "transaction failed", "restricted", "forbidden", "security", "blocked senders", "manual block", "not authorized", "unauthorized",
        "access denied", "access rejected", "rejected by * recipient", "refused by recipient", "blocked by recipient", "user entry",
        "user domain entry", "transport rule*", "organization", "members only", "local user* only", "registered users", "not a member",
        "subscribers", "moderat*",
      ], none: ["helo", "ehlo"])
  ]

  static let protocolFaults: [ReplyRule] = [
    ReplyRule(
      "protocol", .protocol,
      any: [
        "syntax", "helo", "ehlo", "helohost", "command * not", "bad sequence", "improper sequence", "out of sequence",
        "unrecognized command*", "command unrecognized", "not implemented", "protocol error", "protocol violation", "pipelin*",
        "synchronization", "before greeting", "before the greeting", "bare lf", "bare linefeed*", "bare newline*", "bare line feed*",
        "bare cr", "bare carriage", "header",
        "headers", "malformed", "malformated", "rfc", "rfc822*", "rfc5322*", "rfc2822*", "rfc5321*", "rfc821*", "rfc2821*", "mime",
        "8bit*", "8 bit", "line too long", "lines longer", "line length", "maximum line", "invalid character*", "non ascii",
        "nul characters", "null characters", "nul bytes", "parse error", "parameters", "illegal", "message id", "smtputf8",
        "too many errors", "protocol errors", "bad command*", "commands", "command rejected", "invalid command", "message format",
        "badly formatted", "poorly formatted", "encoding", "charset", "date field", "unsupported", "fully qualified",
      ])
  ]

  /// What a relay says of its next hop, before the commands that it names.
  static let brokenConnections: [ReplyRule] = [
    ReplyRule(
      "connection-broken", .network,
      any: [
        "lost connection", "connection lost", "connection timed out", "connection dropped", "connection reset",
        "conversation with * timed out", "could not be delivered for", "deleted from queue", "name service error", "requests to connect",
        "operation timed out", "due to internal error",
      ])
  ]

  static let transport: [ReplyRule] = [
    ReplyRule(
      "network", .network,
      any: [
        "timed out", "timeout", "time out", "connection refused", "connection died", "broken pipe", "no route", "unreachable", "expired",
        "retry time*", "undeliverable for", "could not connect", "couldnt connect", "cannot connect", "unable to connect",
        "connection closed", "internal error", "internal server", "internal software", "local error", "local problem",
        "local configuration", "try later", "try again", "retry later", "service not available", "system error", "server error",
        "queue file", "queued", "not responding", "no answer", "no response", "configuration error", "configuration problem",
        "lookup fail*", "lookup error", "out of memory", "resources", "shutting down", "maintenance", "system not accepting",
        "not accepting network messages", "unable to process", "unable to accept", "unable to deliver", "unable to handle",
        "cannot process", "please come back", "bad connection", "delivery time", "delayed", "deferred", "too long", "processing error",
        "error in processing", "dns fail*", "dns query failed", "io error", "i o error", "error writing", "could not be stored",
        "database", "backend", "downstream", "scanner", "unavailable", "temporar*",
      ]),
    ReplyRule("system-code", .network, codes: ["4"], enhanced: ["x.3.0", "x.3.2", "x.3.3", "x.3.5"]),
    ReplyRule("network-code", .network, enhanced: ["x.4.1", "x.4.2", "x.4.3", "x.4.7"]),
  ]

  /// Refused without a reason.
  static let plainRefusals: [ReplyRule] = [
    ReplyRule("quota", .mailboxFull, any: ["quota", "quotas"], none: ["sender*", "sending", "rate", "session*", "connection*"]),
    ReplyRule(
      "refused", .policy,
      any: [
        "rejected", "reject", "rejection", "refused", "denied", "blocked", "banned", "not accepted", "not acceptable", "not allowed",
        "disallowed", "unacceptable", "unwanted", "administrator", "not accept", "wont accept", "declined", "not be accepted",
        "not be delivered",
      ]),
  ]
}
