import MailModel
import SMTPProtocol
import Testing

@Suite struct ReplyParserTests {
  func parse(_ text: String, chunk: Int = .max) throws -> [SMTPReply] {
    var parser = SMTPReplyParser()
    var replies: [SMTPReply] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: min(chunk, bytes.count)) {
      try parser.feed(bytes[start..<min(start + min(chunk, bytes.count), bytes.count)]) { replies.append($0) }
    }
    return replies
  }

  @Test func severalLinesAreOneReplyWholeHoweverTheyArrive() throws {
    let text = "250-mx.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n354 go\n550-5.1.1 no\r\n550 5.1.1 user\r\n"
    for chunk in [1, 2, 7, 1000] {
      let replies = try parse(text, chunk: chunk)
      #expect(replies.map(\.code) == [250, 354, 550])
      #expect(replies[0].lines == ["mx.example", "PIPELINING", "SIZE 10"])
      #expect(replies[2].enhanced == EnhancedStatusCode(5, 1, 1))
      #expect(replies[2].text == "550 5.1.1 no 5.1.1 user")
    }
  }

  @Test(arguments: ["hello\r\n", "25\r\n", "250x\r\n", "250-a\r\n251 b\r\n", "150 what\r\n", "\r\n", "650 what\r\n"])
  func nonsenseIsMalformed(text: String) { #expect(throws: SMTPProtocolError.self) { try parse(text) } }

  @Test func limitsHold() {
    #expect(throws: SMTPProtocolError.tooLong) { try parse("250 " + String(repeating: "x", count: 5000) + "\r\n") }
    #expect(throws: SMTPProtocolError.tooLong) { try parse(String(repeating: "250-x\r\n", count: 101)) }
    #expect(throws: SMTPProtocolError.tooLong) {
      try parse(String(repeating: "250-" + String(repeating: "y", count: 1000) + "\r\n", count: 70))
    }
    #expect(throws: SMTPProtocolError.tooLong) { try parse(String(repeating: "z", count: 100_000)) }
  }

  @Test func replyTextIsMadeHarmless() throws {
    #expect(try parse("550 a\u{1B}[2Jb\u{0}\r\n")[0].lines == ["a?[2Jb?"])
  }

  @Test(arguments: [
    ("5.1.1 x", 550, true), ("4.1.1 x", 550, false), ("5.1.1000 x", 550, false), ("5.1 x", 550, false), ("2.0.0", 250, true),
  ])
  func enhancedCodesMustFitTheirReply(text: String, code: Int, fits: Bool) {
    #expect((SMTPReply(code: code, lines: [text]).enhanced != nil) == fits)
  }

  @Test(arguments: [
    ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"), (".a\r\n", "..a\r\n.\r\n"), ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n"), ("a", "a\r\n.\r\n"),
    ("", "\r\n.\r\n"),
  ])
  func dotsAreStuffed(message: String, octets: String) {
    #expect(String(decoding: DotStuffing.stuff(Array(message.utf8)), as: UTF8.self) == octets)
  }

  @Test func capabilities() {
    let reply = SMTPReply(code: 250, lines: ["mx", "PIPELINING", "size 123", "8BITMIME", "STARTTLS", "X-NEW thing"])
    let capabilities = SMTPCapabilities(ehlo: reply)
    #expect(capabilities.pipelining && capabilities.eightBitMIME && capabilities.startTLS && !capabilities.smtpUTF8)
    #expect(capabilities.size == 123)
  }
}
