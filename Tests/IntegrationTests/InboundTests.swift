import Foundation
import SMTPServer
import TestSupport
import Testing

/// The bounce port of the running program.
@Suite(.serialized) struct InboundTests {
  struct Rig {
    let dns: NameServer
    let mta: MTAFixture
    let port: Int

    init() async throws {
      dns = try await NameServer(zones: Zones.separate(2))
      port = try freePort()
      var options = MTAFixture.Options()
      options.dns = dns
      options.environment["OWLAT_BOUNCE_LISTEN"] = "[\"127.0.0.1:\(port)\"]"
      mta = try await MTAFixture(options)
      try await mta.start()
      try await mta.registerDKIM("sender.example")
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
    }
  }

  @Test func onlyReturnPathsOfOursAreKnown() async throws {
    let rig = try await Rig()
    try await rig.mta.send("one", to: "u@\(Zones.domain(0))")
    try await eventually("it is sent") { rig.mta.log.count == 1 }
    let genuine = try #require(rig.mta.log.all.first).returnPath
    let client = try RawClient(port: rig.port)
    #expect(try await client.reply() == "220 mta.test.example Owlat MTA Bounce Processor")
    for line in ["EHLO mx.remote.example", "MAIL FROM:<>"] { #expect(try await client.ask(line).hasPrefix("250")) }
    var forged = genuine
    let digit = genuine.index(genuine.startIndex, offsetBy: 20)
    forged.replaceSubrange(digit...digit, with: genuine[digit] == "a" ? "b" : "a")
    for address in [forged, "bounce+x@bounces.test.example", "nobody@bounces.test.example"] {
      #expect(try await client.ask("RCPT TO:<\(address)>").hasPrefix("550 5.1.1 "))
    }
    #expect(try await client.ask("RCPT TO:<\(genuine.uppercased())>") == "250 2.1.5 ok")
    #expect(try await client.ask("RCPT TO:<\(genuine)>").hasPrefix("452 4.5.3"))
    #expect(try await rig.mta.get("/metrics").body.contains("mta_inbound_refused_total{listener=\"bounce\",cause=\"recipient\"} 3\n"))
    let log = rig.mta.logText()
    #expect(!log.contains(genuine) && !log.contains("remote.example"))
    await rig.end()
  }

  /// Clients that hold connections and trickle: they hurt nobody but themselves.
  @Test func slowClientsSlowNobody() async throws {
    let rig = try await Rig()
    let clients = try (0..<300).map { try RawClient(port: rig.port, source: "127.0.1.\($0 / 10 + 1)") }
    for client in clients { #expect(try await client.reply()?.hasPrefix("220") == true) }
    let isTrickling = Locked(true)
    let trickle = Task {
      while isTrickling.value {
        for client in clients { client.send("E") }
        try await Task.sleep(for: .milliseconds(50))
      }
    }
    #expect(try RawClient(port: rig.port, source: "127.0.1.1").isClosed == false)
    let began = ContinuousClock.now
    var worst = Duration.zero
    for index in 0..<100 {
      let start = ContinuousClock.now
      try await rig.mta.send("m\(index)", to: "u@\(Zones.domain(index % 2))")
      worst = max(worst, ContinuousClock.now - start)
    }
    try await eventually("all are delivered") { rig.mta.log.count == 100 }
    #expect(worst < .seconds(2), "\(worst)")
    #expect(ContinuousClock.now - began < .seconds(20))
    let open = try await rig.mta.get("/metrics").body.split(separator: "\n").first { $0.hasPrefix("mta_inbound_open{listener=\"bounce\"}") }
    #expect(open.flatMap { Double($0.split(separator: " ")[1]) } ?? 0 >= 300)
    isTrickling.change { $0 = false }
    try await trickle.value
    for client in clients { client.close() }
    #expect(try await rig.mta.stop() == 0)
    await rig.end()
  }
}
