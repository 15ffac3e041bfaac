import Testing

@testable import DeliveryPolicy

@Suite struct DMARCTests {
  @Test(arguments: ["", "v=DMARC2; p=none", "p=none; v=DMARC1", "v=DMARC1", "v=DMARC1; p=maybe", "v=spf1 -all", "v=dmarc1; p=none"])
  func noPolicies(record: String) { #expect(DMARCPolicy(record) == nil) }

  @Test func policiesInTheirForms() throws {
    let full = try #require(DMARCPolicy("v=DMARC1; p=reject; sp=none;adkim = s; aspf=r; rua=mailto:a@b.example; pct=50;"))
    #expect(full.request == .reject && full.subdomainRequest == .none && full.isStrictDKIM && !full.isStrictSPF)
    #expect(DMARCPolicy("v=DMARC1; p=typo; rua=mailto:a@b.example")?.request == DMARCPolicy.Request.none)
    #expect(DMARCPolicy("v=DMARC1;p=quarantine")?.subdomainRequest == .quarantine)
  }

  @Test func whereThePolicyStands() {
    #expect(DMARCPolicy.names(of: "A.mail.example.co.uk") == ["_dmarc.a.mail.example.co.uk", "_dmarc.example.co.uk"])
    #expect(DMARCPolicy.names(of: "example.com") == ["_dmarc.example.com"])
  }

  static let cases: [(String, String, String?, [String], DMARCPolicy.Result)] = [
    ("v=DMARC1; p=none", "a.example", "a.example", [], .pass), ("v=DMARC1; p=none", "a.example", "m.a.example", [], .pass),
    ("v=DMARC1; p=none; aspf=s", "a.example", "m.a.example", [], .fail), ("v=DMARC1; p=none", "m.a.example", "n.a.example", [], .pass),
    ("v=DMARC1; p=none", "a.example", nil, ["a.example"], .pass), ("v=DMARC1; p=none", "a.example", "b.example", ["c.example"], .fail),
    ("v=DMARC1; p=none; adkim=s", "a.example", nil, ["m.a.example", "A.example"], .pass), ("v=DMARC1; p=none", "a.example", nil, [], .fail),
    ("v=DMARC1; p=none", "xa.example", "a.example", [], .fail), ("v=DMARC1; p=none", "a.co.uk", "b.co.uk", [], .fail),
  ]

  @Test(arguments: cases.indices) func alignment(index: Int) throws {
    let (record, author, spf, dkim, result) = Self.cases[index]
    #expect(try #require(DMARCPolicy(record)).result(author: author, spf: spf, dkim: dkim) == result)
  }
}
