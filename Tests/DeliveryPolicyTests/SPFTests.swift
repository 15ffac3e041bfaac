import MailModel
import Testing

@testable import DeliveryPolicy

@Suite struct SPFTests {
  /// TXT by domain; `a:`, `aaaa:` and `mx:` rows are addresses and hosts. A value of `!` is a failed lookup.
  static func lookup(_ zone: [String: [String]]) -> SPFEvaluator.Lookup {
    { question in
      let key =
        switch question {
        case .txt(let name): name
        case .a(let name): "a:" + name
        case .aaaa(let name): "aaaa:" + name
        case .mx(let name): "mx:" + name
        }
      guard let rows = zone[key] else { return .nothing }
      return rows == ["!"] ? .failed("SERVFAIL") : .found(rows)
    }
  }

  enum Expected: Equatable {
    case covered, notCovered, unknown

    init(_ coverage: SPFCoverage) {
      switch coverage {
      case .covered: self = .covered
      case .notCovered: self = .notCovered
      case .unknown: self = .unknown
      }
    }
  }

  static let others: [String: [String]] = [
    "inc.example": ["v=spf1 ip4:198.51.100.0/24 -all"], "soft.example": ["v=spf1 ~all"], "temp.example": ["!"],
    "none.example": ["v=other"], "broken.example": ["v=spf1 ip4:999.1.1.1"], "macro.example": ["v=spf1 exists:%{i}.x.example -all"],
    "deep.example": ["v=spf1 include:inc.example -all"], "a:mail.example": ["192.0.2.7"], "a:near.example": ["192.0.2.200"],
    "aaaa:mail.example": ["2001:db8::7"], "mx:d.example": ["mx1.example", "mx2.example"], "a:mx2.example": ["192.0.2.7"],
    "a:d.example": ["192.0.2.7"], "a:temp.example": ["!"], "a:flag.example": ["127.0.0.2"],
    "mx:many.example": (1...11).map { "h\($0).example" },
    "loop.example": ["v=spf1 include:loop.example -all"],
  ]

