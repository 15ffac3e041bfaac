import Synchronization

/// What came of the mail that came in, by kind, for the metrics.
final class InboundCounts: Sendable {
  enum Kind: String, Sendable, CaseIterable {
    case bounced, complained, unsubscribed
    /// Told before, or the same mail again.
    case repeated
    case delayed
    case delivered
    case automatic
    case dmarcReport = "dmarc_report"
    /// Mail to a return-path that is no report: spam, mostly.
    case ordinary
    /// A report of which nothing proves whose mail it was.
    case unattributed
    /// Its only thread to a message is a Message-ID, and who wrote it is not vouched for.
    case unproven
    /// Of a message that we sent too long ago.
    case expired
    case forged
    case unknownRecipient = "unknown_recipient"
    case relayed
    /// Mail to postmaster that could not be relayed, and is held.
    case relayFailed = "relay_failed"
    case routed
    case later
    /// Told to come again because another host sent the message.
    case elsewhere
    /// Told to come again because there was no room.
    case noRoom = "no_room"
  }

  // Counted from many sessions at once.
  private let counts = Mutex<[Kind: Int]>([:])

  func add(_ kind: Kind) { counts.withLock { $0[kind, default: 0] += 1 } }
  var all: [Kind: Int] { counts.withLock { $0 } }
}
