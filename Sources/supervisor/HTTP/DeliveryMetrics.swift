import DeliveryPolicy
import MailModel
import Synchronization

/// Counts of what became of attempts, by pool and mailbox provider: both few, whatever is sent. Upstream's names (contract
/// section 13.1), with real numbers behind them.
final class DeliveryMetrics: Sendable {
  struct Key: Hashable, Sendable {
    var pool: String
    var provider: MailboxProvider
    var outcome: String
  }

  struct Histogram: Sendable {
    /// Upper bounds in seconds; upstream's.
    static let bounds: [Double] = [0.5, 1, 2, 5, 10, 30, 60]

    var counts = [Int](repeating: 0, count: bounds.count + 1)
    var sum: Double = 0

    mutating func add(_ seconds: Double) {
      counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
      sum += seconds
    }
  }

  struct Counts: Sendable {
    var attempts: [Key: Int] = [:]
    /// By type (hard, soft) in `outcome`.
    var bounces: [Key: Int] = [:]
    var durations: [Key: Histogram] = [:]
  }

  let reach = OutboundReach()
  private let providers: ProviderTable
  private let state = Mutex(Counts())

  init(providers: ProviderTable) { self.providers = providers }

  var counts: Counts { state.withLock { $0 } }

  /// One reduced outcome. What reached no remote (given back, ended in the queue) is no attempt.
  func note(_ record: MessageRecord, _ result: AttemptResult, final: DoneRecord.FinalState?, bounceType: String?) {
    reach.note(result)
    let provider = result.host.map { providers.provider(mx: [$0]) } ?? .other
    let outcome: String
    switch (result.kind, final) {
    case (.unbegun, _), (.concluded, _), (.contentMissing, _): return
    case (_, .delivered): outcome = "delivered"
    case (_, .bounced): outcome = "bounced"
    case (_, nil): outcome = "deferred"
    case (.replied, _): outcome = "rejected"
    default: outcome = "error"
    }
    state.withLock { state in
      state.attempts[Key(pool: record.pool, provider: provider, outcome: outcome), default: 0] += 1
      if let bounceType { state.bounces[Key(pool: "", provider: provider, outcome: bounceType), default: 0] += 1 }
      state.durations[Key(pool: record.pool, provider: provider, outcome: ""), default: Histogram()].add(Double(result.duration) / 1000)
    }
  }
}
