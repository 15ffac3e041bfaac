import Foundation
import TestSupport
import Testing

/// `/health` says whether mail gets out.
@Suite(.serialized) struct OutboundHealthTests {
  @Test func aBlockedPortShowsInHealth() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    // Nobody listens there: what a firewall that refuses looks like.
    options.smtpPort = 9
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    func outbound() async throws -> (status: String?, ip: [String: Any]) {
      let section = try await mta.get("/health", key: nil).json["smtpOutbound"] as? [String: Any] ?? [:]
      return (section["status"] as? String, (section["ips"] as? [[String: Any]])?.first ?? [:])
    }
    #expect(try await outbound().status == "ok", "nothing was tried yet")
    for index in 0..<2 { try await mta.send("m\(index)", to: "u@\(Zones.domain(index))") }
    try await eventually("it is told") { try await outbound().status == "degraded" }
    let ip = try await outbound().ip
    #expect(ip["status"] as? String == "failed" && ip["reason"] as? String == "connection_refused", "\(ip)")
    #expect(try await mta.get("/health", key: nil).json["status"] as? String == "degraded")
    await mta.tearDown()
  }
}
