import Testing

@testable import MailFormat

/// Eight bits into seven: structure, texts and what may not be touched.
@Suite struct SevenBitConversionTests {
  static func message(_ text: String) throws -> RenderedMessage {
    try MessageRenderer.split(Array(text.replacingOccurrences("\n", "\r\n").utf8))
  }

  static func text(_ message: RenderedMessage?) -> String? {
    message.map { String(decoding: $0.octets, as: UTF8.self).replacingOccurrences("\r\n", "\n") }
  }

  @Test func textBecomesQuotedPrintable() throws {
    let converted = SevenBitConversion.convert(
      try Self.message("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n=x\n"))
    #expect(
      Self.text(converted)
        == "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n=3Dx\n")
  }

  @Test func withoutAFieldOneIsAdded() throws {
    let converted = SevenBitConversion.convert(try Self.message("Subject: a\n\né\n"))
    #expect(Self.text(converted) == "Subject: a\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n")
  }

  @Test func otherPartsBecomeBase64AndTheirNeighboursStay() throws {
    let source = """
      Content-Type: multipart/mixed; boundary="b=_1"
      Content-Transfer-Encoding: 8bit

      préamble
      --b=_1
      Content-Type: text/plain

      plain, as it is
      --b=_1
      Content-Type: application/octet-stream
      Content-Transfer-Encoding: binary

      é
      --b=_1
      Content-Type: message/rfc822

      Subject: inner

      ü
      --b=_1--

      """
    let wanted = """
      Content-Type: multipart/mixed; boundary="b=_1"
      Content-Transfer-Encoding: 7bit

      pr??amble
      --b=_1
      Content-Type: text/plain

      plain, as it is
      --b=_1
      Content-Type: application/octet-stream
      Content-Transfer-Encoding: base64

      w6k=

      --b=_1
      Content-Type: message/rfc822
      Content-Transfer-Encoding: 7bit

      Subject: inner
      Content-Transfer-Encoding: quoted-printable

      =C3=BC
      --b=_1--

      """
    let converted = SevenBitConversion.convert(try Self.message(source))
    #expect(Self.text(converted) == wanted)
    #expect(converted?.isEightBit == false)
  }

  @Test(arguments: [
    "Subject: é\n\nx é\n",
    "Content-Type: multipart/signed; boundary=b\n\n--b\n\né\n--b--\n",
    "Content-Type: multipart/mixed; boundary=b\n\n--b\n\né\n",
    "Content-Type: multipart/mixed\n\n--b\n\né\n--b--\n",
    "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\né\n",
    "Content-Type: message/partial\n\né\n",
  ])
  func whatMayNotBeTouched(source: String) throws {
    #expect(SevenBitConversion.convert(try Self.message(source)) == nil)
  }

  @Test func endlessNestingIsLeftAlone() throws {
    let nested = String(repeating: "Content-Type: message/rfc822\n\n", count: 200) + "Subject: x\n\né\n"
    #expect(SevenBitConversion.convert(try Self.message(nested)) == nil)
  }

  @Test func sevenBitsStayAsTheyAre() throws {
    let source = "Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\nplain\n"
    #expect(Self.text(SevenBitConversion.convert(try Self.message(source))) == source)
  }
}

extension String {
  fileprivate func replacingOccurrences(_ a: String, _ b: String) -> String {
    split(separator: a, omittingEmptySubsequences: false).joined(separator: b)
  }
}
