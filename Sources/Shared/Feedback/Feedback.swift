package import DeliveryPolicy

/// What a mail to one of our return-paths or feedback addresses turns out to be.
package struct Feedback: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    /// At least one recipient failed for good.
    case bounce
    /// A server still tries: nothing happened to the message yet.
    case delay
    /// Delivered, relayed or expanded (RFC 3464 §2.3.3).
    case successDSN = "success_dsn"
    /// A recipient's report (ARF and its dialects), authentication failure reports included: see ``Feedback/complaint``.
    case complaint
    /// Vacation and other automatic answers, challenges, read receipts: see ``Feedback/trait``.
    case autoReply = "auto_reply"
    /// A DMARC aggregate report.
    case dmarcReport = "dmarc_report"
    /// A mail that asks to be taken off a list.
    case unsubscribeMail = "unsubscribe_mail"
    case ordinary
  }

  /// What sort of automatic answer.
  package enum Trait: String, Sendable { case vacation, challenge, readReceipt = "read_receipt" }

  package enum Action: String, Sendable { case failed, delayed, delivered, relayed, expanded }

  /// hard = the address (or its domain) will not take mail; soft = this message was not taken.
  package enum Hardness: String, Sendable { case hard, soft }

  package struct Recipient: Sendable, Equatable {
    /// As the report names it: the final recipient, or the original one when only that is an address.
    package var address: String
    /// Where it differs from ``address``.
    package var original: String?
    package var action: Action
    /// RFC 3463, as `5.1.1`; nil when the mail has none.
    package var status: String?
    package var replyClass: ReplyClass
    package var hardness: Hardness
    /// What the server said, one line, at most 1,000 octets.
    package var diagnostic: String

    package init(
      address: String, original: String?, action: Action, status: String?, replyClass: ReplyClass, hardness: Hardness, diagnostic: String
    ) {
      self.address = address
      self.original = original
      self.action = action
      self.status = status
      self.replyClass = replyClass
      self.hardness = hardness
      self.diagnostic = diagnostic
    }
  }

  package struct Complaint: Sendable, Equatable {
    /// `abuse`, `fraud`, `virus`, `not-spam`, `auth-failure`, `opt-out` … (RFC 5965 §7.3, RFC 6591), lower case.
    package var type: String
    package var userAgent: String?
    package var originalRecipients: [String] = []
    package var originalSender: String?
    package var reportedDomains: [String] = []
    package var sourceIP: String?
    package var arrivalDate: String?
  }

  /// Fields of the message that a report gives back, as far as it does. They are the reporter's claim: only a token of ours
  /// that verifies proves anything.
  package struct ReturnedHeaders: Sendable, Equatable {
    package var messageID: String?
    package var returnPath: String?
    package var from: String?
    package var to: String?
    package var subject: String?
    package var listUnsubscribe: String?
    package var feedbackID: String?
    /// RFC 9477 §3.2.
    package var cfblFeedbackID: String?

    package init() {}
  }

  /// A thread to the message, best first: what to verify or look up, in this order.
  package enum Hint: Sendable, Equatable {
    /// An address found in the envelope's or the returned message's fields that may be one of our signed return-paths.
    case returnPath(String)
    /// Original-Envelope-Id (RFC 3461).
    case envelopeID(String)
    case cfblFeedbackID(String)
    case feedbackID(String)
    /// With angle brackets.
    case messageID(String)
    /// The weakest: any message to that address.
    case recipient(String)

    package var sureness: Sureness {
      switch self {
      case .returnPath, .envelopeID, .cfblFeedbackID: .token
      case .messageID: .messageID
      case .feedbackID, .recipient: .guess
      }
    }
  }

  /// How sure an attribution is that rests on a hint, once it verifies; best first.
  package enum Sureness: String, Sendable {
    /// A signed token that only the recipient's side has seen.
    case token
    /// A signed Message-ID: everyone has it whom the mail, a reply to it or an archive reached.
    case messageID = "message_id"
    /// Words that anybody can write. Nothing follows from them.
    case guess
  }

  package var kind: Kind
  package var trait: Trait?
  /// Of a bounce, delay or success report; addresses differ from each other.
  package var recipients: [Recipient] = []
  package var complaint: Complaint?
  package var returned = ReturnedHeaders()
  package var hints: [Hint] = []
  /// Message-ID of the report itself.
  package var messageID: String?

  package init(kind: Kind) { self.kind = kind }

  package var isBounce: Bool { kind == .bounce }
}
