import Foundation
import TestSupport
import Testing

/// The client against servers that others wrote: what was posted is what their mailboxes hold, judged by dkimpy and Python's
/// email parser; what they refuse is told in their words.
@Suite(.serialized, .enabled(if: PeerMTA.isPermitted, "Postfix, Exim and OpenSMTPD run in roots of their own, which only root may do"))
struct InteropTests {
  struct Variant: Sendable, CustomTestStringConvertible {
    var program: PeerMTA.Program
    var options: PeerMTA.Options
    var count = 1000

    var testDescription: String {
      let offered = [(options.pipelining, "PIPELINING"), (options.chunking, "CHUNKING"), (options.startTLS, "STARTTLS")]
      return ([program.rawValue] + offered.compactMap { $0.0 ? $0.1 : nil }).joined(separator: " ")
    }
  }

  static let variants = [
    Variant(program: .postfix, options: .init()),
    Variant(program: .postfix, options: .init(pipelining: false, chunking: false, startTLS: true)),
    Variant(program: .exim, options: .init(startTLS: true)),
    Variant(program: .exim, options: .init(pipelining: false, chunking: false)),
    Variant(program: .opensmtpd, options: .init(pipelining: false, chunking: false)),
    Variant(program: .opensmtpd, options: .init(pipelining: false, chunking: false, startTLS: true)),
    // One without the other.
    Variant(program: .postfix, options: .init(pipelining: false, startTLS: true), count: 100),
    Variant(program: .exim, options: .init(chunking: false), count: 100),
  ]

  struct Judgement: Decodable {
    var good: Int
    var wrong: [String]
    var missing: [String]
    var encrypted: Int
  }

  @Test(arguments: variants) func mailArrivesAsItWasPosted(_ variant: Variant) async throws {
    let dns = try await NameServer(zones: Zones.separate(4))
    defer { dns.stop() }
    let peer = try await PeerMTA(variant.program, variant.options, domains: (0..<4).map(Zones.domain))
    defer { peer.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.smtpPort = peer.port
    // One in twenty is refused on purpose, and the mail of the rest must not be stopped for it.
    options.extra = "breaker: { bounce_fast: 1, bounce_slow: 1 }\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    let record = try await mta.registerDKIM("sender.example")
    let file = mta.scratch.file("requests")
    let made = try run(DeliveryTests.python, ["Tests/Fixtures/interop.py", "make", "\(variant.count)", file])
    try #require(made.code == 0, "\(made.errors)")
    try await post(String(contentsOfFile: file, encoding: .utf8).split(separator: "\n"), to: mta)

    let refused = stride(from: 0, to: variant.count, by: 20).map { "r-\($0)" }
    let internationalised = stride(from: 0, to: variant.count, by: 50).map { "i-\($0)" }
    let bounced = variant.program.hasExtensions ? refused : refused + internationalised
    let arriving = variant.count + (variant.program.hasExtensions ? internationalised.count : 0)
    do {
      try await eventually("\(arriving) are delivered", within: .seconds(60)) {
        peer.delivered >= arriving && mta.receiver.messageIDs("sent").count >= arriving
          && mta.receiver.messageIDs("bounced").count >= bounced.count
      }
    } catch {
      let told = Set(mta.receiver.messageIDs("sent") + mta.receiver.messageIDs("bounced"))
      let events = mta.receiver.all.filter { $0.event == "deferred" }.map { "\($0.messageID) \($0.fields["message"] ?? "")" }
      Issue.record(
        """
        \(peer.delivered) of \(arriving) delivered, \(told.count) told; deferred: \(events.prefix(5)); \
        the server's log ends \(peer.log().suffix(3000))
        """)
      throw error
    }
    #expect(mta.receiver.messageIDs("bounced").sorted() == bounced.sorted())
    #expect(Set(mta.receiver.messageIDs("sent")).count == arriving && mta.receiver.messageIDs("sent").count == arriving)
    #expect(mta.receiver.messageIDs("deferred") == [])
    let refusal = mta.receiver.all.first { $0.messageID == "r-0" }?.fields["message"] ?? ""
    #expect(refusal.hasPrefix("550 ") && refusal.contains(variant.program == .exim ? "Unrouteable address" : "unknown0@"))

    let python = try run(DeliveryTests.python, ["Tests/Fixtures/interop.py", "check", file, peer.mailbox, record])
    let judgement = try JSONDecoder().decode(Judgement.self, from: Data(python.output.utf8))
    #expect(judgement.good == arriving && judgement.wrong == [], "\(python.errors.prefix(3000))")
    #expect(judgement.missing == bounced.sorted())
    let isEncrypted = variant.options.startTLS && !peer.hasFailedInTLS
    #expect(judgement.encrypted == (isEncrypted ? arriving : 0))
    // Where the handshake fails, opportunistic TLS goes on in the clear; only OpenSMTPD's does.
    #expect(!peer.hasFailedInTLS || variant.program == .opensmtpd)

    // The sessions end, and the server tells by which commands the mail came.
    #expect(try await mta.stop() == 0)
    let isChunked = variant.options.chunking
    try await eventually("the log accounts for all", within: .seconds(10)) {
      let account = peer.account()
      return isChunked ? account.chunks >= arriving && account.data == 0 : account.data == arriving && account.chunks == 0
    }
    if let pipelined = peer.account().pipelined { #expect(pipelined == (variant.options.pipelining ? arriving : 0)) }
    await mta.tearDown()
  }

  /// Each line is a path, a tab and a body.
  func post(_ lines: [Substring], to mta: MTAFixture) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      var next = 0
      func add() {
        guard next < lines.count else { return }
        let parts = lines[next].split(separator: "\t", maxSplits: 1).map(String.init)
        next += 1
        group.addTask {
          let answer = try await mta.call("POST", parts[0], body: parts[1])
          #expect(answer.status == 200, "\(answer.body): \(parts[1].prefix(200))")
        }
      }
      for _ in 0..<16 { add() }
      for try await _ in group { add() }
    }
  }
}
