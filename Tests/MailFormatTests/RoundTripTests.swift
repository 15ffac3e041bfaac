import Foundation
import MailModel
import TestSupport
import Testing

@testable import MailFormat

/// What goes in as fields comes out of an independent parser (Python's email package, strict policy): generated Unicode,
/// lengths and nestings.
@Suite struct RoundTripTests {
  /// Deterministic, so that a failure can be had again.
  struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  static let words = [
    "plain", "Grüße", "日本語のテキスト", "emoji👩‍👩‍👧‍👦", "кириллица", "=?utf-8?q?no?=", "a\"b\\c", "عربى", "x,y;z", "<tag>", "100%", "ﬁ", ".", "..",
    "From me", "-",
    String(repeating: "long", count: 40), "e\u{301}", "tab\tbed", "ümlaut-ümlaut-ümlaut-ümlaut-ümlaut-ümlaut",
  ]

  static func text(_ generator: inout Generator, _ range: ClosedRange<Int>, separators: [String]) -> String {
    var text = ""
    for index in 0..<Int.random(in: range, using: &generator) {
      if index > 0 { text += separators.randomElement(using: &generator) ?? " " }
      text += words.randomElement(using: &generator) ?? ""
    }
    return text
  }

  @Test func fieldsAndPartsComeOutAsTheyWentIn() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    var generator = Generator(state: 20_261_124)
    var expected: [[String: Any]] = []
    for index in 0..<150 {
      let lineEnds = ["\n", "\r\n", " ", " ", "\n\n", "\n.", "\nFrom ", " \n", "\n--"]
      var content = MessageContent(
        authorName: Bool.random(using: &generator) ? Self.text(&generator, 1...3, separators: [" "]).replacing("\t", with: "") : nil,
        authorAddress: "news@sender.example", subject: Self.text(&generator, 1...12, separators: [" "]).replacing("\t", with: ""))
      content.text = Self.text(&generator, 1...60, separators: lineEnds)
      if index % 3 != 0 { content.html = "<p>" + Self.text(&generator, 1...60, separators: lineEnds) + "</p>" }
      if index % 5 == 1, content.html != nil {
        content.amp = "<!doctype html><html ⚡4email>" + Self.text(&generator, 1...9, separators: [" "]) + "</html>"
      }
      content.headers = [
        HeaderField(name: "X-Thing", value: Self.text(&generator, 1...9, separators: [" "]).replacing("\t", with: "")),
        HeaderField(
          name: "List-Unsubscribe", value: "<https://u.example/\(String(repeating: "x", count: index * 5))>, <mailto:u@u.example>"),
        HeaderField(name: "In-Reply-To", value: "<a.\(index)@x.example>"),
      ]
      for number in 0..<(index % 4) {
        let name = "\(number) " + (["plain.pdf", "Übersicht 1.pdf", "quo\"te.txt", "日本.csv"].randomElement(using: &generator) ?? "")
        let octets = (0..<Int.random(in: 0...3000, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let isInline = number == 0 && content.html != nil
        content.attachments.append(
          .init(
            filename: name, contentType: number == 2 ? "text/calendar" : "application/octet-stream", content: octets,
            contentID: isInline ? "img\(number)@x" : nil, isInline: isInline))
      }
      let record = MessageRecord(
        messageID: "m-\(index)", workAttemptID: nil, organisation: "acme", recipient: "u@b.example", pool: "p",
        dkimDomain: "sender.example",
        returnPathLocal: "bounce+token\(index)", returnPathHost: "b.example", acceptedAt: 1_795_521_685_000, expiresAt: 0,
        deliveryDomain: "production", contentSize: 0)
      let message = try MessageRenderer.render(record, content)
      let octets = message.octets
      #expect(!octets.contains { $0 >= 0x80 }, "message \(index) is 7-bit")
      for line in String(decoding: octets, as: UTF8.self).components(separatedBy: "\r\n") {
        #expect(line.utf8.count <= 998 && !line.contains("\n") && !line.contains("\r"), "message \(index)")
      }
      try Data(octets).write(to: URL(fileURLWithPath: scratch.file("\(index).eml")))
      expected.append([
        "subject": content.subject, "author": content.authorName ?? "", "text": content.text ?? "", "html": content.html ?? "",
        "amp": content.amp ?? "", "headers": content.headers.map { [$0.name, $0.value] },
        "attachments": content.attachments.map {
          [$0.filename, $0.contentType, Data($0.content).base64EncodedString(), $0.contentID ?? ""]
        },
      ])
    }
    _ = try scratch.write("expected.json", String(decoding: try JSONSerialization.data(withJSONObject: expected), as: UTF8.self))
    let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? "python3"
    let script = FileManager.default.currentDirectoryPath + "/Tests/Fixtures/roundtrip.py"
    let judged = try run(python, [script, scratch.path])
    #expect(judged.output == "150\n", "\(judged.errors)")
  }
}
