import Feedback
import Foundation
import MIME
import Testing

/// What a stranger may send to exhaust a server. The bounds are far above what a loaded machine needs in a debug build and far
/// below what a reader without limits takes.
@Suite(.serialized) struct HostileMailTests {
  struct Bomb: Sendable, CustomTestStringConvertible {
    let name: String
    let make: @Sendable () -> [UInt8]
    var testDescription: String { name }
  }

  private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }
  private static func times(_ count: Int, _ unit: String) -> [UInt8] {
    let unit = Array(unit.utf8)
    var octets: [UInt8] = []
    octets.reserveCapacity(count * unit.count)
    for _ in 0..<count { octets += unit }
    return octets
  }

  private static let reporter = "From: MAILER-DAEMON@mx.example\nSubject: failure notice\n"

  private static let bombs: [Bomb] = [
    Bomb(name: "a header of 10 MiB in one field") { text("Subject: ") + times(10 << 20, "a") + text("\n\nx") },
    Bomb(name: "a header of 10 MiB in a million fields") { times(1_000_000, "X-Many: a\n") + text("\nx") },
    Bomb(name: "one field folded without end") { text("To:") + times(300_000, " a@b.example,\n") + text("\nx") },
    Bomb(name: "a million parts") {
      text("Content-Type: multipart/mixed; boundary=b\n\n") + times(1_000_000, "--b\n\nx\n") + text("--b--\n")
    },
    Bomb(name: "multiparts within each other") {
      var mail: [UInt8] = []
      for level in 0..<20_000 { mail += text("Content-Type: multipart/mixed; boundary=b\(level)\n\n--b\(level)\n") }
      return mail
    },
    Bomb(name: "messages within each other") { times(200_000, "Content-Type: message/rfc822\n\n") },
    Bomb(name: "the same boundary at every level") { times(100_000, "Content-Type: multipart/mixed; boundary=b\n\n--b\n") },
    Bomb(name: "a status of 300,000 recipients") {
      text(
        reporter + "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n")
        + times(300_000, "Final-Recipient: rfc822; a@b.example\nAction: failed\n\n")
    },
    Bomb(name: "a status field folded without end") {
      text(reporter + "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n")
        + text("Final-Recipient: rfc822; a@b.example\nAction: failed\nDiagnostic-Code: smtp; 550") + times(500_000, "\n no such user here")
    },
    Bomb(name: "messages in base64 within each other") {
      var mail = "Subject: x\n\n" + String(repeating: "y", count: 200_000)
      for _ in 0..<MIMELimits.depth {
        let inner = Data(mail.utf8).base64EncodedString(options: [.lineLength76Characters, .endLineWithLineFeed])
        mail = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + inner
      }
      return text(mail)
    },
    Bomb(name: "a report of many large base64 texts") {
      let inner = Data(repeating: 0x61, count: 300_000).base64EncodedString(options: [.lineLength76Characters, .endLineWithLineFeed])
      return text(reporter + "Content-Type: multipart/report; boundary=b\n\n")
        + times(25, "--b\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n\(inner)\n")
    },
    Bomb(name: "addresses without end") { text(reporter + "\nThese failed:\n") + times(300_000, "<a@b.example>:\n") },
    Bomb(name: "one line of addresses") { text(reporter + "\nThese failed:\n") + times(200_000, "a@b.example ") },
    Bomb(name: "at signs") { text(reporter + "\nfailed\n") + times(1_000_000, "@") },
    Bomb(name: "open tags") { text("From: MAILER-DAEMON@mx.example\nContent-Type: text/html\n\n") + times(1_000_000, "<a") },
    Bomb(name: "encoded words that never end") { text("Subject: ") + times(300_000, "=?utf-8?B?") + text("\n\nx") },
    Bomb(name: "parameters without end") { text("Content-Type: text/plain") + times(300_000, "; a*0*=x") + text("\n\nx") },
    Bomb(name: "digits and dots") { text(reporter + "\nfailed <a@b.example>: ") + times(1_000_000, "5.") },
    Bomb(name: "escapes of ISO-2022-JP") {
      text(reporter + "Content-Type: text/plain; charset=iso-2022-jp\n\n") + times(300_000, "\u{1B}$B\u{1B}(B")
    },
    Bomb(name: "deep JSON") { text("From: a@b.example\n\n{\"notificationType\":") + times(200_000, "[") },
    Bomb(name: "octets of no character set") { text(reporter + "\n") + [UInt8](repeating: 0xFF, count: 10 << 20) },
  ]

  /// KiB of this process: `VmRSS` now, `VmHWM` at the most since ``forgetPeak()``.
  private static func memory(_ name: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
  }

  /// proc(5): 5 sets the peak to what is resident now. What was freed goes back first, or it would hide what is taken next.
  private static func forgetPeak() throws {
    // glibc's, which its module for Swift leaves out.
    if let trim = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(trim, to: (@convention(c) (Int) -> CInt).self)(0) }
    try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
  }

  @Test(arguments: bombs) func costsBoundedTimeAndMemory(_ bomb: Bomb) throws {
    let octets = bomb.make()
    try Self.forgetPeak()
    let before = Self.memory("VmRSS")
    let start = ContinuousClock.now
    let feedback = FeedbackReport.read(octets)
    let took = ContinuousClock.now - start
    let peak = Self.memory("VmHWM") - before
    #expect(took < .seconds(30))
    #expect(peak < 64 * 1024)
    #expect(feedback.recipients.count <= 512)
  }

  @Test func nodesAreLimitedAndTheRestIsLeftOut() {
    let wide = MIMEPart.read(Self.text("Content-Type: multipart/mixed; boundary=b\n\n") + Self.times(10_000, "--b\n\nx\n"))
    #expect(wide.parts.count < MIMELimits.parts)
    var deep = MIMEPart.read(Self.times(10_000, "Content-Type: message/rfc822\n\n"))
    var levels = 0
    while let inner = deep.parts.first {
      deep = inner
      levels += 1
    }
    #expect(levels == MIMELimits.depth)
  }

  /// A report whose returned message is a bomb is still a report.
  @Test func whatIsBehindABombDoesNotHideWhatIsBefore() {
    let status = "Final-Recipient: rfc822; cat@example.net\nAction: failed\nStatus: 5.1.1"
    let mail = Mail.octets(Mail.report(status)).dropLast(12) + Self.times(100_000, "Content-Type: message/rfc822\n\n")
    #expect(FeedbackReport.read(Array(mail)).recipients.map(\.address) == ["cat@example.net"])
  }
}
