extension ReplyRules {
  /// Wording about the sender, before the same words are taken for the recipient's.
  static let sender: [ReplyRule] = [
    ReplyRule(
      "sender-refused", .policy,
      any: [
        "sender address rejected", "sender rejected", "sender denied", "sender address * not exist", "sender verify fail*",
        "sender * verif*", "sender verification", "sender domain", "domain of sender*", "from domain is invalid", "senders domain",
        "invalid sender",
        "sender * does not exist", "sender address * not found", "envelope sender", "backscatter", "sender not authorized",
        "sender address blocked", "sender blocked", "sender is blocked", "bad sender", "unknown sender", "sender is not allowed",
        "sender unknown", "from address * not", "return path", "mail from * not allowed", "mail from domain", "dns check failed",
        "sender not permitted", "not permitted to send", "not allowed to send", "batv", "bogus mail from", "purported responsible",
        "sender not pre approved", "check sender address", "verify sender", "list of senders", "senderfilter*", "third party dsn*",
        "null sender", "unroutable sender",
        "unrouteable sender", "no a aaaa or mx",
      ],
      none: [
        "spf", "dkim", "dmarc", "spam", "reputation", "blocked using", "greylist*", "too many", "rate", "blacklisted", "reverse dns",
        "ptr",
      ])
  ]

  static let fullMailboxes: [ReplyRule] = [
    ReplyRule(
      "submission-quota", .rateLimited, any: ["submission quota", "sending quota", "daily quota", "sending limit", "daily sending"],
      scope: .organisation, reaction: .retry),
    ReplyRule(
      "mailbox-full", .mailboxFull,
      any: [
        // The box …
        "mailbox * full", "inbox * full", "mail box * full", "maildrop * full", "folder * full", "mailfolder * full", "account * full",
        "spool * full", "maildir * full", "mailfile * full", "mailbox is over*", "mailbox over*", "mailbox * exceed*", "mailbox size",
        "mailbox limit", "mailbox quota", "maildir * quota", "account * over quota", "user is over", "user over", "user has exhausted",
        "user has too many messages", "too many messages in", "too many messages on", "too many mails in", "mailbox has reached",
        "box full", "full mailbox", "inbox is out", "receiving limit*", "space * used up", "space is exhausted", "has no space",
        // … its quota …
        "over * quota", "overquota", "over quota", "quota exceed*", "exceed* * quota", "quota * exceed*", "quota * full",
        "quota violation", "quota * reached", "reached * quota", "quota limit", "out of quota", "mail quota", "disk quota",
        "storage quota", "above quota", "quota exeeded",
        // … or its disk.
        "out of storage", "insufficient storage", "storage limit", "storage space", "storage is full", "storage full",
        "exceed* * storage", "not enough storage", "not enough space", "no space left", "out of space", "not enough disk",
        "insufficient disk",
        "insufficient space", "insufficient system storage", "disk full", "disk is full", "disk space", "out of disk", "no more space",
        "recipient storage", "message store * full", "too much mail data", "mailsystem full", "mail system full",
      ],
      none: [
        "message too large", "message too big", "message size", "relay quota", "message exceed*", "per hour", "per day", "daily",
        "message is larger", "rate", "throttl*", "connection*", "session*", "your ip",
      ]),
    ReplyRule(
      "mailbox-full-translated", .mailboxFull,
      any: [
        "postfach * voll", "postfach * uberschritten", "postfach * ueberschritten", "speicherplatz*", "speicher * voll", "mailbox * voll",
        "zuviele mails", "zu viele mails", "zu viele nachrichten", "kontingent*", "boite * pleine", "bal pleine", "boite * saturee",
        "quota * depasse", "depasse* * quota", "espace * insuffisant", "casella * piena", "spazio * esaurito", "spazio * insufficiente",
        "quota superata", "buzon * lleno", "cuota * excedida", "excedi* * cuota", "sobre cuota", "sin espacio", "caixa * cheia",
        "cota * excedida", "quota * excedida", "sem espaco", "postvak * vol", "mailbox vol", "mailbox * vol", "skrzynka * pelna",
        "przekroczon*", "kotasi", "kota * asildi", "yoryo * over",
      ]),
  ]

