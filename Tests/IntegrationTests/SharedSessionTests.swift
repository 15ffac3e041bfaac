import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// A provider that counts the sessions of all our IPs together.
@Suite(.serialized) struct SharedSessionTests {
  /// Sessions open at the sink.
  final class Meter: Sendable {
    private let state = Locked<(open: Int, most: Int, peers: Set<String>)>((0, 0, []))

    func opened(_ peer: String) {
      state.change { state in
        state.open += 1
        state.most = max(state.most, state.open)
        state.peers.insert(peer)
      }
    }
    func closed() { state.change { $0.open -= 1 } }
    var open: Int { state.value.open }
    var most: Int { state.value.most }
    var peers: Set<String> { state.value.peers }
  }

  static let ips = ["127.0.0.21", "127.0.0.22", "127.0.0.23"]

  static func start(_ meter: Meter, _ dns: NameServer, replyAfter: @escaping @Sendable () -> Int64) async throws -> MTAFixture {
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["a": [ips[0]], "b": [ips[1]], "c": [ips[2]], "transactional": ips]
    options.providers =
      "yahoo: {defaultRate: 60000, ceiling: 60000, maxConnections: 3, maxConnectionsTotal: 2, maxDeliveriesPerConnection: 4, "
      + "mx: [yahoodns.net]}"
    options.sinkOptions.closed = { _ in meter.closed() }
    options.script = { moment in
      switch moment {
      case .connect(let peer, _): meter.opened(peer)
      case .message: return .reply("250 ok", after: .milliseconds(replyAfter()))
      default: break
      }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    return mta
  }

  static func zones() -> [String: [String]] {
    [
      "test-zone.example": (0..<4).map { "d\($0) IN MX 10 mx\($0 % 2).yahoodns.net." },
      "yahoodns.net": ["mx0 IN A 127.0.0.1", "mx1 IN A 127.0.0.1"],
    ]
  }

  /// Three IPs, two sessions: never a third at the sink, whoever has mail gets its turn, and `kill -9` leaks nothing.
  @Test func neverMoreThanTheProviderAllows() async throws {
    let dns = try await NameServer(zones: Self.zones())
    defer { dns.stop() }
    let meter = Meter()
    let isSlow = Locked(true)
    let mta = try await Self.start(meter, dns) { isSlow.value ? 1000 : 30 }
    let messages = (0..<36).map { (id: "m\($0)", to: "u\($0)@\(Zones.domain($0 % 4))", org: "o\($0 % 2)", pool: ["a", "b", "c"][$0 % 3]) }
    try await mta.sendAll(messages)
    try await eventually("one IP waits for a session") {
      let gates = try await mta.get("/v1/gates").json["gates"] as? [[String: Any]] ?? []
      return gates.contains {
        $0["scope"] as? String == "provider" && $0["key"] as? String == "yahoo" && $0["reason"] as? String == "connections"
      }
    }
    var explained = 0
    for id in ["m33", "m34", "m35"] {
      let gates = try await mta.get("/v1/messages/\(id)/explain").json["gates"] as? [[String: Any]] ?? []
      explained += gates.count { $0["scope"] as? String == "provider" && $0["reason"] as? String == "connections" && $0["until"] is NSNull }
    }
    #expect(explained == 1)
    #expect(meter.open <= 2 && meter.most <= 2)
    let row = try mta.redis("HVALS", "{mta}:conn:yahoo").split(separator: " ")
    #expect(row.count == 4 && row[1] == "2", "\(row)")

    try await mta.killSupervisor()
    isSlow.change { $0 = false }
    try await mta.start()
    try await eventually("all are sent", within: .seconds(40)) { Set(mta.receiver.messageIDs("sent")).count == 36 }
    #expect(meter.most == 2)
    #expect(meter.peers == Set(Self.ips))
    #expect(Set(mta.log.all.map(\.messageID)).count == 36 && mta.log.count == 36)
    try await eventually("nothing is held") { try mta.redis("EXISTS", "{mta}:conn:yahoo") == "0" && meter.open == 0 }

    // The limit is a profile's, changed at run time.
    #expect(try await mta.get("/isp-profiles/yahoo").body.contains("\"maxConnectionsTotal\":2"))
    let answer = try await mta.call("PUT", "/isp-profiles/yahoo", body: "{\"maxConnectionsTotal\":0}")
    #expect(answer.status == 200 && !answer.body.contains("maxConnectionsTotal"))
    #expect(try await mta.call("PUT", "/isp-profiles/yahoo", body: "{\"maxConnectionsTotal\":-1}").status == 400)
    isSlow.change { $0 = true }
    try await mta.sendAll((0..<9).map { (id: "n\($0)", to: "u@\(Zones.domain(0))", org: "o", pool: ["a", "b", "c"][$0 % 3]) })
    try await eventually("each IP has its own") { meter.open >= 3 }
    #expect(try await mta.call("DELETE", "/isp-profiles/yahoo", body: nil).body == "{\"deleted\":true}")
    await mta.tearDown()
  }
}
