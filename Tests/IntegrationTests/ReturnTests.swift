import Foundation
import TestSupport
import Testing

/// Servers that others wrote take our mail, find that they cannot deliver it, and say so in their own words to the return-path.
@Suite(.serialized, .enabled(if: PeerMTA.isPermitted, "Postfix and Exim run in roots of their own, which only root may do"))
struct ReturnTests {
  @Test(arguments: [PeerMTA.Program.postfix, .exim]) func whatAServerReturnsFindsItsMessage(_ program: PeerMTA.Program) async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let port = try freePort()
    var returning = PeerMTA.Options()
    returning.returns = ("bounces.test.example", port)
    let peer = try await PeerMTA(program, returning, domains: [Zones.domain(0)])
    defer { peer.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.smtpPort = peer.port
    options.bounce = "listen: [\"127.0.0.1:\(port)\"]"
    options.extra = "breaker: { bounce_fast: 1, bounce_slow: 1 }\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let late = (0..<5).map { "late-\($0)" }
    for id in late + ["slow-0", "u-0", "u-1"] { try await mta.send(id, to: "\(id.replacing("-", with: ""))@\(Zones.domain(0))") }
    do {
      try await eventually("what is gone is told", within: .seconds(30)) { mta.receiver.messageIDs("bounced").sorted() == late }
      try await eventually("a delay is seen", within: .seconds(30)) {
        try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"delayed\"}")
      }
    } catch {
      Issue.record("\(peer.log().suffix(3000))")
      throw error
    }
    #expect(mta.receiver.messageIDs("sent").count == 8 && mta.receiver.messageIDs("bounced").sorted() == late)
    let event = try #require(mta.receiver.all.first { $0.event == "bounced" })
    #expect(event.fields["bounceType"] == "hard" && event.fields["message"]?.contains("the mailbox is gone") == true)
    let check = try await mta.get("/suppression/check/late0@\(Zones.domain(0))?organizationId=acme").json
    // Postfix says 5.1.1; Exim only that it failed, which suppresses nobody.
    #expect(check["suppressed"] as? Bool == (program == .postfix))
    await mta.tearDown()
  }
}
