package import MailModel

/// What one organisation delivered to one of the providers with rules for bulk senders (Gmail, Yahoo), by UTC day. Above 5,000 in
/// one day it is a bulk sender, and stays one: Gmail's word for it has no end.
package struct BulkVolume: Sendable, Equatable {
  package static let limit = 5_000
  package static let providers: Set<MailboxProvider> = [.gmail, .yahoo]

  private var day = 0
  private var count = 0
  /// The first time it was above; 0 = never.
  package private(set) var bulkSince: Milliseconds = 0

  package init() {}

  package var isBulk: Bool { bulkSince > 0 }
  package func today(now: Milliseconds) -> Int { day == UTCDay.number(now) ? count : 0 }

  /// - Returns: whether this delivery is the day's first above the limit.
  package mutating func deliver(now: Milliseconds) -> Bool {
    let today = UTCDay.number(now)
    // A clock that stepped back stays in the day that is open.
    if today > day {
      day = today
      count = 0
    }
    count += 1
    guard count == Self.limit + 1 else { return false }
    if bulkSince == 0 { bulkSince = now }
    return true
  }

  package func isIdle(now: Milliseconds) -> Bool { !isBulk && day < UTCDay.number(now) }

  package var text: String { "v1 \(day) \(count) \(bulkSince)" }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "v1"), let day = reader.integer(Int.self), let count = reader.integer(Int.self),
      let bulkSince: Milliseconds = reader.integer(), (0...1_000_000).contains(day), (0...1 << 46).contains(count), bulkSince >= 0,
      reader.word() == nil
    else { return nil }
    self.day = day
    self.count = count
    self.bulkSince = bulkSince
  }
}

/// Mailboxes of consumers at the providers with rules for bulk senders, by the domains that the contract names (section 4): known
/// before anybody asked DNS.
package enum ConsumerDomain {
  private static let domains: [String: MailboxProvider] = [
    "gmail.com": .gmail, "googlemail.com": .gmail, "yahoo.com": .yahoo, "aol.com": .yahoo, "ymail.com": .yahoo, "yahoo.co.uk": .yahoo,
  ]

  package static func provider(of domain: String) -> MailboxProvider? { domains[domain.lowercased()] }
}