  /// Closed and locked addresses, and the code that says so whatever the words.
  static let closedMailboxes: [ReplyRule] = [
    ReplyRule("not-verified-yet", .network, codes: ["4"], any: ["unverified address", "address verification in progress"]),
    ReplyRule(
      "no-such-address-code", .invalidRecipient, enhanced: ["x.1.1", "x.1.6", "x.1.10"],
      none: [
        "spam*", "blocked", "blacklist*", "reputation", "relay*", "spf", "dmarc", "dkim", "policy", "loop", "loops", "too many", "sender",
        "rate", "ip", "greylist*", "tls", "size", "suspended", "disabled", "locked", "deactivated", "closed",
      ]),
    ReplyRule(
      "inactive", .inactiveMailbox,
      any: [
        "inactiv*", "no longer active", "not active", "isnt active", "not activated", "isnt activated", "not been activated",
        "not been used", "not used for", "not logged in", "hasnt logged in", "dormant", "mailbox expired", "mailbox has expired",
        "mailbox is expired", "account expired", "account has expired", "account is expired", "user expired", "user has expired",
        "address expired", "address has expired", "address is expired", "not currently active", "deactivated due to",
        "nicht aktiv", "inactif", "inattiv*", "inativ*",
      ],
      none: ["domain", "sender", "timed out", "connection", "session", "timeout", "message * expired"]),
    ReplyRule(
      "closed-for-now", .suspended,
      any: [
        "temporar* * locked", "temporar* * disabled", "temporar* * suspended", "temporarily blocked * user", "account is temporarily",
        "mailbox is temporarily",
      ],
      none: ["sender", "your account", "ip", "resources"], reaction: .retryLong),
    // Who is switched off must be named beside it …
    ReplyRule(
      "suspended", .suspended,
      any: [
        "account * suspended", "mailbox * suspended", "user * suspended", "recipient * suspended", "address * suspended",
        "suspended account", "suspended mailbox", "suspended user", "suspended recipient", "account * suspension",
        "account * disabled", "mailbox * disabled", "user * disabled", "address * disabled", "recipient * disabled",
        "disabled recipient", "disabled user", "disabled mailbox", "disabled account", "account * deactivated", "mailbox * deactivated",
        "user * deactivated", "address * deactivated", "recipient * deactivated", "account * locked", "user * locked", "mailbox * locked",
        "account * frozen", "mailbox * frozen", "account * closed", "mailbox * closed", "account * terminated", "account * cancel*",
        "account * discontinued", "mailbox * discontinued", "user * discontinued", "address * discontinued",
        "accountdisabled*", "user * terminated", "konto * gesperrt", "postfach * gesperrt", "compte * desactive*", "compte * suspend*",
      ],
      none: [
        "your account", "sender*", "sending", "ip", "from your", "access * disabled", "tls", "relay*", "authentication", "login",
        "feature", "archive", "journaling*", "delivery * suspended", "restricted to",
      ]),
    // … or said by the code too.
    ReplyRule(
      "suspended-by-code", .suspended, enhanced: ["x.2.1"],
      any: ["suspend*", "disabled", "locked", "deactivated", "discontinued", "closed"],
      none: ["sender*", "sending", "ip", "from your", "tls", "relay*"]),
    // What else sounds like it ends the message and condemns no address: a service may be off, an account closed to this sender.
    ReplyRule(
      "restricted-to-some", .policy,
      any: [
        "restricted to members", "restricted to internal", "restricted to certain", "restricted to authorized", "only internal senders",
      ]),
    ReplyRule(
      "suspended-hint", .suspended,
      any: [
        "suspend*", "deactivated", "discontinued", "been disabled", "is disabled", "has been locked", "is locked", "banned recipient",
        "requires an upgrade", "account * on hold", "account * restricted", "account * barred", "account * blocked",
        "mailbox * blocked", "user * blocked", "gesperrt", "deaktiviert", "desactive*", "disabilitat*", "sospes*", "deshabilitad*",
        "desativad*", "bloquead*",
      ],
      none: [
        "your account", "sender*", "sending", "ip", "from your", "access * disabled", "tls", "relay*", "archive is disabled",
        "authentication is disabled",
      ], reaction: .drop),
    ReplyRule(
      "inactive-hint", .inactiveMailbox,
      any: [
        "unused", "archived", "archivee", "abandoned", "mailbox * expired", "account * expired", "user * expired", "address * expired",
      ],
      none: ["domain", "sender", "timed out", "connection", "session", "timeout", "message", "delivery"], reaction: .drop),
  ]

