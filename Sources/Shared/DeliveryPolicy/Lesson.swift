package import MailModel

/// What one outcome teaches beyond its own message: to the lane it went by, the domain, the organisation and the IP. Nothing
/// is learnt from test messages of an organisation's members (contract section 2.3), nor where no host was spoken to.
package struct Lesson: Sendable, Equatable {
  package enum What: Sendable, Equatable {
    case delivered
    case refused(ReplyVerdict)
    /// No host could be spoken to.
    case unreachable
  }

  package var what: What
  package var ip: String
  package var provider: MailboxProvider
  /// ``ProviderTable/laneKey(_:domain:)``.
  package var laneKey: String
  package var domain: String
  package var organisation: String
  package var pool: String
  package var campaign: String?

  package init(
    what: What, ip: String, provider: MailboxProvider, laneKey: String, domain: String, organisation: String, pool: String,
    campaign: String? = nil
  ) {
    self.what = what
    self.ip = ip
    self.provider = provider
    self.laneKey = laneKey
    self.domain = domain
    self.organisation = organisation
    self.pool = pool
    self.campaign = campaign
  }

  /// Speaks of the sender's list: a breaker's probe that ends otherwise has probed nothing.
  package var decidesBreaker: Bool {
    switch what {
    case .delivered: true
    case .refused(let verdict): verdict.countsAsListBounce
    case .unreachable: false
    }
  }
}

extension ReplyVerdict {
  /// Speaks of the receiving domain as a whole: not of one mailbox, one message, this IP or this sender.
  package var speaksOfDomain: Bool {
    switch replyClass {
    case .unknown, .network, .policy, .protocol, .tls, .domainNotFound, .noMX, .routingLoop: scope == .domain || scope == .none
    case .invalidRecipient, .inactiveMailbox, .suspended, .mailboxFull, .spamContent, .ipReputation, .rateLimited, .greylisted,
      .authFailure, .messageTooLarge:
      scope == .domain
    }
  }
}
