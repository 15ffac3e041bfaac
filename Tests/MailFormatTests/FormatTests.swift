import MailFormat
import MailModel
import Testing

@Suite struct EncodingTests {
  @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")])
  func base64VectorsOfRFC4648(plain: String, encoded: String) {
    #expect(Base64.string(Array(plain.utf8)) == encoded)
    #expect(Base64.decode(encoded) == Array(plain.utf8))
  }

  @Test(arguments: ["!!", "Zg=", "Zg", "Z", "Zg==Zg==", "Zm9v="])
  func base64IsStrict(text: String) { #expect(Base64.decode(text) == nil) }

  @Test(arguments: [
    ("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("fooba", "mzxw6ytb"), ("foobar", "mzxw6ytboi"),
  ])
  func base32VectorsOfRFC4648(plain: String, encoded: String) {
    #expect(Base32.encode(Array(plain.utf8)) == encoded)
    #expect(Base32.decode(encoded.uppercased()) == Array(plain.utf8))
  }

  @Test func quotedPrintableKeepsItsLines() {
    let text = String(repeating: "Grüße = x ", count: 40) + "\n.dot\nend "
    let encoded = String(decoding: QuotedPrintable.encode(text), as: UTF8.self)
    #expect(encoded.split(separator: "\r\n", omittingEmptySubsequences: false).allSatisfy { $0.utf8.count <= 76 })
    #expect(encoded.hasSuffix("end=20"))
    #expect(encoded.contains("\r\n.dot\r\n"))
    #expect(encoded.utf8.allSatisfy { $0 < 0x80 })
  }

  @Test func compressionSurvivesAndRefusesDamage() throws {
    let plain = Array(String(repeating: "hello ", count: 5000).utf8)
    let packed = Compression.compress(plain)
    #expect(packed.count < plain.count / 10)
    #expect(try Compression.decompress(packed, limit: 1 << 20) == plain)
    #expect(throws: Compression.Failure.tooLarge) { try Compression.decompress(packed, limit: 100) }
    #expect(throws: Compression.Failure.self) { try Compression.decompress(Array(packed.dropLast(3)), limit: 1 << 20) }
    #expect(throws: Compression.Failure.self) { try Compression.decompress([1, 2, 3], limit: 1 << 20) }
  }

  @Test(
    arguments: [
      (0, "Thu, 1 Jan 1970 00:00:00 +0000"), (1_795_521_685_000, "Tue, 24 Nov 2026 12:01:25 +0000"),
      (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
    ] as [(Int64, String)])
  func dates(ms: Int64, text: String) { #expect(RFC5322Date.string(ms) == text) }

  @Test func textOfHTML() {
    #expect(PlainText.from(html: "<style>p{}</style><p>Hi &amp; bye</p><p>two<br>three</p>&#8364;") == "Hi & bye\ntwo\nthree\n€")
    #expect(PlainText.from(html: "a < b") == "a < b")
  }
}

@Suite struct VERPTests {
  let signer = VERPSigner(key: "0123456789abcdef0123456789abcdef", installation: "mta")

  @Test func tokensFitAndSurviveACaseFold() {
    let token = signer.token(MessageNumber(UInt64.max))
    let local = VERPSigner.prefix + token
    #expect(local.utf8.count <= 64)
    #expect(signer.verify(localPart: local, now: 0) == .message(MessageNumber(UInt64.max)))
    #expect(signer.verify(localPart: local.uppercased(), now: 0) == .message(MessageNumber(UInt64.max)))
  }

  @Test func everyChangedCharacterIsForged() {
    let token = Array(signer.token(MessageNumber(7)))
    for index in token.indices {
      var changed = token
      changed[index] = changed[index] == "a" ? "b" : "a"
      #expect(signer.verify(localPart: "bounce+" + String(changed), now: 0) == .forged)
    }
    let other = VERPSigner(key: "0123456789abcdef0123456789abcdeX", installation: "mta")
    let neighbour = VERPSigner(key: "0123456789abcdef0123456789abcdef", installation: "other")
    for stranger in [other, neighbour] {
      #expect(signer.verify(localPart: "bounce+" + stranger.token(MessageNumber(7)), now: 0) == .forged)
    }
    #expect(signer.verify(localPart: "postmaster", now: 0) == .notVERP)
  }

  /// `bounce+<b64url(id)>+<mac14>`, good on its day and six more.
  @Test func upstreamsFormIsVerified() {
    let day: Int64 = 20_000 * 86_400_000
    let mac = Base64.string(Digest.hmacSHA256(key: Array("0123456789abcdef0123456789abcdef".utf8), Array("c2VuZF8x:20000".utf8)))
      .replacing("+", with: "-").replacing("/", with: "_").prefix(14)
    let local = "bounce+c2VuZF8x+\(mac)"
    #expect(signer.verify(localPart: local, now: day) == .messageID("send_1"))
    #expect(signer.verify(localPart: local, now: day + 6 * 86_400_000) == .messageID("send_1"))
    #expect(signer.verify(localPart: local, now: day + 7 * 86_400_000) == .forged)
    #expect(signer.verify(localPart: local, now: day - 1) == .forged)
  }
}

@Suite struct RenderingTests {
  func record() -> MessageRecord {
    MessageRecord(
      messageID: "m-1", workAttemptID: nil, organisation: "org", recipient: "to@b.example", pool: "p", dkimDomain: "a.example",
      returnPathLocal: "bounce+tok", returnPathHost: "h.example", acceptedAt: 0, expiresAt: 1, deliveryDomain: "production", contentSize: 1)
  }

  @Test func everyLineKeepsItsLimitAndNoHeaderIsInjected() throws {
    var content = MessageContent(
      authorName: "Jörg \"X\" <y>", authorAddress: "j@a.example", subject: String(repeating: "Ünïcødé wörds ", count: 60))
    content.text = String(repeating: "x", count: 5000) + "\n.\n" + "From here"
    content.html = "<p>\u{1F600}</p>"
    content.headers = [HeaderField(name: "X-Long", value: String(repeating: "word ", count: 190)), HeaderField(name: "Bcc", value: "x@y")]
    content.attachments = [
      .init(filename: "ä\"b.pdf", contentType: "application/pdf", content: Array(0...255), contentID: nil, isInline: false)
    ]
    let message = try MessageRenderer.render(record(), content)
    let octets = message.octets
    #expect(octets.allSatisfy { $0 < 0x80 })
    let text = String(decoding: octets, as: UTF8.self)
    #expect(text.split(separator: "\r\n", omittingEmptySubsequences: false).allSatisfy { $0.utf8.count <= 998 })
    #expect(!text.replacing("\r\n", with: "").contains("\n") && !text.replacing("\r\n", with: "").contains("\r"))
    #expect(!text.lowercased().contains("\r\nbcc:"))
    #expect(text.hasPrefix("Message-ID: <tok@a.example>\r\nDate: Thu, 1 Jan 1970"))
    #expect(text.contains("multipart/mixed") && text.contains("multipart/alternative"))
  }

  /// RFC 6376 §3.4.4 and §3.4.5, by a signature that any change of white space inside a line would keep and any other break.
  @Test func signaturesStandOnTheirOwn() throws {
    let key = try DKIMKey(domain: "a.example", selector: "s1", pem: DKIMKey.generate())
    var content = MessageContent(authorName: nil, authorAddress: "j@a.example", subject: "Hi")
    content.text = "body"
    let message = try MessageRenderer.render(record(), content)
    let field = String(decoding: try DKIMSigner.signatures(of: message, with: [key], now: 1_795_521_685_000)[0], as: UTF8.self)
    for part in ["v=1", "a=rsa-sha256", "c=relaxed/relaxed", "d=a.example", "s=s1", "t=1795521685", "bh=", "b="] {
      #expect(field.contains(part))
    }
    let names = field.replacing("\r\n\t", with: "").replacing(" ", with: "").components(after: "h=").split(separator: ":").map {
      $0.lowercased()
    }
    #expect(
      names.filter { $0 == "from" }.count == 2 && names.filter { $0 == "subject" }.count == 2 && names.filter { $0 == "to" }.count == 2)
    #expect(key.dnsRecord.hasPrefix("v=DKIM1; k=rsa; p=MII"))
    #expect(throws: RenderError.self) { try DKIMKey(domain: "a", selector: "s", pem: "nonsense") }
  }
}

extension String {
  fileprivate func components(after mark: String) -> String {
    guard let start = firstRange(of: mark)?.upperBound, let end = self[start...].firstIndex(of: ";") else { return "" }
    return String(self[start..<end])
  }
}
