internal import DeliveryPolicy

/// Text of a report → the class of the refusal: the reply rules for what a server said, and the wordings of the sending systems
/// for what they found out by themselves (RFC 3463 gives most of them no code of their own).
enum Cause {
  /// - Parameters:
  ///   - texts: best first.
  ///   - status: of the report, for rules that go by it.
  static func find(_ texts: [String], status: String?) -> ReplyClass {
    for text in texts where !text.isEmpty {
      let found = one(text, status)
      if found != .unknown { return found }
    }
    return status.map { verdict("", $0) } ?? .unknown
  }

  static func hardness(_ replyClass: ReplyClass) -> Feedback.Hardness {
    switch replyClass {
    case .invalidRecipient, .inactiveMailbox, .suspended, .domainNotFound, .noMX: .hard
    case .mailboxFull, .policy, .spamContent, .ipReputation, .rateLimited, .greylisted, .authFailure, .tls, .messageTooLarge, .routingLoop,
      .protocol, .network, .unknown:
      .soft
    }
  }

  private static func one(_ text: String, _ status: String?) -> ReplyClass {
    if let start = StatusText.replyStart(text) {
      let found = verdict(String(text[start...]), nil)
      if found != .unknown { return found }
    }
    let words = ASCIIText(text, limit: 4_096)
    if let own = local(words, causes) { return own }
    let found = verdict(text, StatusText.enhanced(text) == nil ? status : nil)
    return found != .unknown ? found : local(words, leftovers) ?? .unknown
  }

  private static func verdict(_ text: String, _ status: String?) -> ReplyClass {
    ReplyClassification.verdict(diagnostic: text, status: status).replyClass
  }

  private static func local(_ words: ASCIIText, _ causes: [Wording]) -> ReplyClass? {
    causes.first { words.containsAny($0.phrases) }?.replyClass
  }

  private typealias Wording = (replyClass: ReplyClass, phrases: [String])

  /// Looked at before the rules for replies.
  private static let causes: [Wording] = [
    (
      .routingLoop,
      [
        "loops back to", "too many hops", "hop count", "mail loop", "loop detected", "looping", "routing loop", "too many received",
        "maximum number of hops", "mail forwarding loop", "hops exceeded", "resolver.adr.loop", "looped",
      ]
    ),
    (
      .noMX,
      [
        "does not accept mail", "doesn't accept mail", "null mx", "nullmx", "no mx or a", "no mail exchanger", "no mx record",
        "find a mail exchanger",
        "accepts no mail", "no mail server", "no valid mail server", "smtp service unavailable for the domain",
      ]
    ),
    (
      .domainNotFound,
      [
        "host or domain name not found", "domain name not found", "host unknown", "unknown host", "no such domain",
        "unrouteable mail domain",
        "unrouteable address", "unroutable address", "non-existent host", "nonexistent domain", "non-existent domain",
        "couldn't find any host", "can't find any host",
        "name or service not known", "host not found", "nxdomain", "domain does not exist", "domain doesn't exist",
        "cannot find your recipient",
        "domain not found", "name server: host not found", "no such host", "unresolvable", "domain couldn't be found",
        "could not be resolved", "not resolve",
        "domain is not valid", "destination server", "bad destination host", "unknown domain", "invalid domain",
      ]
    ),
    (
      .tls,
      [
        "starttls is required", "tls is required", "must issue a starttls", "tls negotiation failed", "tls handshake",
        "failed to negotiate tls",
      ]
    ),
    (
      .network,
      ["malformed or unexpected name server reply", "all hosts have been failing", "name server timeout", "host name lookup failure"]
    ),
    (.policy, ["groups.google.com/support", "'send mail as'", "not a member of this mailing list"]),
    (
      .invalidRecipient,
      [
        "n'existe pas", "no existe", "existiert nicht", "nicht gefunden", "unbekannter empf", "destinataire inconnu",
        "inconnu à cette adresse",
        "non esiste", "não existe", "bestaat niet", "не существует", "не найден", "check if address is correct",
        "address is possibly incorrect",
        "and other recipients in the same domain", "不存在", "找不到", "没有找到", "見つかりません", "見当たりません",
        "存在しません", "リストにありません", "존재하지 않", "nie istnieje", "neexistuje", "nem létezik",
      ]
    ),
    (
      .mailboxFull,
      [
        "容量を超え", "がいっぱい", "boîte pleine", "buzón lleno", "postfach voll", "postfach ist voll", "casella piena", "переполнен", "邮箱已满",
        "空间不足",
      ]
    ),
  ]

  /// Looked at when the rules for replies know nothing.
  private static let leftovers: [Wording] = [
    (
      .invalidRecipient,
      ["check if address is correct", "mailbox unavailable", "unknown address", "bad address", "incorrect address", "wrong address"]
    ),
    (
      .network,
      [
        "connection timed out", "connection refused", "retry timeout exceeded", "retry time not reached", "no route to host",
        "network is unreachable",
        "lost connection", "host unreachable", "host is unreachable", "message expired", "delivery time expired", "could not connect",
        "unable to connect", "couldn't connect",
        "timed out while", "queue too long", "been in the queue too long", "connection was dropped", "connection dropped", "not responding",
        "operation timed out", "timeout exceeded", "establish an smtp connection", "establish any smtp connection", "delivery expired",
        "cannot connect", "connection closed",
        "connection reset", "read error", "i/o error", "no answer from", "did not respond", "delivery attempts expired", "expired",
        "timed out", "unreachable",
        "not reachable", "network error",
      ]
    ),
  ]
}
