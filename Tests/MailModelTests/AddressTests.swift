import MailModel
import Testing

@Suite struct AddressTests {
  @Test(arguments: [
    ("a@example.com", "a@example.com"), ("First.Last+tag@Example.COM", "First.Last+tag@example.com"),
    ("o'brien@example.co.uk", "o'brien@example.co.uk"), ("用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d"),
    ("a@bücher.example", "a@xn--bcher-kva.example"), ("x@a-b.c1.org", "x@a-b.c1.org"),
  ])
  func accepts(text: String, canonical: String) { #expect(EmailAddress(text)?.description == canonical) }

  @Test(arguments: [
    "", "a", "a@", "@example.com", "a@b", "a@example.c", "a b@example.com", "a@exa mple.com", "a@example.com\r\nRCPT TO:<x@y.org>",
    "a\n@example.com", "<a@example.com>", "a@-example.com", "a@example-.com", ".a@example.com", "a.@example.com", "a..b@example.com",
    "\"quoted\"@example.com", "a@[127.0.0.1]", "a@127.0.0.1", "a@example..com", "a,b@example.com", "a@example.com ", "a\u{0}b@example.com",
    "a;b@example.com", "a\u{202E}b@example.com", String(repeating: "a", count: 65) + "@example.com",
    "a@" + String(repeating: "b", count: 64) + ".com",
  ])
  func refuses(text: String) { #expect(EmailAddress(text) == nil) }

  @Test(arguments: [
    ("192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("::1", "::1"), ("2001:db8::0:1:0:0", "2001:db8::1:0:0"),
    ("::ffff:192.0.2.1", "::ffff:c000:201"),
  ])
  func canonicalIP(text: String, canonical: String) { #expect(IPAddress.canonical(text) == canonical) }

  @Test(arguments: ["", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4.5", "::1::", "12345::", "g::1", "1.2.3.4 "])
  func refusesIP(text: String) { #expect(IPAddress.canonical(text) == nil) }

  @Test func bandsDelayByAnHourEach() {
    #expect(PriorityBand(engagementScore: 80) == .first)
    #expect(PriorityBand(engagementScore: 79.9) == .second)
    #expect(PriorityBand(engagementScore: nil) == .third)
    #expect(PriorityBand(engagementScore: 20) == .third)
    #expect(PriorityBand(engagementScore: 0) == .fourth)
    #expect(PriorityBand.fourth.score(acceptedAt: 1000) == 1000 + 3 * 3_600_000)
  }
}
