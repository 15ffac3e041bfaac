package import MailModel
package import NIOCore

/// How a session broke off without a reply.
package enum SMTPFault: Error, Sendable, Equatable, CustomStringConvertible {
  case connectFailed(String)
  /// The host does not have the address it should send from.
  case sourceUnavailable(String)
  case timedOut(SMTPStage)
  case closed(SMTPStage)
  case protocolViolation(SMTPStage, String)
  case tls(String)

  package var description: String {
    switch self {
    case .connectFailed(let text): "connection failed: \(text)"
    case .sourceUnavailable(let address): "source address \(address) is not on this host"
    case .timedOut(let stage): "timed out at \(stage.rawValue)"
    case .closed(let stage): "connection closed at \(stage.rawValue)"
    case .protocolViolation(let stage, let text): "protocol violation at \(stage.rawValue): \(text)"
    case .tls(let text): text
    }
  }
}

/// RFC 5321 §4.5.3.2 with the operator's figures.
package struct SMTPTimeouts: Sendable, Equatable {
  package var connect: TimeAmount = .seconds(30)
  /// Greeting, EHLO, MAIL, RCPT, STARTTLS and the reply to DATA.
  package var command: TimeAmount = .minutes(5)
  /// From the first octet of the message to the reply after the final dot.
  package var data: TimeAmount = .minutes(10)
  package var quit: TimeAmount = .seconds(5)

  package init() {}
}

/// The host to speak to and how.
package struct SMTPTarget: Sendable {
  package var hostName: String
  package var address: String
  package var port: Int
  package var sourceIP: String
  package var ehloName: String
  package var tls: Route.TLSDemand
  package var timeouts: SMTPTimeouts
  /// False for a host that offers CHUNKING and does not know it.
  package var allowsChunking = true

  package init(
    hostName: String, address: String, port: Int, sourceIP: String, ehloName: String, tls: Route.TLSDemand,
    timeouts: SMTPTimeouts
  ) {
    self.hostName = hostName
    self.address = address
    self.port = port
    self.sourceIP = sourceIP
    self.ehloName = ehloName
    self.tls = tls
    self.timeouts = timeouts
  }
}

/// Why no session came about.
package struct SMTPOpenFailure: Error, Sendable {
  package var stage: SMTPStage
  package var reply: SMTPReply?
  package var fault: SMTPFault?

  package var isTLS: Bool {
    if case .tls = fault { return true }
    return false
  }

  package var text: String { reply?.text ?? fault?.description ?? "failed" }
}

/// What one transaction came to.
package enum SMTPTransactionResult: Sendable, Equatable {
  /// A reply ended it: at `.dot` the last word, before it a refusal.
  case replied(SMTPStage, SMTPReply)
  /// Broken off before the final dot: surely not delivered.
  case lost(SMTPFault)
  /// Broken off between the final dot and its reply.
  case uncertain(SMTPFault)
  /// The peer lacks an extension that the message needs.
  case unsupported(String)
}
