import SMTPProtocol
import Testing

/// Where lines and content end: CRLF and nothing else, however the octets are cut into pieces.
@Suite struct LineEndTests {
  static let lines: [(String, CommandLine.Found)] = [
    ("QUIT\r\n", .line(length: 4)), ("\r\n", .line(length: 0)), ("QUIT\r", .incomplete(scanned: 5)), ("", .incomplete(scanned: 0)),
    ("QUIT\n", .bareLineEnd), ("\n", .bareLineEnd), ("QU\rIT\r\n", .bareLineEnd), ("QUIT\r\r\n", .bareLineEnd),
    ("MAIL\nRCPT\r\n", .bareLineEnd), ("NOOP\r\nQUIT\n", .line(length: 4)), (String(repeating: "x", count: 30), .tooLong),
    (String(repeating: "x", count: 18) + "\r\n", .line(length: 18)), (String(repeating: "x", count: 19) + "\r\n", .tooLong),
  ]

  @Test(arguments: lines) func commandLines(text: String, found: CommandLine.Found) {
    #expect(Array(text.utf8).withUnsafeBytes { CommandLine.find(in: $0, scanned: 0, limit: 20) } == found)
    // Octet by octet: the same, from where the look before ended.
    var scanned = 0
    var last = CommandLine.Found.incomplete(scanned: 0)
    for count in 0...text.utf8.count {
      last = Array(text.utf8.prefix(count)).withUnsafeBytes { CommandLine.find(in: $0, scanned: scanned, limit: 20) }
      guard case .incomplete(let next) = last else { break }
      scanned = next
    }
    #expect(last == found)
  }

  struct Content: Sendable, CustomTestStringConvertible {
    var input: String
    /// Nil when the end is to come.
    var output: String?
    var rest = ""
    var isBare = false
    var testDescription: String { input.debugDescription }
  }

  static let contents: [Content] = [
    Content(input: "hi\r\n.\r\n", output: "hi\r\n"), Content(input: ".\r\n", output: ""),
    Content(input: "..\r\n.a\r\n.\r\nQUIT\r\n", output: ".\r\na\r\n", rest: "QUIT\r\n"), Content(input: "a\r\n.", output: nil),
    Content(input: "a\r\n.\r", output: nil), Content(input: "a.\r\n", output: nil), Content(input: "a\r\n..\r\n", output: nil),
    // Ends that some server somewhere takes for one: all of them are content here, and spoil the message.
    Content(input: "a\n.\n", output: nil, isBare: true), Content(input: "a\n.\r\n", output: nil, isBare: true),
    Content(input: "a\r.\r", output: nil, isBare: true), Content(input: "a\r.\r\n", output: nil, isBare: true),
    Content(input: "a\r\n.\n", output: nil, isBare: true), Content(input: "a\r\n.\rb", output: nil, isBare: true),
    Content(input: "a\n\n.\r\n", output: nil, isBare: true), Content(input: "a\n.\r\r\n", output: nil, isBare: true),
    Content(input: "a\r\r\n.\r\r\n", output: nil, isBare: true), Content(input: "a\r\r.\r\n\r\n", output: nil, isBare: true),
    Content(input: "a\r\n\0.\r\n", output: nil), Content(input: "a\r\n.\0\r\n", output: nil),
    Content(input: "a\n..\r\n", output: nil, isBare: true),
    // The smuggled dialogue stays content; the true end comes after it.
    Content(input: "a\n.\r\nMAIL FROM:<x@y.z>\r\n.\r\nQUIT\r\n", output: "", rest: "QUIT\r\n", isBare: true),
    Content(input: "a\r\n.\nMAIL FROM:<x@y.z>\r\nDATA\r\nb\r\n.\r\n", output: "", isBare: true),
  ]

  @Test(arguments: contents) func content(_ content: Content) {
    let octets = Array(content.input.utf8)
    for size in [1, 2, 3, 5, 4096] {
      var reader = MailContentReader()
      var output: [UInt8] = []
      var end: Int?
      var start = 0
      while start < octets.count, end == nil {
        let piece = Array(octets[start..<min(start + size, octets.count)])
        if let consumed = piece.withUnsafeBytes({ reader.feed($0) { output += $0 } }) { end = start + consumed }
        start += piece.count
      }
      #expect(reader.hasBareLineEnd == content.isBare)
      #expect((end == nil) == (content.output == nil))
      guard let end else { continue }
      #expect(String(decoding: octets[end...], as: UTF8.self) == content.rest)
      if !content.isBare { #expect(String(decoding: output, as: UTF8.self) == content.output) }
    }
  }

  /// What our own side stuffs comes out as it was.
  @Test func stuffedContentComesBack() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      let words = ["a", ".", "..", "\r\n", "\r\n.", "bc"]
      let text = (0..<Int.random(in: 0...20, using: &generator)).map { _ in words.randomElement(using: &generator) ?? "" }.joined() + "\r\n"
      let stuffed = DotStuffing.stuff(Array(text.utf8))
      var reader = MailContentReader()
      var output: [UInt8] = []
      let end = stuffed.withUnsafeBytes { reader.feed($0) { output += $0 } }
      #expect(end == stuffed.count && output == Array(text.utf8), "\(text.debugDescription)")
    }
  }
}
