extension ReplyRules {
  /// A thing and what is the matter with it, anywhere in the text: for wording that no phrase above foresees. Late in the table,
  /// because what they ask for is little, and only where a code says that it is a refusal: prose holds such words by chance. None of
  /// them condemns an address: a guess ends the message, never the recipient.
  static let combinations: [ReplyRule] = [
    ReplyRule(
      "any-full", .mailboxFull, codes: ["4", "5"],
      any: mailboxWords + ["storage", "disk", "quota", "box", "spool", "maildir", "maildrop", "folder", "space"],
      also: [
        "full", "overquota", "exhausted", "used up", "exceeded", "exceeds", "over * limit", "over limit", "no room", "ran out", "run out",
      ],
      none: strangers + ["rate", "connection*", "session*", "messages", "message", "recipients", "size"]),
    ReplyRule(
      "any-inactive", .inactiveMailbox, codes: ["4", "5"], any: mailboxWords,
      also: [
        "inactive", "dormant", "unused", "archived", "archivee", "expired", "obsolete", "not active", "not activated", "no longer valid",
        "retired",
      ],
      none: strangers + ["session", "connection"], reaction: .drop),
    ReplyRule(
      "any-closed", .suspended, codes: ["4", "5"], any: mailboxWords,
      also: [
        "suspended", "frozen", "locked", "closed", "terminated", "deactivated", "disabled", "bloque", "barred", "on hold", "out of service",
        "banned", "restricted",
      ], none: strangers, reaction: .drop),
    ReplyRule(
      "any-unknown", .invalidRecipient, codes: ["4", "5"],
      any: mailboxWords + ["person", "addressee", "customer", "subscriber", "alias", "employee", "name", "rcpt*"],
      also: [
        "unknown", "invalid", "not found", "not exist", "doesnt exist", "not known", "not valid", "not recognized", "no such", "not a",
        "no longer", "nonexistent",
        "wrong", "incorrect", "unrouteable", "undeliverable", "not local", "not registered", "bad", "doesnt have", "does not have",
        "not have an",
        "cannot deliver", "unrecognized", "not here", "unable to find", "could not find", "couldnt find", "no one", "not hosted", "inconnu",
        "inconnue", "unbekannt", "desconocido", "sconosciuto",
      ], none: strangers + ["credentials", "password", "command*", "parameter*", "syntax", "header*", "message id"], reaction: .drop),
    ReplyRule(
      "any-too-many", .rateLimited, codes: ["4", "5"],
      any: ["connection*", "session*", "messages", "mails", "mail", "emails", "recipients", "requests", "volume"],
      also: ["throttled", "too quickly", "too fast", "exceeded", "excessive", "maximum", "max", "limit", "limited", "limits", "too often"],
      none: ["size", "hops", "hop", "message too", "spam*", "virus*", "loop", "bytes", "kb", "mb", "length", "header*"]),
    ReplyRule(
      "any-no-domain", .domainNotFound, codes: ["4", "5"], any: ["domain", "domains", "hostname"],
      also: ["no such", "unknown", "not found", "nonexistent", "unresolvable", "not exist", "may not exist"],
      none: ["user", "mailbox", "account", "tenant"] + strangers),
    ReplyRule(
      "any-listed", .ipReputation, codes: ["4", "5"],
      any: ["blocklist*", "blacklist*", "denylist*", "block list*", "connections"],
      also: ["in effect", "listed", "on our", "found on", "not accepting", "not accepted", "matched", "hit"]),
  ]

  private static let mailboxWords = [
    "user", "recipient", "mailbox", "account", "address", "inbox", "destinataire", "compte", "boite", "utilisateur", "benutzer", "postfach",
  ]

  /// What shows that the words are about someone else than the recipient.
  private static let strangers = [
    "sender*", "your account", "your address", "ip", "ips", "helo", "ehlo", "relay*", "client", "from", "spf", "dkim", "dmarc", "spam*",
    "policy",
    "blacklist*", "blocklist*", "reverse", "tls", "certificate",
  ]
}