  /// Says in so many words that there is no such address.
  static let unknownRecipients: [ReplyRule] = [
    ReplyRule(
      "user-unknown", .invalidRecipient,
      any: [
        // user, recipient, mailbox, address, account …
        "user * unknown", "unknown user*", "user * not found", "user * not exist", "user * doesnt exist", "user * not known",
        "user * invalid", "user * no longer", "no such user*", "no such local user", "invalid user", "user not local", "user * not local",
        "not a valid user", "not a known user", "isnt a valid user", "recipient* * unknown", "unknown recipient*",
        "recipient * not found", "recipient * not exist", "recipient * doesnt exist", "recipient * not known", "no such recipient",
        "invalid recipient*", "recipient * invalid", "recipient * not valid", "recipientnotfound", "recipnotfound",
        "not a valid recipient", "bad recipient", "recipient * no longer", "recipient unrecognized", "recipient * unrecognized",
        "recipient * undeliverable", "no such rcpt", "mailbox * unknown", "unknown mailbox", "mailbox * not found", "mailbox * not exist",
        "mailbox * doesnt exist", "no such mailbox", "invalid mailbox", "mailbox * invalid", "not a valid mailbox", "mailbox * deleted",
        "mailbox * removed", "bad destination mailbox", "bad mailbox", "no mailbox", "nonexistent mailbox", "non existent mailbox",
        "mailbox name not allowed", "mailbox name * invalid", "mailbox * no longer", "address * unknown", "unknown address*",
        "address * not found", "email not found", "address * not exist", "address * doesnt exist", "no such address", "no such email*",
        "invalid destination*", "invalid email*", "not a valid address", "not a valid email*", "bogus address", "address is invalid",
        "address * no longer", "unknown email*", "email * not exist", "email * doesnt exist", "nonexistent address",
        "non existent address", "address * undeliverable", "account * unknown", "unknown account", "account * not found",
        "account * not exist", "account * doesnt exist", "account * may not exist", "account * deleted", "account * removed",
        "invalid account", "no such account", "no account", "account not available", "account * no longer", "account * not available",
        "nonexistent account", "no longer has an account", "unknown local*", "no such person", "no such id", "no such alias",
        "no such name", "unknown alias", "unknown or illegal", "unknown to", "addressee unknown", "nonexistent user", "non existent user",
        "non existent recipient", "nonexistent recipient", "does not have an account", "doesnt have an account", "doesnt have a",
        "does not have a", "unknown virtual", "not in * directory", "not listed in * directory", "not listed in public",
        "not our customer", "not our user", "nobody * by that name", "no user", "by that name", "not known here", "unrouteable address",
        "unroutable address", "person * not found", "no local", "not a local", "userunknown", "user * delete*", "user * removed",
        "user * has left", "has left the", "doesnt work here", "does not work here", "unkown user", "user unkown", "invalid recepient",
        "no longer employed", "no longer works", "invalid userid", "invalid * userid", "no longer with", "no longer here",
        "no longer on server", "badrecipient*", "usersearch", "nonexistent email", "badrcptto", "validrcptto", "cant accept user",
        "cannot accept user", "nessun utente", "no mail box", "no one at", "nobody at", "not email addresses", "recipient is not local",
        "recipient not local", "recipient not ok", "missing home directory", "in name directory", "not an active address",
        "account unavailable", "address could not be found", "user could not be found",
      ],
      none: [
        "too many", "helo", "ehlo", "sender*", "spf", "dmarc", "dkim", "reverse dns", "ptr", "spamhaus", "blocked using", "relaying",
        "relay access", "relay denied", "client host", "rbl", "mail from", "message id", "to relay",
      ]),
    ReplyRule(
      "user-unknown-translated", .invalidRecipient,
      any: [
        "utilisateur inconnu", "adresse * inconnue", "destinataire * inconnu", "adresse * invalide", "boite * inexistante",
        "adresse * inexistante", "nexiste pas", "n existe pas", "compte inconnu", "empfanger * unbekannt", "empfaenger * unbekannt",
        "unbekannter empf*", "unbekannter benutzer", "benutzer * unbekannt", "adresse * unbekannt", "existiert nicht",
        "existiert hier nicht", "ist nicht bekannt", "kein postfach", "nicht gefunden", "ungultige* * adresse", "utente sconosciuto",
        "utente non", "utente * non esist*", "destinatario sconosciuto", "destinatario * non", "casella * inesistente",
        "indirizzo * inesistente", "indirizzo * non valido", "non esiste", "usuario desconocido", "usuario * no existe",
        "usuario * inexistente", "no existe", "direccion * no", "destinatario desconocido", "destinatario * invalido", "cuenta * no",
        "usuario desconhecido", "usuario * nao", "nao existe", "destinatario desconhecido", "conta * nao", "endereco * invalido",
        "onbekende gebruiker", "gebruiker * onbekend", "bestaat niet", "nieznany", "nie istnieje", "uzytkownik * nie", "kullanici * yok",
        "ukjent", "okand", "ukendt", "tuntematon",
      ]),
  ]

