import Foundation
import Glibc
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

  /// Answers of `/send` and deliveries, of one kind of time.
  struct Pace {
    var latencies: [Duration] = []
    var perSecond = 0.0
    var median: Duration { latencies.sorted()[latencies.count / 2] }
    var percentile95: Duration { latencies.sorted()[latencies.count * 95 / 100] }

    /// Sends one after the other, and waits until all have arrived.
    static func measure(_ name: String, _ count: Int, _ mta: MTAFixture) async throws -> Pace {
      let before = mta.log.count
      var pace = Pace()
      let began = ContinuousClock.now
      for index in 0..<count {
        let start = ContinuousClock.now
        try await mta.send("\(name)\(index)", to: "u@\(Zones.domain(index % 2))")
        pace.latencies.append(ContinuousClock.now - start)
      }
      try await eventually("all are delivered") { mta.log.count == before + count }
      pace.perSecond = Double(count) / ((ContinuousClock.now - began) / .seconds(1))
      return pace
    }
  }

  /// A thousand clients that hold connections and trickle: they hurt nobody but themselves.
  @Test func slowClientsSlowNobody() async throws {
    // As many sockets as clients, here and in the programs that are started from here.
    var files = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
    files.rlim_cur = min(files.rlim_max, max(files.rlim_cur, 8192))
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
    try #require(files.rlim_cur >= 4096, "the test's limit of open files is \(files.rlim_max)")
    let rig = try await Rig()
    _ = try await Pace.measure("warm", 50, rig.mta)
    let free = try await Pace.measure("free", 200, rig.mta)

    let clients = try (0..<1000).map { try RawClient(port: rig.port, source: "127.0.1.\($0 / 10 + 1)") }
    for client in clients { #expect(try await client.reply()?.hasPrefix("220") == true) }
    let isTrickling = Locked(true)
    let trickle = Task {
      // Each sends an octet twice a second, in its turn.
      while isTrickling.value {
        for start in stride(from: 0, to: clients.count, by: 50) {
          for client in clients[start..<start + 50] { client.send("E") }
          try await Task.sleep(for: .milliseconds(25))
        }
      }
    }
    #expect(try await RawClient(port: rig.port, source: "127.0.2.1").reply()?.hasPrefix("421") == true, "there are as many as may be")
    let busy = try await Pace.measure("busy", 200, rig.mta)
    let open = try await rig.mta.get("/metrics").body.split(separator: "\n").first { $0.hasPrefix("mta_inbound_open{listener=\"bounce\"}") }
    #expect(open.flatMap { Double($0.split(separator: " ")[1]) } == 1000, "they were there all the time")
    let figures =
      "without: \(free.median), 95 % \(free.percentile95), \(free.perSecond)/s; with: \(busy.median), 95 % \(busy.percentile95), \(busy.perSecond)/s"
    print("slow clients: \(figures)")
    // What a busy machine does to either is more than what a thousand clients may.
    #expect(busy.median < free.median * 2 + .milliseconds(10), "\(figures)")
    #expect(busy.percentile95 < free.percentile95 * 2 + .milliseconds(50), "\(figures)")
    #expect(busy.perSecond > free.perSecond / 2, "\(figures)")
    isTrickling.change { $0 = false }
    try await trickle.value
    for client in clients { client.close() }
    #expect(try await rig.mta.stop() == 0)
    await rig.end()
  }
}
