import MailModel
import Testing

@testable import DeliveryPolicy

/// A provider's health at its figures and edges.
@Suite struct ProviderHealthTests {
  let start: Milliseconds = 1_790_000_000_000

  func health(_ notes: [(kind: ProviderHealth.Kind, ip: String, domain: String)]) -> ProviderHealth {
    var health = ProviderHealth()
    for note in notes { health.note(note.kind, ip: note.ip, domain: note.domain, now: start) }
    return health
  }

  func repeated(_ kind: ProviderHealth.Kind, _ count: Int, ips: Int = 1, domains: Int = 1) -> [(
    kind: ProviderHealth.Kind, ip: String, domain: String
  )] {
    (0..<count).map { (kind, "ip\($0 % ips)", "d\($0 % domains).example") }
  }

  @Test(arguments: [(4, false), (5, true)]) func fiveDeferralsOfTwoIPsDegrade(count: Int, isShut: Bool) {
    let state = health(repeated(.deferredIP, count, ips: 2))
    #expect(state.status(now: start) == (isShut ? .degraded : .healthy))
    #expect(state.until == (isShut ? start + 120_000 : 0))
    #expect(state.status(now: start + 120_000) == .healthy)
  }

  @Test func oneIPsTroubleIsItsOwn() {
    #expect(health(repeated(.deferredIP, 50)).status(now: start) == .healthy)
    #expect(health(repeated(.refusedIP, 50)).status(now: start) == .healthy)
  }

  @Test func oneDomainsTroubleIsItsOwn() {
    #expect(health(repeated(.deferredServer, 50, ips: 3)).status(now: start) == .healthy)
    #expect(health(repeated(.deferredServer, 5, domains: 2)).status(now: start) == .degraded)
  }

  /// More than 70 % and at least ten: seven of ten are not enough, nor are nine of nine.
  @Test(arguments: [(9, 0, false), (10, 0, true), (14, 6, false), (15, 6, true)])
  func refusalsBlock(refused: Int, delivered: Int, isShut: Bool) {
    let state = health(repeated(.delivered, delivered) + repeated(.refusedServer, refused, domains: 2))
    #expect(state.status(now: start) == (isShut ? .blocking : .healthy))
    if isShut { #expect(state.until == start + 300_000) }
  }

  @Test func aDeliveryAmongTheLastFiveKeepsItOpen() {
    let notes = repeated(.deferredServer, 4, domains: 2) + repeated(.delivered, 1) + repeated(.deferredServer, 4, domains: 2)
    #expect(health(notes).status(now: start) == .healthy)
    #expect(health(notes + repeated(.deferredServer, 1)).status(now: start) == .degraded)
  }

  /// Half is not more than half.
  @Test(arguments: [(5, false), (4, true)]) func moreThanHalf(delivered: Int, isShut: Bool) {
    let state = health(repeated(.delivered, delivered) + repeated(.deferredServer, 5, domains: 2))
    #expect((state.status(now: start) == .degraded) == isShut)
  }

  @Test func onlyTheLastFiftyCount() {
    var state = health(repeated(.deferredServer, 4, domains: 2) + repeated(.delivered, 50))
    #expect(!state.hasTrouble)
    state.note(.deferredServer, ip: "ip", domain: "d0.example", now: start)
    #expect(state.hasTrouble && state.until == 0)
  }

  @Test func theStoredFormSaysAll() throws {
    var state = health(repeated(.refusedIP, 10, ips: 3) + repeated(.delivered, 2) + repeated(.deferredServer, 5, domains: 3))
    #expect(state.status(now: start) == .blocking)
    let copy = try #require(ProviderHealth(text: state.text))
    #expect(copy == state && copy.text == state.text)
    state.note(.delivered, ip: "x", domain: "y", now: start + 300_001)
    #expect(state.until == 0)
    #expect(ProviderHealth(text: ProviderHealth().text) == ProviderHealth())
    for wrong in ["", "d1 0 0 0 0 - -", "p1 0 0 0 0 -", "p1 a 0 0 0 - -"] { #expect(ProviderHealth(text: wrong) == nil) }
  }

  /// What a reply says decides whether it enters at all (a full mailbox never does).
  @Test(
    arguments: [
      ("452 4.2.2 The email account that you tried to reach is over quota", "gmail", nil),
      ("550 5.1.1 no such user", "yahoo", nil),
      ("451 4.7.1 Greylisted, try again later", "gmail", nil),
      ("550 5.7.26 This mail is unauthenticated", "gmail", nil),
      ("552 5.3.4 message too large", "gmail", nil),
      ("421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume", "yahoo", ProviderHealth.Kind.deferredIP),
      ("550 5.7.1 blocked using zen.example", "gmail", .refusedIP),
      ("451 4.3.0 Temporary system problem. Try again later", "gmail", .deferredServer),
      ("421 4.3.2 service shutting down", "gmail", .deferredServer),
    ] as [(String, String, ProviderHealth.Kind?)])
  func whatEnters(reply: String, provider: String, kind: ProviderHealth.Kind?) {
    let parsed = SMTPReply(code: Int(reply.prefix(3)) ?? 0, lines: [String(reply.dropFirst(4))])
    #expect(ProviderHealth.Kind(ReplyClassification.verdict(parsed, providerName: provider)) == kind, "\(reply)")
  }
}
