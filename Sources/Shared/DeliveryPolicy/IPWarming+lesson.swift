internal import MailModel

extension IPWarming.Outcome {
  /// What an attempt's lesson says about its IP; nil when it speaks of somebody else (a full mailbox, one organisation's
  /// limit, one message). A 5xx about the IP's own standing counts as a bounce even when the message goes on from another IP.
  package init?(_ what: Lesson.What) {
    switch what {
    case .delivered: self = .delivered
    case .unreachable: self = .connectionFailed
    case .refused(let verdict):
      if verdict.isPermanent, !verdict.isDeferral || verdict.reaction == .otherIP || verdict.reaction == .pauseIP {
        self = .bounced
        return
      }
      switch verdict.scope {
      case .recipient, .message, .organisation: return nil
      case .lane, .ip, .domain, .none:
        self = verdict.countsAgainstThrottle && verdict.replyClass == .rateLimited ? .volumePressure : .deferred
      }
    }
  }
}
