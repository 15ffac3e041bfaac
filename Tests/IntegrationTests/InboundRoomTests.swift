import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// No room: what comes in is asked to come again, and is let in by itself once there is room.
@Suite(.serialized) struct InboundRoomTests {
  private static func rcpt(_ recipient: String, port: Int) async throws -> String {
    let client = try RawClient(port: port)
    defer { client.close() }
    _ = try await client.reply()
    for line in ["EHLO mx.remote.example", "MAIL FROM:<a@remote.example>"] {
      let reply = try await client.ask(line)
      if !reply.hasPrefix("250") { return "mail \(reply)" }
    }
    return try await client.ask("RCPT TO:<\(recipient)>")
  }

  private static func route(_ mode: String, _ mta: MTAFixture) async throws {
    let body = "{\"domain\":\"in.example\",\"address\":\"\(mode)\",\"mode\":\"\(mode)\",\"organizationId\":\"acme\"}"
    #expect(try await mta.call("POST", "/inbound/routes", body: body).status == 200)
  }

  /// A low disk refuses everything; a full queue only what goes into the queue.
  @Test(.enabled(if: PressureTests.isRoot, "mounts a small disk: needs root")) func diskAndQueueAreFull() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let port = try freePort()
    options.bounce = "listen: [\"127.0.0.1:\(port)\"], postmaster: \(PostmasterTests.boss)"
    options.minFreeMiB = 20
    options.limits = "queue_max_messages: 2"
    let mta = try await MTAFixture(options)
    let disk = try PressureTests.mount(mta, mib: 64)
    defer { _ = try? run("/bin/umount", ["-l", disk]) }
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await Self.route("hold", mta)
    try await mta.send("one", to: "u@\(Zones.domain(0))")
    // Told of, and so no longer in the queue.
    try await eventually("it is sent") { mta.receiver.messageIDs("sent") == ["one"] }
    let path = try #require(mta.log.all.first).returnPath

    #expect(try mta.command("org", "pause", "acme").code == 0)
    for id in ["two", "three"] { try await mta.send(id, to: "u@\(Zones.domain(0))") }
    try await eventually("the queue is full") { try await Self.rcpt("postmaster", port: port).hasPrefix("452 4.3.1") }
    for recipient in [path, "hold@in.example"] { #expect(try await Self.rcpt(recipient, port: port).hasPrefix("250"), "\(recipient)") }
    #expect(try mta.command("org", "resume", "acme").code == 0)
    try await eventually("there is room in the queue") { try await Self.rcpt("postmaster", port: port).hasPrefix("250") }

    let free = try PressureTests.freeKiB(disk)
    #expect(try run("/usr/bin/fallocate", ["-l", "\(free - 10_000)KiB", disk + "/filler"]).code == 0)
    for recipient in [path, "hold@in.example", "postmaster"] {
      try await eventually("\(recipient) is asked to come again") { try await Self.rcpt(recipient, port: port).hasPrefix("mail 452 4.3.1") }
    }
    #expect(try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"no_room\"}"))
    unlink(disk + "/filler")
    for recipient in [path, "hold@in.example", "postmaster"] {
      try await eventually("\(recipient) is let in") { try await Self.rcpt(recipient, port: port).hasPrefix("250") }
    }
    await mta.tearDown()
  }

  /// What waits is bounded, and no route has more than its part.
  @Test func oneRoutesMailIsBounded() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await FeedbackLoopTests.start(0, dns: dns) {
      $0.bounce += ", postmaster: \(PostmasterTests.boss), inbound_max_mib: 64"
    }
    try await Self.route("hold", mta)
    try await Self.route("accept", mta)
    let mail =
      "From: a@remote.example\r\nSubject: s\r\n\r\n" + String(repeating: String(repeating: "x", count: 78) + "\r\n", count: 115_000)
    func deliver(_ recipient: String, _ text: String = mail) throws -> String {
      try FeedbackLoopTests.deliver(text, to: recipient, from: "a@remote.example", port: port, mta).last ?? ""
    }
    // A body goes into the payload up to 1 MiB: an attachment goes whole.
    let attached = mail.replacingOccurrences(of: "\r\n\r\n", with: "\r\nContent-Type: application/x-y; name=a\r\n\r\n")
    #expect(try deliver("hold@in.example", attached).hasPrefix("data 250"))
    #expect(try deliver("hold@in.example", attached.replacingOccurrences(of: "Subject: s", with: "Subject: t")).hasPrefix("data 452 4.3.1"))
    // Others have their own.
    #expect(try deliver("postmaster", "From: a@remote.example\r\n\r\n\r\n").hasPrefix("data 250"))
    #expect(try deliver("accept@in.example", "From: a@remote.example\r\n\r\n\r\n").hasPrefix("data 250"))
    let held = try #require((try await mta.get("/v1/inbound/held").json["mails"] as? [[String: Any]])?.first)
    #expect(try await mta.call("DELETE", "/v1/inbound/held/\(held["id"] as? String ?? "")", body: nil).status == 200)
    #expect(try deliver("hold@in.example", attached.replacingOccurrences(of: "Subject: s", with: "Subject: t")).hasPrefix("data 250"))
    await mta.tearDown()
  }
}
