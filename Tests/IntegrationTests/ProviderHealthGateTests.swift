import Foundation
import SMTPServer
import TestSupport
import Testing

/// A provider in trouble, at the sink and at the gates.
@Suite(.serialized) struct ProviderHealthGateTests {
  /// Trouble of two of its domains holds all its mail, also from an IP and for a domain that were never refused; other mail
  /// goes on. A full mailbox never does that. The gate stands after `kill -9`.
  @Test func aProviderInTroubleIsLeftAlone() async throws {
    var zones = Zones.hosted(3, mx: "mx1.yahoodns.net")
    zones["test-zone.example", default: []] += ["free IN MX 10 mxfree", "mxfree IN A 127.0.0.1"]
    let isTroubled = Locked(false)
    let rig = try await PolicyTests.Rig(
      zones: zones, ips: ["127.0.0.21", "127.0.0.22"],
      providers:
        "yahoo: {defaultRate: 60000, ceiling: 60000, maxConnections: 1, mx: [yahoodns.net]}, other: {defaultRate: 60000, ceiling: 60000}",
      script: { moment in
        guard case .rcpt(let recipient) = moment, !recipient.contains("@free.") else { return nil }
        if recipient.hasPrefix("full") { return .reply("452 4.2.2 mailbox full") }
        return isTroubled.value ? .reply("451 4.3.0 Temporary system problem. Try again later") : nil
      })
    try await rig.mta.sendAll(
      (0..<12).map { (id: "full\($0)", to: "full\($0)@\(Zones.domain($0 % 2))", org: "o", pool: "transactional") })
    try await eventually("full mailboxes are deferred") { Set(rig.mta.receiver.messageIDs("deferred")).count == 12 }
    #expect(try await rig.gates("smtp_response").isEmpty)
    try await rig.mta.send("fine", to: "u@\(Zones.domain(0))", org: "o")
    try await eventually("it leaves") { rig.mta.receiver.messageIDs("sent") == ["fine"] }

    isTroubled.change { $0 = true }
    // Three in each of two domains: fewer than would shut a domain.
    for index in 0..<6 { try await rig.mta.send("t\(index)", to: "t\(index)@\(Zones.domain(index % 2))", org: "o") }
    try await eventually("six are deferred") { Set(rig.mta.receiver.messageIDs("deferred")).count >= 17 }
    isTroubled.change { $0 = false }
    let before = rig.mta.log.count
    try await rig.mta.send("third", to: "u@\(Zones.domain(2))", org: "p")
    try await rig.mta.send("free", to: "u@free.test-zone.example", org: "o")
    try await eventually("the provider is shut, with a time") {
      try await rig.gates("smtp_response").contains {
        $0["scope"] as? String == "provider" && $0["key"] as? String == "yahoo" && $0["until"] is String
      }
    }
    try await eventually("other mail leaves") { rig.mta.receiver.messageIDs("sent").contains("free") }
    let explained = try await rig.mta.get("/v1/messages/third/explain").json["gates"] as? [[String: Any]] ?? []
    #expect(explained.map { $0["scope"] as? String } == ["provider"])
    let gates = try await rig.summary(["smtp_response"])
    // Clients are told to route around it.
    let reputation = try await rig.mta.get("/ip-reputation").body
    #expect(reputation.contains("{\"provider\":\"yahoo\",\"source\":\"persistent_defers\",\"severity\":\"warning\""), "\(reputation)")
    #expect(!reputation.contains("{\"provider\":\"other\""))
    // Nothing is charged for what waits.
    #expect(try !rig.mta.redis("KEYS", "*:n:*:p").contains(":p"))

    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    try await eventually("the same gate with the same end") { try await rig.summary(["smtp_response"]) == gates }
    #expect(rig.mta.log.count == before + 1, "nothing for the provider left")
    await rig.end()
  }
}
