import MailModel
import Testing

@testable import DeliveryPolicy

@Suite struct BlocklistZoneTests {
  enum Expected: Equatable {
    case clean, unknown
    case listed([String], BlocklistZone.Severity, pulls: Bool)

    init(_ verdict: BlocklistVerdict) {
      switch verdict {
      case .clean: self = .clean
      case .unknown: self = .unknown
      case .listed(let listing): self = .listed(listing.codes.map(\.name), listing.severity, pulls: listing.pulls)
      }
    }
  }

  static func zone(_ host: String, _ severity: BlocklistZone.Severity? = nil) -> BlocklistZone {
    let known = BlocklistZone.known.first { host == $0.zone || host.hasSuffix("." + $0.zone) }
    return BlocklistZone.configured(host, severity: severity ?? known?.severity ?? .warning)
  }

  /// (zone, A records; none = NXDOMAIN, expected)
  static let answers: [(String, [String], Expected)] = [
    ("zen.spamhaus.org", [], .clean),
    ("zen.spamhaus.org", ["127.0.0.2"], .listed(["SBL"], .critical, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.2", "127.0.0.9"], .listed(["SBL", "DROP"], .critical, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.3"], .listed(["CSS"], .critical, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.4"], .listed(["XBL"], .critical, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.10"], .listed(["PBL"], .high, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.11"], .listed(["PBL"], .high, pulls: true)),
    ("zen.spamhaus.org", ["127.0.0.20"], .listed(["AuthBL"], .warning, pulls: false)),
    ("zen.spamhaus.org", ["127.0.0.30"], .listed(["BCL"], .critical, pulls: true)),
    ("zen.spamhaus.org", ["127.255.255.252"], .unknown),
    ("zen.spamhaus.org", ["127.255.255.254"], .unknown),
    ("zen.spamhaus.org", ["127.255.255.255"], .unknown),
    ("zen.spamhaus.org", ["127.255.255.1"], .unknown),
    ("zen.spamhaus.org", ["127.0.0.2", "127.255.255.254"], .unknown),
    ("zen.spamhaus.org", ["203.0.113.9"], .unknown),
    ("zen.spamhaus.org", ["127.0.0.2", "203.0.113.9"], .unknown),
    ("zen.spamhaus.org", ["127.0.0.1"], .unknown),
    ("zen.spamhaus.org", ["127.0.1.2"], .unknown),
    ("zen.spamhaus.org", ["nonsense"], .unknown),
    ("abcdefghijklmnopqrstuvwxyz.zen.dq.spamhaus.net", ["127.0.0.2"], .listed(["SBL"], .critical, pulls: true)),
    ("b.barracudacentral.org", ["127.0.0.2"], .listed([""], .warning, pulls: false)),
    ("bl.spamcop.net", ["127.0.0.2"], .listed([""], .warning, pulls: false)),
    ("psbl.surriel.com", ["127.0.0.2"], .listed([""], .warning, pulls: false)),
    ("dnsbl-1.uceprotect.net", ["127.0.0.2"], .listed([""], .warning, pulls: false)),
    ("dnsbl-3.uceprotect.net", ["127.0.0.2"], .listed([""], .info, pulls: false)),
    ("rep.mailspike.net", ["127.0.0.18"], .clean),
    ("bl.mailspike.net", ["127.0.0.10"], .listed(["worst"], .warning, pulls: false)),
    ("hostkarma.junkemailfilter.com", ["127.0.0.1"], .clean),
    ("hostkarma.junkemailfilter.com", ["127.0.0.2"], .listed(["black"], .warning, pulls: false)),
    ("list.dnswl.org", ["127.0.0.255"], .unknown),
    ("list.dnswl.org", ["127.0.5.3"], .clean),
    ("dbl.spamhaus.org", ["127.0.1.255"], .unknown),
    ("dbl.spamhaus.org", ["127.0.1.2"], .listed(["spam"], .warning, pulls: false)),
    ("dbl.spamhaus.org", ["127.0.0.2"], .unknown),
    ("multi.surbl.org", ["127.0.0.80"], .listed(["malware", "abuse"], .warning, pulls: false)),
    ("multi.surbl.org", ["127.0.0.1"], .unknown),
    ("all.spamrats.com", ["127.0.0.38"], .listed(["spam"], .warning, pulls: false)),
    ("all.spamrats.com", ["127.0.0.36"], .listed(["dynamic"], .info, pulls: false)),
    ("all.spamrats.com", ["127.0.0.77"], .unknown),
    ("key.combined.mail.abusix.zone", ["127.0.0.200"], .listed(["manual"], .warning, pulls: false)),
    ("key.combined.mail.abusix.zone", ["127.0.0.12"], .listed(["no PTR"], .info, pulls: false)),
    ("bl.own.example", ["127.0.0.2"], .listed([""], .warning, pulls: false)),
    ("bl.own.example", ["127.0.3.7"], .listed([""], .warning, pulls: false)),
    ("bl.own.example", ["127.0.0.1"], .unknown),
    ("bl.own.example", ["127.0.0.255"], .unknown),
  ]

  @Test(arguments: answers)
  func answer(zone: String, addresses: [String], expected: Expected) {
    let answer = addresses.isEmpty ? BlocklistAnswer.nothing : .addresses(addresses)
    #expect(Expected(Self.zone(zone).verdict(answer)) == expected)
  }

  @Test func aFailedQuestionIsUnknownForEveryZone() {
    for zone in BlocklistZone.known { #expect(zone.verdict(.failed("SERVFAIL")) == .unknown("SERVFAIL")) }
  }

  /// A severity of the configuration stands over the table's, and only a critical zone pulls.
  @Test(arguments: [
    ("zen.spamhaus.org", BlocklistZone.Severity.warning, "127.0.0.2", BlocklistZone.Severity.warning, false),
    ("zen.spamhaus.org", .critical, "127.0.0.20", .warning, false),
    ("b.barracudacentral.org", .critical, "127.0.0.2", .critical, true),
    ("bl.own.example", .critical, "127.0.0.2", .critical, true),
  ])
  func severity(
    zone: String, configured: BlocklistZone.Severity, code: String, expected: BlocklistZone.Severity, pulls: Bool
  ) throws {
    guard case .listed(let listing) = Self.zone(zone, configured).verdict(.addresses([code])) else {
      Issue.record("not listed")
      return
    }
    #expect(listing.severity == expected)
    #expect(listing.pulls == pulls)
  }

  @Test(arguments: [
    ("192.0.2.99", BlocklistZone.Family.ipv4, "99.2.0.192.zen.spamhaus.org"),
    ("127.0.0.2", .ipv4, "2.0.0.127.zen.spamhaus.org"),
    (
      "2001:db8::1", .ipv6,
      "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org"
    ),
    (
      "::FFFF:7F00:2", .ipv6,
      "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.spamhaus.org"
    ),
    ("example.com", .domain, "example.com.zen.spamhaus.org"),
  ])
  func query(subject: String, family: BlocklistZone.Family, name: String) {
    #expect(Self.zone("zen.spamhaus.org").query(subject, family) == name)
  }

  /// (address, octets in hexadecimal; empty = none)
  @Test(arguments: [
    ("192.0.2.1", "c0000201"), ("1.2.3", ""), ("", ""), ("mail.example", ""), ("::", "00000000000000000000000000000000"),
    ("::1", "00000000000000000000000000000001"), ("1::", "00010000000000000000000000000000"),
    ("2001:db8:0:1:1:1:1:1", "20010db8000000010001000100010001"), ("2001:db8::a:0:0:b", "20010db800000000000a00000000000b"),
    ("::ffff:192.0.2.1", "00000000000000000000ffffc0000201"),
  ])
  func octets(text: String, hex: String) {
    let digits = IPAddress.octets(text)?.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    #expect(digits ?? "" == hex)
  }

  @Test func pointerNames() {
    #expect(IPAddress.pointerName("192.0.2.1") == "1.2.0.192.in-addr.arpa")
    #expect(
      IPAddress.pointerName("2001:db8::1")
        == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")
    #expect(IPAddress.pointerName("x") == nil)
  }

  /// (verdict on the point that must be listed, on the one that must not, health)
  static let points: [(BlocklistVerdict, BlocklistVerdict, ZoneHealth)] = {
    let listed = BlocklistVerdict.listed(
      BlocklistListing(zone: "z", name: "Z", codes: [.init(name: "", severity: .critical, pulls: true)]))
    return [
      (listed, .clean, .healthy), (listed, listed, .listsTheWorld), (.clean, listed, .listsTheWorld), (.clean, .clean, .dead),
      (.clean, .unknown("a"), .dead), (.unknown("a"), .clean, .unmeasured("a")), (listed, .unknown("b"), .unmeasured("b")),
      (.unknown("a"), listed, .listsTheWorld),
    ]
  }()

  @Test(arguments: points)
  func health(listed: BlocklistVerdict, clean: BlocklistVerdict, expected: ZoneHealth) {
    let health = ZoneHealth(listed: listed, clean: clean)
    #expect(health == expected)
    if expected == .healthy {
      #expect(health.filter(.clean) == .clean)
    } else {
      guard case .unknown = health.filter(.clean) else {
        Issue.record("a zone that fails its test points is believed")
        return
      }
    }
  }

  @Test func testPointsAreThoseOfRFC5782() {
    let zone = Self.zone("zen.spamhaus.org")
    #expect(zone.testPoints(.ipv4) == .init(listed: "127.0.0.2", clean: "127.0.0.1"))
    #expect(zone.query(zone.testPoints(.ipv6).listed, .ipv6) == zone.query("::FFFF:7F00:2", .ipv6))
    #expect(zone.query(zone.testPoints(.ipv6).clean, .ipv6) == zone.query("::FFFF:7F00:1", .ipv6))
    #expect(Self.zone("dbl.spamhaus.org").testPoints(.domain).listed == "dbltest.com")
  }

  @Test func theBuiltInSetHasOneCriticalZoneAndAbusixOnlyWithAKey() {
    #expect(BlocklistZone.builtIn.filter { $0.severity == .critical }.map(\.id) == ["spamhaus"])
    #expect(BlocklistZone.builtIn(abusixKey: nil) == BlocklistZone.builtIn)
    let key = "0123456789abcdef0123456789abcdef"
    let keyed = BlocklistZone.builtIn(abusixKey: key)
    #expect(keyed.last?.zone == key + ".combined.mail.abusix.zone")
    for zone in keyed { #expect(!zone.id.contains(key) && !zone.name.contains(key)) }
    #expect(BlocklistZone.builtInDomains.allSatisfy { $0.severity == .warning && $0.families == [.domain] })
    #expect(Set(BlocklistZone.known.map(\.zone)).count == BlocklistZone.known.count)
  }

  @Test func configuredZonesHaveDistinctIDsWithoutKeys() {
    let key = "0123456789abcdef0123456789"
    let zones = BlocklistZone.configured([
      ("zen.spamhaus.org", .critical), (key + ".zen.dq.spamhaus.net", .critical), (key + ".own.example.org", .warning),
      ("short.own.example.org", .warning),
    ])
    #expect(zones.map(\.id) == ["spamhaus", "spamhaus-2", "own.example.org", "short.own.example.org"])
    #expect(zones[2].zone == key + ".own.example.org")
  }

  /// (attempts made, milliseconds since the first, wait and limit of the next)
  @Test(arguments: [
    (0, 0, 0, 5000), (1, 10, 200, 5000), (1, 5000, 200, 5000), (2, 10_200, 400, 1400), (2, 11_599, 400, 1), (2, 11_600, -1, 0),
    (3, 100, -1, 0), (1, 12_000, -1, 0), (1, -5, -1, 0),
  ])
  func retries(made: Int, elapsed: Int64, wait: Int64, limit: Int64) {
    let next = BlocklistRetry.next(made: made, elapsed: elapsed)
    if wait < 0 { #expect(next == nil) } else { #expect(next?.wait == wait && next?.limit == limit) }
  }
}
