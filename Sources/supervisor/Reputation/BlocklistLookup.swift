import DNS
import DeliveryPolicy
import MailModel
import Observability

/// One question to a blocklist: asked again within its budget only when the fault may pass. Names are never logged or
/// answered, since they may hold an access key.
struct BlocklistLookup: Sendable {
  /// (name, longest wait) → its A records.
  typealias Resolve = @Sendable (String, Duration) async -> DNSAnswer

  private let resolve: Resolve
  private let monotonic: @Sendable () -> Int64
  private let wait: @Sendable (Milliseconds) async -> Void

  init(
    resolve: @escaping Resolve, monotonic: @escaping @Sendable () -> Int64 = SystemClock.monotonic,
    wait: @escaping @Sendable (Milliseconds) async -> Void = { try? await Task.sleep(for: .milliseconds($0)) }
  ) {
    self.resolve = resolve
    self.monotonic = monotonic
    self.wait = wait
  }

  init(resolver: DNSResolver) {
    self.init(resolve: { await resolver.resolve($0, .a, limit: $1) })
  }

  func answer(_ name: String) async -> BlocklistAnswer {
    let started = monotonic()
    var last = BlocklistAnswer.failed("not asked")
    var made = 0
    while !Task.isCancelled, let next = BlocklistRetry.next(made: made, elapsed: monotonic() - started) {
      if next.wait > 0 { await wait(next.wait) }
      made += 1
      let answer = await resolve(name, .milliseconds(next.limit))
      switch answer.status {
      case .found: return .addresses(answer.records.map { DNSRecordData.address($0) ?? "" })
      case .noData, .noSuchName: return .nothing
      case .unknown(let why):
        // What follows a colon may quote the name.
        last = .failed(String(why.prefix { $0 != ":" }))
        if !Self.mayPass(why) { return last }
      }
    }
    return last
  }

  /// A refusal or a wrong signature stays; SERVFAIL and silence may pass.
  private static func mayPass(_ why: String) -> Bool {
    if why.hasPrefix("bogus") { return false }
    return !why.hasPrefix("rcode") || why == "rcode 2"
  }
}
