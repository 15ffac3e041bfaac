package import MailModel

/// Who gets the mail that an ``SMTPListener`` takes in. Called from many sessions at once; each call holds its own session up
/// and no other.
package protocol MailReceiver: Sendable {
  /// Asked at MAIL, before the sender is accepted; nil = go on.
  func refusal(of sender: SMTPSender, session: InboundSession) async -> SMTPReply?

  /// Asked at each RCPT.
  /// - Parameter recipient: without angle brackets; an address by its form (quoted local parts and address literals
  ///   included), or `postmaster`.
  func accepts(recipient: String, session: InboundSession) async -> RecipientAnswer

  /// The whole of a message. Answer 250 only when its fate no longer depends on this process: stored durably, or acted upon
  /// durably. All else is 4xx (the client tries again) or 5xx (it tells its sender). When the client is gone by then, the
  /// answer is lost and the same mail may come again.
  func received(_ mail: ReceivedMail) async -> SMTPReply

  /// Asked after AUTH, inside TLS only, and only where the policy demands authentication. `password` is a secret.
  func authenticate(user: String, password: String, session: InboundSession) async -> AuthenticationAnswer
}

extension MailReceiver {
  package func refusal(of sender: SMTPSender, session: InboundSession) async -> SMTPReply? { nil }

  package func authenticate(user: String, password: String, session: InboundSession) async -> AuthenticationAnswer {
    .refused(SMTPReply(code: 535, lines: ["5.7.8 authentication is not possible here"]))
  }
}

/// What MAIL told.
package struct SMTPSender: Sendable, Equatable {
  /// Empty for the null return-path.
  package var returnPath: String
  /// By upper-case name.
  package var parameters: [String: String]

  package init(returnPath: String, parameters: [String: String] = [:]) {
    self.returnPath = returnPath
    self.parameters = parameters
  }
}

/// What becomes of a recipient.
package enum RecipientAnswer: Sendable, Equatable {
  case ok
  /// 5xx.
  case refused(SMTPReply)
  /// 4xx.
  case later(SMTPReply)
}

package enum AuthenticationAnswer: Sendable, Equatable {
  case ok(InboundAccount)
  /// 535, 454 and the like.
  case refused(SMTPReply)
}

/// Whose key a client showed.
package struct InboundAccount: Sendable, Equatable {
  /// The organisation.
  package var organisation: String
  /// Tells its keys apart; not the key.
  package var keyID: String

  package init(organisation: String, keyID: String) {
    self.organisation = organisation
    self.keyID = keyID
  }
}

/// What is known of a connection.
package struct InboundSession: Sendable, Equatable {
  /// The client's address; IPv4 in its own form also on a dual-stack socket.
  package var peer: String
  /// As it said in EHLO or HELO; proves nothing.
  package var clientName: String
  /// True after EHLO.
  package var isExtended: Bool
  /// `TLSv1.3` and the like; nil in the clear.
  package var tlsVersion: String?
  /// Set once AUTH succeeded.
  package var account: InboundAccount?

  package init(peer: String, clientName: String, isExtended: Bool = true, tlsVersion: String? = nil, account: InboundAccount? = nil) {
    self.peer = peer
    self.clientName = clientName
    self.isExtended = isExtended
    self.tlsVersion = tlsVersion
    self.account = account
  }
}

/// A message with its envelope, whole.
package struct ReceivedMail: Sendable {
  package var session: InboundSession
  /// Empty for the null return-path.
  package var returnPath: String
  /// Those that ``MailReceiver/accepts(recipient:session:)`` took, in their order; at least one.
  package var recipients: [String]
  /// Of MAIL, by upper-case name.
  package var parameters: [String: String]
  /// Transparency dots taken out; every line ends in CRLF, no CR or LF stands alone.
  package var content: MailContent
  /// Milliseconds since the epoch at the final dot.
  package var receivedAt: Milliseconds

  package init(
    session: InboundSession, returnPath: String, recipients: [String], parameters: [String: String] = [:], content: MailContent,
    receivedAt: Milliseconds
  ) {
    self.session = session
    self.returnPath = returnPath
    self.recipients = recipients
    self.parameters = parameters
    self.content = content
    self.receivedAt = receivedAt
  }
}
