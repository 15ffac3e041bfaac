import Foundation
import Testing

@testable import supervisor

/// A received mail as its endpoint gets it.
@Suite struct InboundPayloadTests {
  static func json(_ date: String) -> String {
    InboundPayload(
      octets: Array("From: a@remote.example\r\nDate: \(date)\r\n\r\nx\r\n".utf8), returnPath: "a@remote.example", recipient: "b@in.example"
    ).json
  }

  /// Whatever a sender writes for a year is no reason to end.
  @Test(arguments: [
    "1 Jan 999999999 00:00:00 +0000", "1 Jan 99999999999999999999 00:00:00 +0000", "1 Jan -292277022399 00:00:00 +0000",
    "Tue, 24 Nov 10000 12:00:00 +0000", "never",
  ])
  func aDateOfAnyYearIsLeftOut(_ date: String) {
    let json = Self.json(date)
    #expect(json.contains("\"date\":\"\(date)\""), "the header itself stays")
    #expect(json.components(separatedBy: "\"date\"").count == 2)
  }

  @Test func aDateIsTold() {
    #expect(Self.json("Tue, 24 Nov 2026 12:00:00 +0000 (later)").contains("\"date\":\"2026-11-24T12:00:00.000Z\""))
  }
}