  /// Wording that other faults use too: looked at after those.
  static let doubtfulRecipients: [ReplyRule] = [
    ReplyRule(
      "address-refused", .invalidRecipient,
      any: [
        "recipient * rejected", "recipient * denied", "recipient rejected", "address rejected", "address refused", "recipient refused",
        "recipient * refused", "rcpt * rejected", "rcpt * denied", "mailbox * not available",
        "mailbox is unavailable", "mailbox * unavailable", "cannot deliver mail for", "cant deliver mail for",
        "could not deliver mail to", "couldnt deliver mail to", "recipient verif*", "recipient * be verified", "callout verif*",
        "verification failed for", "doesnt exist", "not exist", "dont exist", "not recognized", "not recognised", "unrecognized",
        "no valid recipient*", "no recipients", "does not like recipient", "cannot find", "not found", "unknown", "is not a valid",
        "not valid", "invalid address", "address * invalid", "bad address", "check if address is correct", "not present",
        "no longer valid", "no longer available", "no longer exists", "no longer in use", "has moved", "undeliverable", "not deliverable",
        "not accepting mail", "not accepting email", "not accept mail from", "not registered", "recipient is not allowed",
        "recipient is not accepted", "mailbox is not allowed", "mailbox not allowed", "recipient refuses", "rejected recipient*",
        "failure for one or more recipients",
        "mailbox unavai*",
      ],
      none: [
        "helo", "ehlo", "sender*", "domain", "host", "relay*", "ip", "spam*", "policy", "content", "reverse", "command*", "client",
        "gateway user", "message id", "header*", "access from", "authentication", "unknown failure", "unknown error", "unknown reason",
        "unknown problem",
      ], reaction: .drop),
    ReplyRule(
      "address-code", .invalidRecipient, enhanced: ["x.1.0", "x.1.1", "x.1.3", "x.1.4", "x.1.5"],
      none: ["spam*", "blocked", "policy", "sender*", "access denied"]),
    ReplyRule("host-code", .domainNotFound, enhanced: ["x.1.2"], none: ["spam*", "blocked", "policy", "sender*"], reaction: .suppress),
  ]
}
