import MailModel
import Testing

@Suite struct RecordTests {
  @Test func messageRecordSurvives() throws {
    var record = MessageRecord(
      messageID: "m1", workAttemptID: "w1", organisation: "org ä", recipient: "a@b.example", pool: "p", dkimDomain: "d.example",
      returnPathLocal: "bounce+x", returnPathHost: "h.example", acceptedAt: 1_795_521_685_661, expiresAt: -1,
      deliveryDomain: "production", contentSize: 12)
    record.tags = ["one", "two"]
    record.isSealed = true
    record.messageIDField = "<a@b>"
    #expect(try MessageRecord(decoding: record.encoded()) == record)
  }

  @Test func contentSurvives() throws {
    var content = MessageContent(authorName: "N", authorAddress: "a@b.example", subject: "S")
    content.html = String(repeating: "é", count: 70_000)
    content.headers = [HeaderField(name: "X-A", value: "1"), HeaderField(name: "X-B", value: "")]
    content.attachments = [.init(filename: "f", contentType: "a/b", content: [0, 1, 255], contentID: "c", isInline: true)]
    #expect(try MessageContent(decoding: content.encoded()) == content)
  }

  @Test func resultSurvivesWithItsReply() throws {
    var result = AttemptResult(kind: .replied, sourceIP: "192.0.2.1", at: 5)
    result.stage = .rcpt
    result.reply = SMTPReply(code: 550, lines: ["5.1.1 first", "second"])
    result.crashed = true
    let read = try AttemptResult(decoding: result.encoded()[...])
    #expect(read == result)
    #expect(read.reply?.enhanced == EnhancedStatusCode(5, 1, 1))
  }

  /// Every truncation and every flipped octet ends in an error or a record, never in a trap.
  @Test func damageIsAnError() {
    var record = MessageRecord(
      messageID: "m1", workAttemptID: nil, organisation: "o", recipient: "a@b.example", pool: "p", dkimDomain: "d",
      returnPathLocal: "l", returnPathHost: "h", acceptedAt: 1, expiresAt: 2, deliveryDomain: "production", contentSize: 3)
    record.tags = ["t"]
    let bytes = record.encoded()
    for end in 0..<bytes.count { _ = try? MessageRecord(decoding: Array(bytes[..<end])) }
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= 0xFF
      _ = try? MessageRecord(decoding: damaged)
    }
    #expect(throws: RecordError.self) { try MessageRecord(decoding: [1, 200]) }
  }

  @Test func unknownFieldsAreSkipped() throws {
    var writer = RecordWriter()
    writer.put(200, "from a newer version")
    let route = Route(
      hosts: [.init(name: "mx", addresses: ["192.0.2.1", "2001:db8::1"])], port: 25, tls: .require, maxConnections: 3,
      maxDeliveriesPerConnection: 9, validUntil: 7)
    #expect(try Route(decoding: writer.bytes + route.encoded()) == route)
  }

  @Test(arguments: [Int64.min, -1, 0, 1, 127, 128, 1 << 40, Int64.max])
  func integersSurvive(value: Int64) throws {
    var writer = RecordWriter()
    writer.put(1, value)
    var reader = RecordReader(writer.bytes)
    #expect(try reader.next()?.int64 == value)
  }

  @Test func numbersSortAsText() {
    #expect(MessageNumber(255).description == "00000000000000ff")
    #expect(MessageNumber("00000000000000ff") == MessageNumber(255))
    #expect(MessageNumber("ff") == nil)
  }

  @Test func eventTextIsCutAtTheReceiversLimit() {
    var event = DeliveryEvent(.bounced)
    event.set("message", String(repeating: "𝒳", count: 400))
    guard case .text(let text)? = event["message"] else { return #expect(Bool(false)) }
    #expect(text.utf16.count == 512)
    #expect(event.json.hasPrefix("{\"event\":\"bounced\",\"message\":\""))
    #expect(JSONText.quoted("a\"\\\n\u{1}") == "\"a\\\"\\\\\\n\\u0001\"")
  }
}
