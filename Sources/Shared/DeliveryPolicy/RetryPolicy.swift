package import MailModel

/// When a deferred message is tried again: `retry.delays[n]`, n = its deferrals so far, the last repeated; lengthened only
/// by a wait that the reply states (30 s to 1 h); a full mailbox takes the longest from the start (DESIGN section 3).
package struct RetryPolicy: Sendable, Equatable {
  package enum Uncertain: String, Sendable, CaseIterable {
    case hold, resend
  }

  /// Milliseconds; never empty.
  package var delays: [Milliseconds]
  /// ± share of the delay.
  package var jitter: Double
  package var uncertain: Uncertain

  package init(
    delays: [Milliseconds] = [30_000, 120_000, 480_000, 1_800_000, 7_200_000], jitter: Double = 0.15,
    uncertain: Uncertain = .hold
  ) {
    self.delays = delays
    self.jitter = jitter
    self.uncertain = uncertain
  }

  /// - Parameter random: 0 to 1, drawn by the caller.
  package func delay(deferrals: Int, statedWait: Milliseconds?, mailboxFull: Bool, random: Double) -> Milliseconds {
    let longest = delays.max() ?? 30_000
    let base = mailboxFull ? longest : delays.isEmpty ? 30_000 : delays[min(deferrals, delays.count - 1)]
    let jittered = Double(base) * (1 + jitter * (2 * random - 1))
    let stated = statedWait.map { min(max($0, 30_000), 3_600_000) } ?? 0
    return max(Milliseconds(jittered.rounded()), stated)
  }
}
