package import NIOCore

/// A message as the sink took it.
package struct SinkMessage: Sendable {
  /// The client's address.
  package var peer: String
  /// The address it spoke to.
  package var local: String
  package var ehloName: String
  package var returnPath: String
  package var recipients: [String]
  /// Dots unstuffed, CRLF line ends as they came.
  package var octets: [UInt8]
  package var isTLS: Bool
  /// Milliseconds since the epoch at the final dot.
  package var receivedAt: Int64
  /// Number of its session, and of it within that session.
  package var session: Int
  package var transaction: Int
}

/// A point in a session at which a script may have its say.
package enum SinkMoment: Sendable {
  case connect(peer: String, local: String)
  case ehlo(name: String)
  case mail(returnPath: String)
  case rcpt(recipient: String)
  case data
  /// The final dot was read; the answer decides whether it counts as taken.
  case message(SinkMessage)
}

/// What the sink does then.
package struct SinkAction: Sendable {
  package enum Kind: Sendable {
    /// Lines of a reply, code included, without CRLF.
    case reply([String])
    /// Octets as they are, right or wrong.
    case raw(String)
    /// Closes without a word.
    case close
    /// Says nothing, keeps the connection.
    case hang
    case replyAndClose([String])
  }

  package var kind: Kind
  package var delay: TimeAmount

  package init(_ kind: Kind, after delay: TimeAmount = .zero) {
    self.kind = kind
    self.delay = delay
  }

  package static func reply(_ line: String, after delay: TimeAmount = .zero) -> SinkAction { SinkAction(.reply([line]), after: delay) }
}

/// Nil = the sink's ordinary answer.
package typealias SinkScript = @Sendable (SinkMoment) -> SinkAction?
