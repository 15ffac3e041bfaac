import MTAConfig
import NIOCore
import Testing

@testable import supervisor

@Suite struct InspectorDialectTests {
  private static func inspector(_ kind: MTAConfig.Inspector.Kind, above: Double? = nil) -> MTAConfig.Inspector {
    var inspector = MTAConfig.Inspector(kind: kind, address: .tcp(host: "h.example", port: 7))
    inspector.rejectAbove = above
    return inspector
  }

  private static func http(_ body: String, status: String = "200 OK") -> String {
    "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  private static func spamd(_ spam: String) -> String { "SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: \(spam)\r\n\r\nA,B" }

  /// (inspector, answer, verdict; nil = cannot be read)
  private static let answers: [(MTAConfig.Inspector, String, InspectorDialect.Verdict?)] = [
    (inspector(.rspamd, above: 15), http("{\"action\":\"no action\",\"score\":0.1}"), .clean),
    (inspector(.rspamd, above: 15), http("{\"action\":\"add header\",\"score\":15}"), .clean),
    (
      inspector(.rspamd, above: 15), http("{\"action\":\"add header\",\"score\":15.01}"), .rejected("rspamd: action add header, score 15.0")
    ),
    (inspector(.rspamd, above: 15), http("{\"action\":\"reject\",\"score\":9}"), .rejected("rspamd: action reject, score 9.0")),
    (inspector(.rspamd, above: 15), http("{\"action\":\"soft reject\",\"score\":4}"), .clean),
    (inspector(.rspamd, above: 15), http("{\"error\":\"x\"}"), nil), (inspector(.rspamd, above: 15), http("{}", status: "500 No"), nil),
    (inspector(.rspamd, above: 15), http("[1"), nil), (inspector(.rspamd, above: 15), "nonsense", nil),
    (inspector(.spamassassin), spamd("False ; 4.9 / 5.0"), .clean),
    (inspector(.spamassassin), spamd("True ; 5.0 / 5.0"), .rejected("spamassassin: score 5.0")),
    (inspector(.spamassassin, above: 8), spamd("True ; 8.0 / 5.0"), .clean),
    (inspector(.spamassassin, above: 8), spamd("True ; 8.1 / 5.0"), .rejected("spamassassin: score 8.1")),
    (inspector(.spamassassin, above: -1), spamd("False ; -0.5 / 5.0"), .rejected("spamassassin: score -0.5")),
    (inspector(.spamassassin), "SPAMD/1.1 76 Bad header line: x\r\n\r\n", nil), (inspector(.spamassassin), spamd("perhaps"), nil),
    (inspector(.spamassassin), spamd("True ; nan / 5.0"), nil), (inspector(.spamassassin), "", nil),
    (inspector(.clamav), "stream: OK\0", .clean),
    (inspector(.clamav), "stream: Eicar-Test-Signature FOUND\0", .rejected("clamav: Eicar-Test-Signature")),
    (inspector(.clamav), "INSTREAM size limit exceeded. ERROR\0", nil), (inspector(.clamav), "UNKNOWN COMMAND\0", nil),
  ]

  @Test(arguments: answers.indices)
  func verdicts(index: Int) {
    let (inspector, answer, expected) = Self.answers[index]
    let verdict = try? InspectorDialect.verdict(inspector, ByteBuffer(string: answer))
    #expect(verdict == expected, "\(answer)")
  }

  @Test func anAnswerIsWholeByItsLengthOrItsEnd() {
    let whole = Self.http("{\"action\":\"reject\",\"score\":9}")
    #expect(InspectorDialect.isComplete(.rspamd, ByteBuffer(string: whole)))
    for cut in [1, 10, whole.utf8.count - 5] {
      #expect(!InspectorDialect.isComplete(.rspamd, ByteBuffer(string: String(whole.dropLast(cut)))))
    }
    #expect(!InspectorDialect.isComplete(.spamassassin, ByteBuffer(string: "SPAMD/1.1 0 EX_OK\r\n\r\nno length: until it closes")))
    #expect(InspectorDialect.isComplete(.clamav, ByteBuffer(string: "stream: OK\0")))
    #expect(!InspectorDialect.isComplete(.clamav, ByteBuffer(string: "stream: OK")))
  }

  @Test func clamdGetsChunksWithTheirLengths() {
    let octets = [UInt8](repeating: 65, count: InspectorDialect.chunk + 3)
    let mail = InspectedMail(returnPath: "r@b.example", recipient: "u@b.example", organisation: "o", messageID: "m", octets: octets)
    var question = InspectorDialect.question(Self.inspector(.clamav), mail)[0]
    #expect(question.readString(length: 10) == "zINSTREAM\0")
    #expect(question.readInteger(as: UInt32.self) == UInt32(InspectorDialect.chunk))
    question.moveReaderIndex(forwardBy: InspectorDialect.chunk)
    #expect(question.readInteger(as: UInt32.self) == 3 && question.readString(length: 3) == "AAA")
    #expect(question.readInteger(as: UInt32.self) == 0 && question.readableBytes == 0)
  }
}
