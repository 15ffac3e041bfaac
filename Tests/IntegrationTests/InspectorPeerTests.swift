import Foundation
import TestSupport
import Testing

/// The programs that others wrote: Debian's rspamd, spamd and clamd, each with its own rules and nothing from the network.
@Suite(.serialized) struct InspectorPeerTests {
  private static let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

  /// (kind, scheme, what it must reject, what it is called there, whether mail waits for it)
  private static let kinds: [(String, String, String, String, isClosed: Bool)] = [
    ("rspamd", "http", gtube, "rspamd: action reject", true), ("spamassassin", "tcp", gtube, "spamassassin: score ", false),
    ("clamav", "tcp", InspectorPeer.eicar, "clamav: Owlat.Test.EICAR", true),
  ]

  @Test(arguments: kinds.indices)
  func realProgramsJudge(index: Int) async throws {
    let (kind, scheme, bad, reason, isClosed) = Self.kinds[index]
    let peer = try await InspectorPeer.start(kind)
    let dns = try await NameServer(zones: Zones.separate(1))
    var options = MTAFixture.Options()
    options.dns = dns
    options.extra =
      "inspectors: [ {kind: \(kind), url: \"\(scheme)://127.0.0.1:\(peer.port)\", fail: \(isClosed ? "closed" : "open"), timeout: 20s} ]\n"
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("fine", to: "u@\(Zones.domain(0))", ["text": "Lunch on Friday at noon?"])
    try await mta.send("bad", to: "u@\(Zones.domain(0))", ["text": "Hello\n\n\(bad)\n"])
    try await eventually("one is sent, one is screened") {
      mta.receiver.messageIDs("sent") == ["fine"] && mta.receiver.messageIDs("failed") == ["bad"]
    }
    let event = try #require(mta.receiver.all.first { $0.event == "failed" })
    #expect(event.fields["errorCode"] == "CONTENT_SCREENED" && event.fields["message"]?.contains(reason) == true, "\(event.body)")
    let verdicts = try await mta.get("/metrics").body
    for result in ["clean", "rejected"] {
      #expect(verdicts.contains("mta_inspections_total{inspector=\"\(kind)\",result=\"\(result)\"} 1\n"))
    }

    // Away: what must be seen is refused, the rest passes.
    peer.stop()
    let later = MTAFixture.body("later", to: "u@\(Zones.domain(0))", ["text": "And on Monday?"])
    let answer = try await mta.call("POST", "/send", body: later)
    if isClosed {
      #expect(answer.status == 503 && answer.headers["retry-after"] == "30", "\(answer.body)")
      #expect(try await mta.get("/v1/messages/later").status == 404)
      #expect(mta.log.all.map(\.messageID) == ["fine"])
    } else {
      #expect(answer.status == 200, "\(answer.body)")
      try await eventually("it passes") { mta.log.all.map(\.messageID) == ["fine", "later"] }
    }
    await mta.tearDown()
    dns.stop()
  }
}
