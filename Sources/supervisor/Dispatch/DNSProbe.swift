import DNS
import Observability

/// Whether the resolver answers at all: asked for our own bounce domain, at most twice a minute. Any answer counts, a refusal
/// too; a server failure or silence does not. Who asks for health waits a second at most, once: later the last word is told, and
/// looked at anew meanwhile.
actor DNSProbe {
  private static let memory: Int64 = 30_000

  private let resolver: DNSResolver
  private let domain: String
  private var last: (works: Bool, at: Int64)?
  private var isAsking = false

  init(resolver: DNSResolver, domain: String) {
    self.resolver = resolver
    self.domain = domain
  }

  func works() async -> Bool {
    guard let last else { return await ask(limit: .seconds(1)) }
    if SystemClock.monotonic() - last.at >= Self.memory, !isAsking {
      isAsking = true
      Task { _ = await self.ask(limit: .seconds(3)) }
    }
    return last.works
  }

  private func ask(limit: Duration) async -> Bool {
    let now = SystemClock.monotonic()
    let answer = await resolver.resolve(domain, .mx, limit: limit)
    isAsking = false
    var works = true
    if case .unknown(let why) = answer.status { works = why.hasPrefix("rcode") && why != "rcode 2" }
    last = (works, now)
    return works
  }
}
