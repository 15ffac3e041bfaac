import DNS
import Observability

/// Whether the resolver answers at all: asked for our own bounce domain, at most twice a minute. Any answer counts, a refusal
/// too; a server failure or silence does not.
actor DNSProbe {
  private static let memory: Int64 = 30_000

  private let resolver: DNSResolver
  private let domain: String
  private var last: (works: Bool, at: Int64)?

  init(resolver: DNSResolver, domain: String) {
    self.resolver = resolver
    self.domain = domain
  }

  func works() async -> Bool {
    let now = SystemClock.monotonic()
    if let last, now - last.at < Self.memory { return last.works }
    let answer = await resolver.resolve(domain, .mx, limit: .seconds(3))
    var works = true
    if case .unknown(let why) = answer.status { works = why.hasPrefix("rcode") && why != "rcode 2" }
    last = (works, now)
    return works
  }
}
