import Foundation
import SMTPServer
import TestSupport
import Testing

/// What comes back after a message was delivered: read, attributed by its token alone, and acted upon once.
@Suite(.serialized) struct FeedbackLoopTests {
  /// An MTA with its bounce port, and one delivered message an address of `to`.
  static func start(_ count: Int, extra: String = "", dns: NameServer, _ changes: (inout MTAFixture.Options) -> Void = { _ in })
    async throws -> (
      mta: MTAFixture, port: Int
    )
  {
    let port = try freePort()
    var options = MTAFixture.Options()
    options.dns = dns
    options.bounce = "listen: [\"127.0.0.1:\(port)\"]"
    options.extra = extra
    changes(&options)
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    for index in 0..<count { try await mta.send("f-\(index)", to: "u\(index)@d0.test-zone.example", ["campaignId": "spring"]) }
    try await eventually("\(count) are delivered") { mta.receiver.messageIDs("sent").count == count }
    return (mta, port)
  }

  /// Lines `step code text`.
  @discardableResult
  static func deliver(_ text: String, to recipient: String, from sender: String = "", port: Int, _ mta: MTAFixture) throws -> [String] {
    let file = try mta.scratch.write("mail-\(UInt32.random(in: 0 ... .max))", text)
    let done = try run(DeliveryTests.python, ["Tests/Fixtures/smtp_send.py", "\(port)", sender, recipient, file])
    try #require(done.code == 0, "\(done.errors)")
    return done.output.split(separator: "\n").map(String.init)
  }

  static func returnPath(_ id: String, _ mta: MTAFixture) throws -> String {
    try #require(mta.log.all.first { $0.messageID == id }).returnPath
  }

  @Test func aLateBounceCountsLikeASynchronousOne() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(3, dns: dns)
    let path = try Self.returnPath("f-0", mta)
    for _ in 0..<2 {
      let replies = try Self.deliver(ReturnedMail.bounce(recipient: "u0@d0.test-zone.example"), to: path, port: port, mta)
      #expect(replies.last?.hasPrefix("data 250") == true, "\(replies)")
    }
    try await eventually("it is told") { !mta.receiver.messageIDs("bounced").isEmpty }
    let event = try #require(mta.receiver.all.first { $0.event == "bounced" })
    #expect(event.messageID == "f-0" && event.fields["bounceType"] == "hard" && event.fields["organizationId"] == "acme")
    #expect(event.fields["message"]?.contains("no such user") == true)
    let check = try await mta.get("/suppression/check/u0@d0.test-zone.example?organizationId=acme").json
    #expect(check["suppressed"] as? Bool == true && check["reason"] as? String == "hard_bounce")
    try await eventually("the message is shown as bounced") { try await mta.get("/v1/messages/f-0").body.contains("\"state\":\"bounced\"") }

    let shown = try await mta.get("/v1/messages/f-0").body
    #expect(shown.contains("\"feedback\":[{") && shown.contains("\"bounceType\":\"hard\""), "\(shown)")

