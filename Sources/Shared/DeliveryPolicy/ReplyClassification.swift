package import MailModel

/// Reply → verdict: the first rule of ``ReplyRules/table`` that holds, and the reaction that follows from its class.
package enum ReplyClassification {
  /// - Parameter providerName: `google`, `microsoft`, `orange` …, also ``MailboxProvider`` raw values; nil or `other` when the
  ///   MX does not tell, then marks in the text do.
  package static func verdict(_ reply: SMTPReply, providerName: String?) -> ReplyVerdict {
    verdict(ReplyText(code: reply.code, lines: reply.lines), providerName: providerName)
  }

  /// The same for a reply as people and logs write it: `550-5.1.1 …`, one line or many.
  package static func verdict(text: String, providerName: String?) -> ReplyVerdict {
    verdict(ReplyText(text), providerName: providerName)
  }

  static func verdict(_ text: ReplyText, providerName: String?) -> ReplyVerdict {
    let rule = CompiledRules.shared.first(text, provider: providerName)
    let replyClass = rule?.replyClass ?? .unknown
    let isPermanent = text.code / 100 == 5
    let fault = blame(replyClass)
    let reaction = possible(rule?.reaction ?? fault.reaction, replyClass, isPermanent: isPermanent)
    var verdict = ReplyVerdict(
      replyClass: replyClass, isPermanent: isPermanent, scope: rule?.scope ?? fault.scope, reaction: reaction, rule: rule?.name ?? "none")
    switch reaction {
    case .slow: verdict.pause = rule?.pause ?? 30 * ReplyRules.minute
    case .pauseLane, .otherIP, .pauseIP, .pauseOrganisation: verdict.pause = rule?.pause ?? ReplyRules.hour
    case .suppress, .drop, .retry, .retryLong, .retryWithTLS: break
    }
    if reaction != .drop, reaction != .suppress { verdict.statedWait = StatedWait.read(text.words) }
    return verdict
  }

  /// A 4xx ends nothing; a 5xx that blames this IP may still be delivered by another one.
  static func possible(_ reaction: ReplyReaction, _ replyClass: ReplyClass, isPermanent: Bool) -> ReplyReaction {
    switch reaction {
    case .suppress, .drop: isPermanent ? reaction : .retry
    case .otherIP: isPermanent ? reaction : .pauseLane
    case .slow, .pauseLane, .pauseIP: isPermanent && replyClass == .ipReputation ? .otherIP : reaction
    case .retry, .retryLong, .retryWithTLS, .pauseOrganisation: reaction
    }
  }

  /// What follows from a class when its rule says nothing else.
  static func blame(_ replyClass: ReplyClass) -> (scope: ReplyScope, reaction: ReplyReaction) {
    switch replyClass {
    case .invalidRecipient, .inactiveMailbox, .suspended: (.recipient, .suppress)
    case .mailboxFull: (.recipient, .retryLong)
    case .domainNotFound, .noMX: (.domain, .drop)
    case .policy, .spamContent, .messageTooLarge, .protocol: (.message, .drop)
    case .ipReputation: (.lane, .otherIP)
    case .rateLimited: (.lane, .slow)
    case .greylisted: (.none, .retry)
    case .authFailure: (.organisation, .drop)
    case .tls: (.lane, .retryWithTLS)
    case .routingLoop: (.domain, .drop)
    case .network, .unknown: (.none, .drop)
    }
  }
}
