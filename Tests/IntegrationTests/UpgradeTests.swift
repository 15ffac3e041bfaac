import Foundation
import Glibc
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Another version takes over what one left: queue, journals, events, history, keys and orders. `OWLAT_OLDER_BIN` has the programs
/// that go first (`make upgrade`); without it the same programs take over from themselves.
@Suite(.serialized) struct UpgradeTests {
  private static let older = ProcessInfo.processInfo.environment["OWLAT_OLDER_BIN"] ?? MTAFixture.binaries

  enum End: CaseIterable {
    /// SIGTERM to the supervisor, as `systemctl restart` does.
    case restart
    /// SIGKILL to all at once, with mail at its dot.
    case killed
  }

  @Test(arguments: End.allCases) func anotherVersionTakesOver(_ end: End) async throws {
    let dns = try await NameServer(zones: Zones.separate(5))
    defer { dns.stop() }
    let (dots, isFull) = (DotLog(), Locked(true))
    let full = "full@\(Zones.domain(3))", gone = "gone@\(Zones.domain(4))"
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21", "127.0.0.22"], "other": ["127.0.0.23"]]
    options.extra = "retry: { delays: [1s], jitter: 0 }\n"
    options.script = { moment in
      switch moment {
      case .rcpt(full) where isFull.value: return .reply("452 4.2.2 <\(full)>: mailbox is full")
      case .rcpt(gone): return .reply("550 5.1.1 <\(gone)>: no such user")
      case .message(let message):
        dots.note(message)
        return .reply("250 2.0.0 ok", after: .milliseconds(100))
      default: return nil
      }
    }
    let mta = try await MTAFixture(options)
    mta.binaries = Self.older
    try await mta.start()
    try await mta.registerDKIM("sender.example")

    // In each state that mail and what stands beside it can be in.
    try await mta.send("early", to: "u@\(Zones.domain(0))")
    try await mta.send("bounced", to: gone)
    try await mta.send("deferred", to: full)
    for (event, id) in [("sent", "early"), ("bounced", "bounced"), ("deferred", "deferred")] {
      try await eventually("\(id) is told") { mta.receiver.messageIDs(event).contains(id) }
    }
    let selector = try #require(mta.log.all.first?.field("DKIM-Signature")?.firstMatch(of: /s=([^; ]+)/)?.1)
    #expect(try mta.command("org", "pause", "patient").code == 0)
    #expect(try mta.command("ip", "pull", "127.0.0.23", "--reason", "looked at").code == 0)
    try await mta.send("paused", to: "u@\(Zones.domain(0))", org: "patient")
    let crowd = (0..<1500).map {
      (id: "k\($0)", to: "u\($0)@\(Zones.domain($0 % 3))", org: $0 % 5 == 0 ? "patient" : "o", pool: "transactional")
    }
    try await mta.sendAll(crowd, parallel: 64)
    try await eventually("mail flows") { mta.log.count > 100 }

    switch end {
    case .restart: #expect(try await mta.stop() == 0)
    case .killed:
      let others = try Array(mta.workerPIDs().values) + [mta.redisPID()]
      try await mta.killSupervisor(leavingWorkers: true)
      for pid in others { kill(pid, SIGKILL) }
      try await eventually("all are dead") { others.allSatisfy { !MTAFixture.isAlive($0) } }
    }
    mta.binaries = MTAFixture.binaries
    let leftBefore = mta.log.count
    try await mta.start()

    #expect(try mta.command("ip", "list").output.contains("looked at"), "orders stand")
    #expect(try mta.command("queue", "pauses").output.contains("patient"))
    #expect(try mta.command("message", "show", "early").output.contains("delivered"))
    let check = try await mta.get("/suppression/check/\(gone)?organizationId=acme").json
    #expect(check["suppressed"] as? Bool == true && check["reason"] as? String == "hard_bounce")
    try await mta.send("fresh", to: "u@\(Zones.domain(0))", org: "acme")
    isFull.change { $0 = false }
    try await eventually("new mail flows", within: .seconds(60)) { mta.receiver.messageIDs("sent").contains("fresh") }
    let signature = mta.log.all.first { $0.messageID == "fresh" }?.field("DKIM-Signature")
    #expect(signature?.contains("s=\(selector);") == true, "by the key that was there: \(signature ?? "-")")
    #expect(!dots.all.contains("paused"), "what was paused waits")
    #expect(try mta.command("org", "resume", "patient").code == 0)
    let exactness = Exactness(
      accepted: crowd.map(\.id) + ["early", "bounced", "deferred", "paused", "fresh"], receiver: mta.receiver, dots: dots)
    try await exactness.waitUntilEnded()
    // Cut between the journal's line and the octets: at most one of each session of the two IPs.
    exactness.check(dots.all, unseenUncertain: end == .killed ? 24 : 0)
    let uncertain = mta.receiver.messageIDs("uncertain")
    #expect(end == .killed ? uncertain.count <= 24 : uncertain.isEmpty, "\(uncertain.count)")
    #expect(mta.log.count > leftBefore + 100)
    #expect(mta.receiver.messageIDs("bounced") == ["bounced"])
    await mta.tearDown()
  }
}
