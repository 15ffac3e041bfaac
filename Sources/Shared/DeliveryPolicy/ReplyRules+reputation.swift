extension ReplyRules {
  static let greylisting: [ReplyRule] = [
    ReplyRule(
      "greylisting", .greylisted,
      any: [
        "greylist*", "graylist*", "grey list*", "gray list*", "greylst*", "postgrey*", "sqlgrey*", "first time sender",
        "please retry in * seconds", "try again in * seconds", "retry in * seconds", "come back in", "try again in * minutes",
        "temporary delay * new", "first visit", "first attempt", "new triplet", "unknown triplet", "liste grise",
      ],
      none: ["too many", "rate limit*"]),
    ReplyRule(
      "turned-away-for-now", .greylisted, codes: ["45"], any: ["temporarily rejected"],
      none: ["mail server", "policy", "spam*", "reverse dns"]),
  ]

  static let rates: [ReplyRule] = [
    ReplyRule(
      "recipient-rate", .rateLimited,
      any: [
        "user * too quickly", "receiving mail too quickly", "receiving mail at a rate", "rate that prevents", "recipient * rate limit*",
        "recipient * too many messages", "mailbox * too many messages", "recipient * too much mail", "mailbox received too much",
        "received too much email", "recipient thread limit",
      ], scope: .recipient, reaction: .retry),
    ReplyRule(
      "recipients-per-message", .rateLimited, any: ["too many recipients", "recipients per message", "too many rcpt*"], scope: .message,
      reaction: .retry),
    ReplyRule(
      "bad-list", .ipReputation,
      any: ["too many invalid", "too many unknown", "too many bad recipient*", "invalid recipients * from", "too many non existent"]),
    ReplyRule(
      "rate", .rateLimited,
      any: [
        "rate limit*", "ratelimit*", "throttl*", "slow down", "slower", "too quickly", "too fast", "too frequent*",
        "maximum number of connections",
        "maximum connections", "connection limit", "connection rate", "connections from * exceed*", "concurren*",
        "message rate", "sending rate", "exceeded * rate", "rate exceed*", "exceeds * rate", "per hour",
        "per minute", "per day", "hourly limit", "daily limit", "messages per connection", "per connection reached",
        "exceeded their limit", "messages per session", "messages in this session", "threshold exceeded", "limit exceeded",
        "exceeded the limit", "mail volume",
        "excessive", "unusual rate", "thread limit", "unexpected volume", "too much mail", "too much traffic", "too many",
        "temporarily deferred",
        "relay * limit exceeded", "limit * exceeded", "peak", "number of messages", "server busy", "server is busy", "system busy",
        "is too busy", "high load", "heavy load", "load too high", "trop de connexions", "zu viele",
      ],
      none: [
        "too many hops", "too many received", "too many invalid", "too many unknown", "too many errors", "too many spam*",
        "too many unwanted",
        "recipients per message", "unrecognized", "unauthenticated", "bad commands", "too many syntax", "too many protocol",
        "too many bad", "login attempts",
      ]),
  ]

  static let ratesTranslated: [ReplyRule] = [
    ReplyRule(
      "rate-translated", .rateLimited,
      any: [
        "trop de", "limite de connexions", "limite * atteint*", "demasiadas", "demasiados", "limite * alcanzad*", "limite * excedid*",
        "limite * superad*", "troppe", "troppi", "limite * raggiunt*", "muitas", "muitos", "limite * atingid*", "te veel", "zbyt wiele",
        "zbyt duzo", "prekrocen * limit", "limit * uberschritten", "limit * ueberschritten", "limit * erreicht",
      ],
      none: ["quota*", "postfach", "mailbox", "boite", "casella", "buzon", "caixa", "taille", "tamano", "dimension*", "tamanho"])
  ]

  /// Lists of links and of spam patterns, before lists of IP addresses.
  static let contentListings: [ReplyRule] = [
    ReplyRule(
      "domain-listed", .ipReputation, any: ["spamhaus dbl", "sender address * dbl spamhaus*"], scope: .organisation, reaction: .drop),
    ReplyRule(
      "sender-listed", .policy,
      any: [
        "sender blacklisted", "sender * black list", "sender * blacklist*", "sender * blocklist*", "your email address * blacklisted",
        "address that * blacklisted",
      ], none: ["ip", "ips", "host", "server"], scope: .organisation),
    ReplyRule(
      "link-listed", .spamContent,
      any: [
        "surbl*", "uribl*", "blacklisted url*", "blocklisted url*", "dbl spamhaus", "url * listed", "url * blacklist*", "links * listed",
        "link * listed", "contains * url", "because it contains",
        "domain * uri", "contains a link", "url * block*", "urls * listed",
      ]),
    ReplyRule(
      "spam-named", .spamContent,
      any: [
        "spam pattern*", "spam content*", "spam or virus", "virus detected", "content rejected", "spam rejection", "as spam",
        "identified * spam", "considered * spam", "similar to spam", "scored as", "spam score", "looks like spam", "likely spam",
        "probably spam", "spam complaints", "by our filter*", "mail score", "spam points", "contains * virus", "virus * found", "infected",
      ], none: ["ip", "blacklist*", "spamhaus*", "open proxy", "infected host*", "xbl", "cbl"]),
  ]

  static let reputation: [ReplyRule] = [
    // A list that one mailbox's owner keeps says nothing about the sender's address.
    ReplyRule(
      "owners-list", .policy,
      any: [
        "personal blacklist*", "personal blocklist*", "recipients * blacklist*", "recipients * blocklist*", "recipients * block list*",
        "recipients * black list*", "blacklisted by user",
        "blocked by the recipient", "blacklisted by the recipient",
      ], none: ["ip", "ips"]),
    ReplyRule("permanently-deferred", .ipReputation, any: ["permanently deferred"]),
    ReplyRule(
      "public-list", .ipReputation,
      any: [
        "spamhaus*", "spamcop*", "sorbs*", "rbl*", "dnsbl*", "dnsrbl", "zen", "abuseat", "cbl", "pbl", "xbl", "sbl", "psbl",
        "senderscore*", "returnpath", "invaluement*", "uceprotect*", "mailspike*", "backscatterer*", "njabl", "ordb", "dsbl", "nixspam",
        "manitu", "truncate gbudb", "talosintelligence", "senderbase*", "trendmicro", "mail abuse org",
      ],
      none: ["uri"], scope: .ip),
    ReplyRule(
      "pointer-record", .ipReputation,
      any: [
        "reverse dns", "rdns", "ptr", "reverse lookup", "reverse hostname", "cannot find your hostname", "cannot find your reverse*",
        "no reverse", "cannot resolve your", "dns pointer", "hostname lookup", "unable to resolve * ip", "does not resolve", "fcrdns",
        "forward confirmed", "mismatches client ip", "dns lookup failure", "unverifyable", "unverifiable sending", "generic * hostname",
        "dynamic",
      ],
      scope: .ip, reaction: .otherIP),
    ReplyRule(
      "listed-translated", .ipReputation,
      any: [
        "liste noire", "lista negra", "lista nera", "sperrliste", "schwarze* liste", "zwarte lijst", "czarn* list*", "ip * bloque*",
        "ip * bloccat*", "ip * gesperrt", "ip * blockiert", "ip * blocado",
      ]),
    ReplyRule(
      "reputation", .ipReputation,
      any: [
        "reputation", "blacklist*", "black listed", "black list", "blocklist*", "block list*", "blocked using", "blocked by * list",
        "listed in", "listed at", "listed on", "is listed", "denylist*", "client host rejected", "client host * blocked", "ip * blocked",
        "ip * banned", "ip * denied", "ip * rejected", "ip * refused", "address * blocked", "host * blocked", "host * banned",
        "ip blocked", "banned ip", "blocked ip", "your ip", "your host * not", "your server", "your mail server", "your network",
        "connection refused by policy", "connection rejected", "connection not accepted", "connection denied", "connections not accepted",
        "not accepting connections", "refused connection", "no access from", "no smtp service", "your access to", "access from * denied",
        "bad ip", "black ip", "invalid ip", "you are sending spam", "spammer", "spams from", "unwanted messages", "black hole",
        "blackhole*",
        "an open relay", "open proxy", "spam source", "known spam*", "dialup", "dul",
        "temporarily blocked", "host is not allowed", "host not allowed", "host denied", "not welcome", "abusive", "abuse from",
        "complaints", "due to * abuse", "blocked for abuse", "blocked for spam", "client * blocked", "client * rejected", "ivmsip",
        "ivmuri", "bl", "use the smtp server of your isp",
      ], none: ["content", "your message contains", "subject", "target ip address responded"]),
  ]
}