  /// (record of d.example, IP, expected)
  static let cases: [(String, String, Expected)] = [
    ("v=spf1 ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 ip4:192.0.2.8 -all", "192.0.2.7", .notCovered),
    ("V=SPF1 IP4:192.0.2.7 -ALL", "192.0.2.7", .covered),
    ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.7", .covered),
    ("v=spf1 ip4:192.0.2.0/29 -all", "192.0.2.7", .covered),
    ("v=spf1 ip4:192.0.2.8/29 -all", "192.0.2.7", .notCovered),
    ("v=spf1 ip4:0.0.0.0/0 -all", "192.0.2.7", .covered),
    ("v=spf1 ip4:192.0.2.7/33 -all", "192.0.2.7", .notCovered),
    ("v=spf1 ip4:192.0.2.7/ -all", "192.0.2.7", .notCovered),
    ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::7", .covered),
    ("v=spf1 ip6:2001:db9::/32 -all", "2001:db8::7", .notCovered),
    ("v=spf1 ip6:2001:db8::/32 -all", "192.0.2.7", .notCovered),
    ("v=spf1 ip4:192.0.2.7 -all", "::ffff:192.0.2.7", .covered),
    ("v=spf1 -ip4:192.0.2.7 +all", "192.0.2.7", .notCovered),
    ("v=spf1 ~ip4:192.0.2.7 +all", "192.0.2.7", .notCovered),
    ("v=spf1 ?ip4:192.0.2.7 +all", "192.0.2.7", .notCovered),
    ("v=spf1 +all", "192.0.2.7", .covered),
    ("v=spf1 ~all", "192.0.2.7", .notCovered),
    ("v=spf1", "192.0.2.7", .notCovered),
    ("v=spf10 +all", "192.0.2.7", .notCovered),
    ("v=spf1 a -all", "192.0.2.7", .covered),
    ("v=spf1 a:mail.example -all", "192.0.2.7", .covered),
    ("v=spf1 a:mail.example -all", "2001:db8::7", .covered),
    ("v=spf1 a:near.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 a:near.example/24 -all", "192.0.2.7", .covered),
    ("v=spf1 a:mail.example/32//64 -all", "2001:db8::1", .covered),
    ("v=spf1 a:mail.example//129 -all", "192.0.2.7", .notCovered),
    ("v=spf1 a:temp.example ip4:192.0.2.7 -all", "192.0.2.7", .unknown),
    ("v=spf1 mx -all", "192.0.2.7", .covered),
    ("v=spf1 mx:none.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 mx:many.example +all", "192.0.2.7", .notCovered),
    ("v=spf1 include:inc.example -all", "198.51.100.9", .covered),
    ("v=spf1 include:inc.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 include:inc.example ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 include:deep.example -all", "198.51.100.9", .covered),
    ("v=spf1 include:soft.example +all", "192.0.2.7", .covered),
    ("v=spf1 include:none.example ip4:192.0.2.7 -all", "192.0.2.7", .notCovered),
    ("v=spf1 include:broken.example ip4:192.0.2.7 -all", "192.0.2.7", .notCovered),
    ("v=spf1 include:temp.example ip4:192.0.2.7 -all", "192.0.2.7", .unknown),
    ("v=spf1 include:loop.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 redirect=inc.example", "198.51.100.9", .covered),
    ("v=spf1 redirect=inc.example", "192.0.2.7", .notCovered),
    ("v=spf1 redirect=none.example", "192.0.2.7", .notCovered),
    ("v=spf1 redirect=temp.example", "192.0.2.7", .unknown),
    ("v=spf1 redirect=%{d}.example", "192.0.2.7", .unknown),
    ("v=spf1 -all redirect=inc.example", "198.51.100.9", .notCovered),
    ("v=spf1 exists:flag.example -all", "192.0.2.7", .covered),
    ("v=spf1 exists:absent.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 exists:%{i}.x.example -all", "192.0.2.7", .unknown),
    ("v=spf1 exists:%{i}.x.example ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 -exists:%{i}.x.example ip4:192.0.2.7 -all", "192.0.2.7", .unknown),
    ("v=spf1 -exists:%{i}.x.example -all", "192.0.2.7", .notCovered),
    ("v=spf1 include:macro.example ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 include:macro.example -all", "192.0.2.7", .unknown),
    ("v=spf1 ptr -all", "192.0.2.7", .unknown),
    ("v=spf1 ptr ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 exp=why.example x-other=1 ip4:192.0.2.7 -all", "192.0.2.7", .covered),
    ("v=spf1 unheard:of ip4:192.0.2.7 -all", "192.0.2.7", .notCovered),
    ("v=spf1 ip4:192.0.2.7 all:x", "192.0.2.7", .notCovered),
  ]

  @Test(arguments: cases)
  func record(text: String, ip: String, expected: Expected) async {
    var zone = Self.others
    zone["d.example"] = ["unrelated", text]
    let coverage = await SPFEvaluator.coverage(of: ip, domain: "d.example", lookup: Self.lookup(zone))
    #expect(Expected(coverage) == expected, "\(coverage)")
  }

  @Test func theDomainsOwnRecords() async {
    func coverage(_ records: [String]?) async -> SPFCoverage {
      await SPFEvaluator.coverage(of: "192.0.2.7", domain: "d.example", lookup: Self.lookup(records.map { ["d.example": $0] } ?? [:]))
    }
    #expect(await coverage(nil) == .notCovered("d.example has no SPF record"))
    #expect(await coverage(["x"]) == .notCovered("d.example has no SPF record"))
    #expect(Expected(await coverage(["v=spf1 +all", "v=spf1 +all"])) == .notCovered)
    #expect(Expected(await coverage(["!"])) == .unknown)
  }

  /// Ten terms may ask, the eleventh breaks the record; two may find nothing, the third breaks it (RFC 7208 §4.6.4).
  @Test(arguments: [
    (10, 0, Expected.covered), (11, 0, .notCovered), (0, 2, .covered), (0, 3, .notCovered), (8, 2, .covered), (9, 2, .notCovered),
  ])
  func limits(found: Int, void: Int, expected: Expected) async {
    var zone: [String: [String]] = [:]
    for index in 0..<found { zone["a:h\(index).example"] = ["198.51.100.1"] }
    let terms = (0..<found).map { "a:h\($0).example" } + (0..<void).map { "a:absent\($0).example" }
    zone["d.example"] = ["v=spf1 \(terms.joined(separator: " ")) ip4:192.0.2.7 -all"]
    #expect(Expected(await SPFEvaluator.coverage(of: "192.0.2.7", domain: "d.example", lookup: Self.lookup(zone))) == expected)
  }
}
