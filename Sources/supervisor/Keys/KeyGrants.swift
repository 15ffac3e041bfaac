import ControlProtocol
import Logging
import MailModel
import Observability
import Redis

/// Which keys a worker is given: those of the domains that the mail in its own stream is signed for, asked for entry by entry.
/// A worker cannot write to its stream, so whoever got hold of one gets no key beyond the mail that passes through it anyway.
/// What seals keys at rest stays here: no order can carry it.
struct KeyGrants: Sendable {
  /// How long a question waits for Redis before the message goes back.
  static let patience: Milliseconds = 30_000

  let store: QueueStore
  let keys: KeyStore
  let log: Logger

  func answer(ip: String, domain: String, entryID: String) async -> ControlOrder {
    let deadline = SystemClock.monotonic() + Self.patience
    while true {
      do {
        guard let entry = try await store.unsettledWork(ip: ip, entryID: entryID),
          let record = try? MessageRecord(decoding: entry.record), record.dkimDomain == domain
        else {
          log.warning("a worker asked for a key that it has no mail for", metadata: [LogKey.sourceIP: "\(ip)", "domain": "\(domain)"])
          return .keyRefused(domain: domain)
        }
        return .keys(domain: domain, try await keys.signingKeys(domain))
      } catch {
        // Redis is away: that says nothing of the key.
        guard SystemClock.monotonic() < deadline, !Task.isCancelled else { return .keyRefused(domain: domain) }
        try? await Task.sleep(for: .milliseconds(200))
      }
    }
  }
}
