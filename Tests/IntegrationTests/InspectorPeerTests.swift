import Foundation
import TestSupport
import Testing

/// The programs that others wrote, where they are unpacked (`deploy/dev/inspectors.sh`).
@Suite(.serialized) struct InspectorPeerTests {
  private static let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

  @Test(.enabled(if: InspectorPeer.folder != nil), arguments: ["rspamd", "spamassassin"])
  func realProgramsJudge(kind: String) async throws {
    let root = try #require(InspectorPeer.folder)
    let peer = try await kind == "rspamd" ? InspectorPeer.rspamd(root) : InspectorPeer.spamd(root)
    let dns = try await NameServer(zones: Zones.separate(1))
    var options = MTAFixture.Options()
    options.dns = dns
    let scheme = kind == "rspamd" ? "http" : "tcp"
    options.extra = "inspectors: [ {kind: \(kind), url: \"\(scheme)://127.0.0.1:\(peer.port)\", fail: closed, timeout: 20s} ]\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("fine", to: "u@\(Zones.domain(0))", ["text": "Lunch on Friday at noon?"])
    try await mta.send("spam", to: "u@\(Zones.domain(0))", ["text": "Hello\n\n\(Self.gtube)\n"])
    try await eventually("one is sent, one is screened") {
      mta.receiver.messageIDs("sent") == ["fine"] && mta.receiver.messageIDs("failed") == ["spam"]
    }
    #expect(mta.log.all.map(\.messageID) == ["fine"])
    #expect(mta.receiver.all.first { $0.event == "failed" }?.fields["message"]?.contains("\(kind): ") == true)
    await mta.tearDown()
    dns.stop()
    peer.stop()
  }
}