    // A full mailbox is nobody's fault, a delay is no bounce, and an answer is no report.
    try Self.deliver(
      ReturnedMail.bounce(recipient: "u1@d0.test-zone.example", status: "5.2.2", diagnostic: "552 5.2.2 mailbox full"),
      to: try Self.returnPath("f-1", mta), port: port, mta)
    try Self.deliver(
      ReturnedMail.bounce(recipient: "u2@d0.test-zone.example", action: "delayed", status: "4.4.1", diagnostic: "later"),
      to: try Self.returnPath("f-2", mta), port: port, mta)
    try Self.deliver(ReturnedMail.vacation(), to: try Self.returnPath("f-2", mta), from: "u2@d0.test-zone.example", port: port, mta)
    try await eventually("the second is told") { mta.receiver.messageIDs("bounced").count == 2 }
    #expect(mta.receiver.all.last { $0.event == "bounced" }?.fields["bounceType"] == "soft")
    #expect(try await mta.get("/suppression/check/u1@d0.test-zone.example?organizationId=acme").json["suppressed"] as? Bool == false)
    let metrics = try await mta.get("/metrics").body
    for line in ["bounced\"} 2", "repeated\"} 1", "delayed\"} 1", "automatic\"} 1"] {
      #expect(metrics.contains("mta_inbound_mail_total{kind=\"" + line), "\(line)")
    }
    await mta.tearDown()
  }

  @Test func aComplaintSuppressesAndIsToldOnce() async throws {
    var zones = Zones.separate(1)
    zones["test-zone.example"]?.append("d0 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"")
    let dns = try await NameServer(zones: zones)
    defer { dns.stop() }
    let (mta, port) = try await Self.start(4, dns: dns) { $0.isWarmed = false }
    // To the return-path; to the registered address with our Message-ID in what is given back; and without any.
    try Self.deliver(ReturnedMail.complaint(recipient: "redacted"), to: try Self.returnPath("f-0", mta), port: port, mta)
    let second = try #require(mta.log.all.first { $0.messageID == "f-1" })
    let returned = "Message-ID: \(second.field("Message-ID") ?? "")\nFrom: news@sender.example\nSubject: x"
    // A Message-ID is known to many: nobody may complain by it but whoever runs the recipient's mailbox.
    for (sender, isHeard) in [("fbl@d0.test-zone.example", false), ("fbl@else.example", true), ("fbl@d0.test-zone.example", true)] {
      let author = isHeard ? sender : "fbl@else.example"
      try Self.deliver(
        ReturnedMail.complaint(recipient: "redacted", returned: returned, from: author), to: "fbl@bounces.test.example", from: sender,
        port: port, mta)
    }
    try Self.deliver(
      ReturnedMail.complaint(recipient: "redacted", returned: returned, from: "fbl@d0.test-zone.example"), to: "fbl@bounces.test.example",
      from: "fbl@d0.test-zone.example", port: port, mta)
    try Self.deliver(ReturnedMail.complaint(recipient: "u2@d0.test-zone.example"), to: "fbl@bounces.test.example", port: port, mta)
    try Self.deliver(
      ReturnedMail.complaint(recipient: "u3@d0.test-zone.example", type: "not-spam"), to: try Self.returnPath("f-3", mta), port: port, mta)
    try await eventually("both are told") { mta.receiver.messageIDs("complained").sorted() == ["f-0", "f-1"] }
    let event = try #require(mta.receiver.all.first { $0.event == "complained" })
    #expect(event.fields["organizationId"] == "acme" && event.fields["recipient"] == "u0@d0.test-zone.example")
    for (user, isSuppressed) in [("u0", true), ("u1", true), ("u2", false), ("u3", false)] {
      let check = try await mta.get("/suppression/check/\(user)@d0.test-zone.example?organizationId=acme").json
      #expect(check["suppressed"] as? Bool == isSuppressed, "\(user)")
      if isSuppressed { #expect(check["reason"] as? String == "complaint") }
    }
    try await eventually("the message shows it") { try await mta.get("/v1/messages/f-1").body.contains("\"kind\":\"complained\"") }
    #expect(try await !mta.get("/v1/messages/f-2").body.contains("feedback"))
    let metrics = try await mta.get("/metrics").body
    #expect(
      metrics.contains("mta_inbound_mail_total{kind=\"complained\"} 2") && metrics.contains("mta_inbound_mail_total{kind=\"repeated\"} 1"))
    #expect(
      metrics.contains("mta_inbound_mail_total{kind=\"unattributed\"} 1") && metrics.contains("mta_inbound_mail_total{kind=\"unproven\"} 2")
    )
    // The IP's day counts the complaint of the recipient's own server, in place of the delivery, and not the one that anyone may
    // have written.
    let day = try mta.redis("HGET", "{mta}:policy", "warm:127.0.0.21")
    #expect(day.hasSuffix("other 3 1 0 0"), "\(day)")
    #expect(mta.receiver.messageIDs("complained").count == 2)
    await mta.tearDown()
  }

  /// What was accepted more than 16 days ago is beyond all reports: no event, no suppression, a count.
  @Test func anExpiredTokenDoesNothing() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(2, dns: dns)
    let path = try Self.returnPath("f-0", mta)
    try await mta.registerDKIM("test.example")
    try await mta.send("c-0", to: "u1@d0.test-zone.example", ["from": "News <n@test.example>", "dkimDomain": "test.example"])
    try await eventually("it is told") { mta.receiver.messageIDs("sent").contains("c-0") }
    let field = try #require(mta.log.all.first { $0.messageID == "c-0" }?.field("CFBL-Address"))
    let fbl = String(try #require(field.split(separator: ";").first))
    try await eventually("history has them") {
      for id in ["f-0", "f-1", "c-0"] where try await !mta.get("/v1/messages/\(id)").body.contains("delivered") { return false }
      return true
    }
    #expect(try await mta.stop() == 0)
    // Two of them are made older where their history says when they were accepted.
    let script = try mta.scratch.write(
      "age.py",
      """
      import sqlite3, sys
      def zigzag(value):
        value <<= 1
        out = bytearray()
        while value >= 0x80:
          out.append(value & 0x7F | 0x80)
          value >>= 7
        return bytes(out + bytes([value]))
      db = sqlite3.connect(sys.argv[1])
      for number, record, outcome, message in db.execute(
        "SELECT number, record, outcome, message_id FROM message WHERE message_id != 'f-1'").fetchall():
        # Tag 12, six octets.
        at = next(i for i in range(len(record)) if record[i] == 12 and record[i + 1] == 6 and record[i + 7] < 0x80)
        shift = value = 0
        for octet in record[at + 2:at + 8]:
          value |= (octet & 0x7F) << shift
          shift += 7
        old = zigzag((value >> 1) - 16 * 86400000 - 60000)
        assert len(old) == 6
        db.execute("UPDATE message SET record = ? WHERE number = ?", (record[:at + 2] + old + record[at + 8:], number))
      db.commit()
      """)
    let done = try run(DeliveryTests.python, [script, mta.scratch.file("s/history.db")])
    try #require(done.code == 0, "\(done.errors)")
    try await mta.start()
    for (text, to) in [
      (ReturnedMail.bounce(recipient: "u0@d0.test-zone.example"), path),
      (ReturnedMail.complaint(recipient: "u1@d0.test-zone.example"), fbl),
      (ReturnedMail.bounce(recipient: "u1@d0.test-zone.example"), try Self.returnPath("f-1", mta)),
    ] {
      #expect(try Self.deliver(text, to: to, port: port, mta).last?.hasPrefix("data 250") == true)
    }
    try await eventually("the young one is told") { mta.receiver.messageIDs("bounced") == ["f-1"] }
    #expect(try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"expired\"} 2"))
    #expect(mta.receiver.messageIDs("complained").isEmpty && mta.receiver.messageIDs("bounced") == ["f-1"])
    #expect(try mta.redis("HKEYS", "{mta}:sup:acme") == "u1@d0.test-zone.example")
    await mta.tearDown()
  }

  /// Nobody can bounce or complain in another's name.
  @Test func forgedTokensAreRefusedAtRCPT() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(1, dns: dns)
    let path = try Self.returnPath("f-0", mta)
    let at = try #require(path.firstIndex(of: "@"))
    var letters = Array(path[..<at])
    letters[letters.count - 3] = letters[letters.count - 3] == "a" ? "b" : "a"
    let forged = String(letters) + path[at...]
    let token = path[..<at].dropFirst("bounce+".count)
    for recipient in [
      forged, "bounce+@bounces.test.example", "bounce+Zg+aaaaaaaaaaaaaa@bounces.test.example", "fbl+\(token)@bounces.test.example",
      "somebody@bounces.test.example", "u0@d0.test-zone.example",
    ] {
      let replies = try Self.deliver(ReturnedMail.bounce(recipient: "u0@d0.test-zone.example"), to: recipient, port: port, mta)
      #expect(replies.last?.hasPrefix("rcpt 550 5.1.1") == true, "\(recipient): \(replies)")
    }
    // A report whose words name another message is about the one whose token it came to.
    try await mta.send("other", to: "v@d0.test-zone.example", org: "rival")
    try await eventually("the other is delivered") { mta.receiver.messageIDs("sent").contains("other") }
    let other = try #require(mta.log.all.first { $0.messageID == "other" })
    try Self.deliver(
      ReturnedMail.bounce(recipient: "v@d0.test-zone.example", messageID: other.field("Message-ID")), to: path, port: port, mta)
    try await eventually("it is told") { !mta.receiver.messageIDs("bounced").isEmpty }
    #expect(mta.receiver.messageIDs("bounced") == ["f-0"])
    #expect(try await mta.get("/suppression/check/v@d0.test-zone.example?organizationId=rival").json["suppressed"] as? Bool == false)
    #expect(try await mta.get("/suppression/check/v@d0.test-zone.example?organizationId=acme").json["suppressed"] as? Bool == false)
    #expect(try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"forged\"} 4"))
    await mta.tearDown()
  }

  /// Where several hosts share a queue, each has the history of what it sent: another is asked to come again, but not for ever.
  @Test func aReportOfAnotherHostsMessageComesAgainForADay() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(1, dns: dns)
    let path = try Self.returnPath("f-0", mta)
    try await eventually("history has it") { try await mta.get("/v1/messages/f-0").status == 200 }
    let forget = "import sqlite3; c = sqlite3.connect('\(mta.scratch.path)/s/history.db'); c.execute('DELETE FROM message'); c.commit()"
    #expect(try run(DeliveryTests.python, ["-c", forget]).code == 0)
    _ = try mta.redis("SADD", "{mta}:hosts", "other.example")
    func deliver() throws -> String {
      try Self.deliver(ReturnedMail.bounce(recipient: "u0@d0.test-zone.example"), to: path, port: port, mta).last ?? ""
    }
    for _ in 0..<2 { #expect(try deliver().hasPrefix("data 451 4.3.0 Another server of this domain")) }
    let keys = try mta.redis("KEYS", "{mta}:fb:*:missed").split(separator: "\n")
    #expect(keys.count == 1)
    let key = String(try #require(keys.first))
    let first = try #require(Int64(try mta.redis("GET", key)))
    _ = try mta.redis("SET", key, "\(first - 86_400_000)", "KEEPTTL")
    #expect(try deliver().hasPrefix("data 250"))
    let metrics = try await mta.get("/metrics").body
    #expect(metrics.contains("mta_inbound_mail_total{kind=\"elsewhere\"} 2\n"))
    #expect(metrics.contains("mta_inbound_mail_total{kind=\"unattributed\"} 1\n"))
    await mta.tearDown()
  }

  @Test func aMailUnsubscribesToo() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(0, extra: "unsubscribe: { base_url: \"https://mail.example\" }\n", dns: dns)
    try await mta.send("l-1", to: "ann@d0.test-zone.example", ["unsubscribe": ["list": "weekly"]])
    try await eventually("it arrived") { mta.log.count == 1 }
    let value = try #require(mta.log.all[0].field("List-Unsubscribe"))
    let match = try #require(value.firstMatch(of: #/<mailto:([^?>]+)\?subject=([^>]+)>/#))
    try Self.deliver(
      "From: ann@d0.test-zone.example\r\nSubject: \(match.2)\r\n\r\n", to: String(match.1), from: "ann@d0.test-zone.example", port: port,
      mta)
    try await eventually("it is told") { mta.receiver.messageIDs("unsubscribed") == ["l-1"] }
    try Self.deliver("From: ann@d0.test-zone.example\r\nSubject: please stop\r\n\r\n", to: String(match.1), port: port, mta)
    #expect(try await mta.get("/metrics").body.contains("mta_inbound_mail_total{kind=\"unattributed\"} 1"))
    await mta.tearDown()
  }

  @Test func postmasterIsSomebody() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let (mta, port) = try await Self.start(0, dns: dns) { $0.bounce += ", postmaster: boss@d0.test-zone.example" }
    let mail = "From: somebody@remote.example\r\nSubject: Your mail\r\nX-Odd: \u{e9}\r\n\r\nstop it\r\n"
    for recipient in ["postmaster@bounces.test.example", "abuse@mta.test.example", "postmaster"] {
      let replies = try Self.deliver(mail + recipient, to: recipient, from: "somebody@remote.example", port: port, mta)
      #expect(replies.last?.hasPrefix("data 250") == true, "\(recipient): \(replies)")
    }
    // The same again is the same message.
    try Self.deliver(mail + "postmaster", to: "postmaster", from: "somebody@remote.example", port: port, mta)
    try await eventually("all are relayed") { mta.log.count == 3 }
    for message in mta.log.all {
      #expect(message.recipients == ["boss@d0.test-zone.example"])
      let text = String(decoding: message.octets, as: UTF8.self)
      #expect(text.contains("Received: from mx.remote.example ([127.0.0.1])") && text.contains("\(mail.dropFirst(0))"))
    }
    let circle = String(repeating: "Received: from a by b; Tue, 1 Jan 2030 00:00:00 +0000\r\n", count: 40) + mail
    #expect(try Self.deliver(circle, to: "postmaster", port: port, mta).last?.hasPrefix("data 554 5.4.6") == true)
    await mta.tearDown()
  }
}
