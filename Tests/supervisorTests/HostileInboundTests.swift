import Foundation
import SMTPProtocol
import TestSupport
import Testing

@testable import supervisor

/// Mails as large as the listeners take them (10 MiB, submitted 25 MiB) that are made to cost more than they look.
@Suite(.serialized) struct HostileInboundTests {
  struct Bomb: Sendable, CustomTestStringConvertible {
    let name: String
    let make: @Sendable () -> [UInt8]
    var testDescription: String { name }
  }

  private static func times(_ count: Int, _ unit: String) -> [UInt8] { Array(repeatElement(Array(unit.utf8), count: count).joined()) }
  private static func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
  private static let head = "From: a@b.example\r\nTo: c@d.example\r\n"

  private static let bombs: [Bomb] = [
    Bomb(name: "a million fields") { octets(head) + times(1_000_000, "X-M: a\r\n") + octets("\r\nx\r\n") },
    Bomb(name: "a thousand fields of one name") { octets(head) + times(990, "X-Many: " + String(repeating: "a ", count: 120) + "\r\n\r\n") },
    Bomb(name: "a field of 10 MiB") { octets(head + "Subject: ") + times(10 << 20, "a") + octets("\r\n\r\nx\r\n") },
    Bomb(name: "addresses without end") { octets("From: ") + times(600_000, "<a@b.example>, ") + octets("\r\n\r\nx\r\n") },
    Bomb(name: "a million parts") {
      octets(head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n") + times(1_000_000, "--b\r\n\r\nx\r\n")
    },
    Bomb(name: "many attachments") {
      octets(head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n")
        + times(200, "--b\r\nContent-Disposition: attachment; filename=f\r\n\r\n" + String(repeating: "x", count: 50_000) + "\r\n")
    },
    Bomb(name: "messages within each other") { octets(head) + times(300_000, "Content-Type: message/rfc822\r\n\r\n") },
    Bomb(name: "quotes that need escapes") { octets(head + "Content-Type: text/plain\r\n\r\n") + times(5 << 20, "\u{1}") },
    Bomb(name: "open tags") { octets(head + "Content-Type: text/html\r\n\r\n") + times(2_000_000, "<a") },
  ]

  /// What a route's endpoint gets carries the mail as text: a few times its size, never more.
  @Test(arguments: bombs) func payloadsAreInProportion(_ bomb: Bomb) throws {
    let octets = bomb.make()
    let start = ContinuousClock.now
    let (json, peak) = try PeakMemory.during { InboundPayload(octets: octets, returnPath: "", recipient: "c@d.example").json }
    let took = ContinuousClock.now - start
    print("payload of \(bomb.name): \(octets.count >> 10) KiB, \(json.utf8.count >> 10) KiB, peak \(peak) KiB, \(took)")
    #expect(took < .seconds(30))
    #expect(json.utf8.count < 2 * octets.count + (8 << 20))
    #expect(peak < 160 * 1024)
  }

  @Test(arguments: bombs) func submissionsAndUnsubscribesAreInProportion(_ bomb: Bomb) throws {
    let octets = bomb.make()
    let start = ContinuousClock.now
    let (_, peak) = try PeakMemory.during {
      _ = UnsubscribeMail.token(octets)
      _ = try? SubmittedMessage(octets).complete(id: "i", host: "h.example", now: 0)
    }
    let took = ContinuousClock.now - start
    print("submission of \(bomb.name): \(octets.count >> 10) KiB, peak \(peak) KiB, \(took)")
    #expect(took < .seconds(30))
    #expect(peak < 128 * 1024)
  }
}
