import DNS
import DeliveryPolicy
import MailFormat
import MailModel
import SMTPServer
import Testing

@testable import supervisor

/// What SPF, DKIM and DMARC say together, from DNS to verdict.
@Suite struct InboundAuthenticatorTests {
  static let zone = [
    "s.example": "v=spf1 ip4:192.0.2.1 -all", "soft.example": "v=spf1 ~all", "_dmarc.s.example": "v=DMARC1; p=reject",
    "_dmarc.soft.example": "v=DMARC1; p=none", "mx.s.example": "v=spf1 ip4:192.0.2.1 -all", "failing.example": "!",
  ]

  func judge(from returnPath: String, author: String, peer: String = "192.0.2.1", helo: String = "mx.s.example", signature: String = "")
    async throws -> MailAuthentication
  {
    let authenticator = InboundAuthenticator { name, type, _ in
      guard type == .txt, let text = Self.zone[name] else { return DNSAnswer(status: .noSuchName) }
      return text == "!"
        ? DNSAnswer(status: .unknown("SERVFAIL")) : DNSAnswer(status: .found, records: [[UInt8(text.utf8.count)] + Array(text.utf8)])
    }
    let mail = ReceivedMail(
      session: InboundSession(peer: peer, clientName: helo), returnPath: returnPath, recipients: ["r@us.example"],
      content: MailContent(Array("\(signature)From: \(author)\r\n\r\nhi\r\n".utf8)), receivedAt: 1_800_000_000_000)
    return try #require(await authenticator.judge(mail))
  }

  @Test func verdicts() async throws {
    let good = try await judge(from: "a@s.example", author: "A <a@news.s.example>")
    #expect(good.description == "spf=pass smtp.mailfrom=s.example; dmarc=pass header.from=news.s.example")
    #expect(try await judge(from: "", author: "a@s.example").dmarc == .pass)
    let forged = try await judge(from: "a@s.example", author: "a@s.example", peer: "192.0.2.9")
    #expect(forged.spf == .fail && forged.dmarc == .fail)
    let soft = try await judge(from: "a@soft.example", author: "a@soft.example")
    #expect(soft.spf == .softfail && soft.dmarc == .fail)
    #expect(try await judge(from: "a@failing.example", author: "a@other.example").spf == .temperror)
    let strange = try await judge(from: "a@nothing.example", author: "a@x.example, b@y.example", helo: "nothing")
    #expect(strange.spf == .none && strange.author == "" && strange.dmarc == .none)
    let broken = try await judge(from: "a@s.example", author: "a@s.example", signature: "DKIM-Signature: v=1; d=s.example\r\n")
    #expect(broken.dkim.map(\.result) == [.permerror] && broken.dmarc == .pass)
  }
}
