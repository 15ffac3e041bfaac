import Foundation
import SMTPServer
import TestSupport
import Testing

/// Mail submitted by programs that others wrote: smtplib, swaks, msmtp.
@Suite(.serialized) struct SubmissionTests {
  /// Bcc is the one field that does not leave.
  static let bcc = "Bcc: hidden@\(Zones.domain(1))\r\n"
  static let message =
    "From: =?utf-8?q?J=C3=B6rg?= <joerg@news.sender.example>\r\nTo: a@\(Zones.domain(0)),\r\n\tb@\(Zones.domain(1))\r\n" + bcc
    + "Subject: Whole\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <whole@laptop.example>\r\nIn-Reply-To: <before@x.example>\r\n"
    + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\nPreamble\r\n--b\r\n"
    + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.dots\r\n..\r\nGrüße  \t\r\n\r\n--b\r\n"
    + "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgc=\r\n--b--\r\nEpilogue\r\n"

  final class Rig {
    let dns: NameServer
    let mta: MTAFixture
    let ports: [Int]
    private let folder: Scratch
    var key = ""
    var record = ""

    init() async throws {
      dns = try await NameServer(zones: Zones.separate(2))
      var options = MTAFixture.Options()
      options.dns = dns
      ports = [try freePort(), try freePort()]
      folder = try Scratch()
      let made = try run(
        "/usr/bin/openssl",
        [
          "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mta.test.example", "-keyout", folder.file("k"),
          "-out",
          folder.file("c"),
        ])
      #expect(made.code == 0)
      options.extra = """
        submission:
          listen: [ "127.0.0.1:\(ports[0])", { address: "127.0.0.1:\(ports[1])", tls: implicit } ]
          tls: { cert: \(folder.file("c")), key: \(folder.file("k")) }
        """
      mta = try await MTAFixture(options)
      try await mta.start()
      record = try await mta.registerDKIM("sender.example")
      let answer = try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"smtp\"}")
      key = try #require(answer.json["key"] as? String ?? answer.json["apiKey"] as? String, "\(answer.body)")
    }

    func write(_ text: String, _ name: String) throws -> String { try mta.scratch.write(name, text) }

    /// Codes and last reply, by smtplib.
    func submit(
      _ file: String, to: String, mode: String = "starttls", key: String? = nil, from: String = "s@sender.example", _ parameters: String...
    ) throws -> String {
      let port = ports[mode.hasPrefix("implicit") ? 1 : 0]
      let outcome = try run(
        DeliveryTests.python, ["Tests/Fixtures/submit.py", mode, "\(port)", key ?? self.key, from, to, file] + parameters)
      return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines) + outcome.errors.suffix(500)
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
      folder.remove()
    }
  }

  /// By this way too a tenant sends from its own domains only.
  @Test func aKeySendsFromItsDomains() async throws {
    let rig = try await Rig()
    func mail(_ from: String) throws -> String { try rig.write("From: a@\(from)\r\nSubject: s\r\n\r\nText\r\n", from) }
    let body = "{\"organizationId\":\"rival\",\"name\":\"k\",\"allowedDomains\":[\"sender.example\"]}"
    let rival = try #require(try await rig.mta.call("POST", "/credentials", body: body).json["apiKey"] as? String)
    let to = "u@\(Zones.domain(0))"
    #expect(try rig.submit(mail("sender.example"), to: to, key: rival).contains("250"))
    let refused = try rig.submit(mail("news.sender.example"), to: to, key: rival)
    #expect(refused.contains("550") && refused.contains("not authorized to send from news.sender.example"), "\(refused)")
    let beside = try rig.write("From: a@sender.example\r\nSender: b@other.example\r\nSubject: s\r\n\r\nText\r\n", "beside")
    #expect(try rig.submit(beside, to: to, key: rival).contains("not authorized to send from other.example"))
    let owner = "{\"organizationId\":\"acme\"}"
    #expect(try await rig.mta.call("POST", "/dkim/sender.example/register", body: owner).status == 200)
    let theirs = try rig.submit(mail("sender.example"), to: to, key: rival)
    #expect(theirs.contains("550") && theirs.contains("another organization's"), "\(theirs)")
    for key in [rig.key, MTAFixture.key] {
      #expect(try rig.submit(mail("sender.example"), to: to, key: key).contains("250"), "owner, operator")
    }
    await rig.end()
  }

  /// A key that is taken back sends no more, also in a session that it opened.
  @Test func aKeyIsTakenBackInItsSession() async throws {
    let rig = try await Rig()
    let file = try rig.write("From: a@sender.example\r\nSubject: s\r\n\r\nText\r\n", "twice")
    let arguments = [
      "Tests/Fixtures/submit.py", "starttls-twice", "\(rig.ports[0])", rig.key, "s@sender.example", "u@\(Zones.domain(0))", file,
    ]
    let session = Task.detached { try run(DeliveryTests.python, arguments) }
    try await eventually("the first is submitted") { FileManager.default.fileExists(atPath: file + ".sent") }
    #expect(try await rig.mta.call("DELETE", "/credentials/\(rig.key)", body: nil).status == 200)
    _ = try rig.write("", "twice.again")
    let said = try await session.value.output
    #expect(said.hasPrefix("235 250 250 250 250 250 550") && said.contains("the API key is no more"), "\(said)")
    await rig.end()
  }

  @Test func mailOfThreeProgramsArrivesWhole() async throws {
    let rig = try await Rig()
    let mta = rig.mta
    let first = try rig.write(Self.message, "first.eml")
    let to = "a@\(Zones.domain(0)),b@\(Zones.domain(1))"
    let once = try rig.submit(first, to: to, "XOWLATID=order-1")
    #expect(once.hasPrefix("235 250 250 250 250 2.0.0 queued as "))
    try await eventually("both have it") { mta.log.count == 2 }
    let whole = Array(Self.message.replacingOccurrences(of: Self.bcc, with: "").utf8)
    for taken in mta.log.all {
      #expect(taken.octets.count > whole.count && Array(taken.octets.suffix(whole.count)) == whole)
      let head = String(decoding: taken.octets.dropLast(whole.count), as: UTF8.self)
      let added = head.components(separatedBy: "\r\n").filter { !$0.hasPrefix("\t") && !$0.isEmpty }.map { $0.prefix { $0 != ":" } }
      #expect(added == ["DKIM-Signature", "Received"])
      #expect(taken.returnPath.hasPrefix("bounce+"))
    }
    #expect(Set(mta.log.all.flatMap(\.recipients)) == Set(to.split(separator: ",").map(String.init)))

    // Again: known by its key, by its octets; another message under the key is refused, and nothing of it goes.
    #expect(try rig.submit(first, to: to, mode: "implicit-login", "XOWLATID=order-1") == once + ", as before")
    let second = try rig.write(Self.message.replacingOccurrences(of: "Whole", with: "Other"), "second.eml")
    #expect(try rig.submit(second, to: to + ",c@\(Zones.domain(0))", "XOWLATID=order-1").contains(" 554 5.5.4 "))
    #expect(try rig.submit(second, to: "a@\(Zones.domain(0))").contains("queued as"))
    #expect(try rig.submit(second, to: "a@\(Zones.domain(0))", mode: "implicit").contains(", as before"))
    #expect(!(try rig.submit(second, to: "a@\(Zones.domain(0))", "XOWLATDEDUP=OFF").contains("as before")))
    let fielded = try rig.write("X-Owlat-Idempotency-Key: order-2\r\n" + Self.message, "fielded.eml")
    #expect(try rig.submit(fielded, to: "a@\(Zones.domain(0))").contains("queued as"))
    #expect(try rig.submit(fielded, to: "a@\(Zones.domain(0))", "XOWLATID=order-3").contains(" 554 5.5.4 "))
    try await eventually("five in all") { mta.log.count == 5 }
    #expect(!mta.log.all.contains { $0.field("X-Owlat-Idempotency-Key") != nil })

    // Two other programs, each by its own way in.
    let plain = "From: s@sender.example\r\nTo: u@\(Zones.domain(0))\r\nSubject: by NAME\r\n\r\n.a dot\r\nand text\r\n"
    let swaks = try run(
      "/usr/bin/swaks",
      [
        "--server", "127.0.0.1", "--port", "\(rig.ports[0])", "--tls", "--auth", "LOGIN", "--auth-user", "acme", "--auth-password", rig.key,
        "--from", "s@sender.example", "--to", "u@\(Zones.domain(0))", "--data",
        "@"
          + (try rig.write(plain.replacingOccurrences(of: "NAME", with: "swaks").replacingOccurrences(of: "\r\n", with: "\n"), "swaks.eml")),
      ])
    #expect(swaks.code == 0, "\(swaks.output.suffix(1500))")
    let file = try rig.write(plain.replacingOccurrences(of: "NAME", with: "msmtp"), "msmtp.eml")
    let msmtp = try run(
      "/bin/sh",
      [
        "-c",
        "msmtp --host=127.0.0.1 --port=\(rig.ports[1]) --tls=on --tls-starttls=off --tls-certcheck=off --auth=plain --user=acme"
          + " --passwordeval='echo \(rig.key)' --from=s@sender.example u@\(Zones.domain(0)) < \(file)",
      ])
    #expect(msmtp.code == 0, "\(msmtp.errors)")
    try await eventually("seven in all") { mta.log.count == 7 }
    for name in ["swaks", "msmtp"] {
      let taken = try #require(mta.log.all.first { $0.field("Subject") == "by \(name)" })
      // swaks ends its data with a line end more.
      #expect(String(decoding: taken.octets, as: UTF8.self).contains("\r\n\r\n.a dot\r\nand text\r\n"))
      #expect(taken.field("Message-ID") != nil && taken.field("Date") != nil)
    }
    try await eventually("all are told") { mta.receiver.messageIDs("sent").count == 7 }

    try FileManager.default.createDirectory(atPath: mta.scratch.file("mail"), withIntermediateDirectories: true)
    for (index, message) in mta.log.all.enumerated() {
      try Data(message.octets).write(to: URL(fileURLWithPath: mta.scratch.file("mail/\(index).eml")))
    }
    let judged = try run(DeliveryTests.python, ["Tests/Fixtures/verify.py", "dkim", rig.record, mta.scratch.file("mail")])
    #expect(judged.output == "7\n", "\(judged.errors)")
    let metrics = try await mta.get("/metrics").body
    #expect(metrics.contains("mta_inbound_accepted_total{listener=\"submission\"} 8\n"))
    await rig.end()
  }

  @Test func whatIsRefused() async throws {
    let rig = try await Rig()
    let to = "a@\(Zones.domain(0))"
    let file = try rig.write(Self.message, "first.eml")
    #expect(try rig.submit(file, to: to, key: "owlat_" + String(repeating: "0", count: 32)).hasPrefix("535 5.7.8"))
    let client = try RawClient(port: rig.ports[0])
    #expect(try await client.reply()?.hasPrefix("220 mta.test.example") == true)
    let hello = try await client.ask("EHLO laptop.example")
    #expect(hello.contains("250-STARTTLS") && hello.contains("XOWLATID") && !hello.contains("AUTH"))
    #expect(try await client.ask("AUTH PLAIN AGEAYg==").hasPrefix("538 5.7.11"))
    #expect(try await client.ask("MAIL FROM:<s@sender.example>").hasPrefix("530 5.7.0"))
    client.send("STARTTLS\r\nEHLO injected.example\r\n")
    #expect(try await client.reply()?.hasPrefix("554 5.5.1") == true)
    #expect(try await client.reply() == nil)

    func refusal(_ change: (String) -> String, _ parameters: String = "SIZE=5") throws -> String {
      let reply = try rig.submit(try rig.write(change(Self.message), "bad.eml"), to: to, parameters)
      return reply.split(separator: " ").suffix(from: 1).joined(separator: " ")
    }
    #expect(try refusal { $0.replacingOccurrences(of: "news.sender.example", with: "other.example") }.contains("550 5.7.1 no DKIM key"))
    #expect(try refusal { "From: x@sender.example\r\n" + $0 }.contains("554 5.6.0 exactly one From"))
    #expect(try refusal { $0.replacingOccurrences(of: "Subject: Whole", with: "Subject Whole") }.contains("554 5.6.0"))
    #expect(try refusal { $0.replacingOccurrences(of: "Subject: Whole", with: "Subject: Grüße") }.contains("554 5.6.7"))
    #expect(try refusal({ $0 }, "XOWLATDEDUP=MAYBE").hasPrefix("501 5.5.4"))
    #expect(try refusal({ $0 }, "SIZE=99999999").hasPrefix("552 5.3.4"))
    #expect(try rig.submit(file, to: "a@localhost").hasPrefix("235 250 553"))
    #expect(rig.mta.log.count == 0)
    // A key of a name that no tenant may have, as another version may have made it.
    let odd = "owlat_" + String(repeating: "1", count: 32)
    let sum = try run("/usr/bin/openssl", ["dgst", "-sha256", "-r", try rig.write(odd, "odd")]).output.prefix(64)
    let row = "{\"organizationId\":\"system\",\"name\":\"n\",\"createdAt\":1,\"prefix\":\"owlat_1111\"}"
    _ = try rig.mta.redis("HSET", "{mta}:cred", String(sum), row)
    #expect(try rig.submit(file, to: to, key: odd).hasPrefix("535 5.7.8 the key's organizationId must not be system"))
    // The master key may too; its mail is nobody's.
    #expect(try rig.submit(file, to: to, key: MTAFixture.key).contains("queued as"))
    try await eventually("it arrives") { rig.mta.log.count == 1 }
    // The wrong key is nowhere in the log, nor is the right one.
    #expect(!rig.mta.logText().contains("owlat_"))
    await rig.end()
  }

  /// 12 MiB to three recipients: through a file, stored once, out again octet for octet.
  @Test func aLargeMessageArrivesWhole() async throws {
    let rig = try await Rig()
    let line = String(repeating: "QUJD", count: 19) + "\r\n"
    let text = Self.message.replacingOccurrences(of: "AAECAwQFBgc=\r\n", with: String(repeating: line, count: (12 << 20) / 78))
    let file = try rig.write(text, "large.eml")
    _ = try rig.mta.peakMemoryMiB(reset: true)
    let answer = try rig.submit(file, to: "a@\(Zones.domain(0)),b@\(Zones.domain(0)),c@\(Zones.domain(1))")
    #expect(answer.contains("queued as"), "\(answer)")
    try await eventually("all three have it", within: .seconds(30)) { rig.mta.log.count == 3 }
    let whole = Array(text.replacingOccurrences(of: Self.bcc, with: "").utf8)
    for taken in rig.mta.log.all { #expect(taken.octets.suffix(whole.count).elementsEqual(whole)) }
    let peak = try rig.mta.peakMemoryMiB()
    #expect(peak < 500, "\(peak) MiB")
    await rig.end()
  }

  /// A submission that was answered survives what comes after; one that was not may be repeated without harm.
  @Test func aRetryAfterACrashIsOneDelivery() async throws {
    let rig = try await Rig()
    let file = try rig.write(Self.message, "first.eml")
    let to = "a@\(Zones.domain(0)),b@\(Zones.domain(1))"
    #expect(try rig.mta.command("org", "pause", "acme").code == 0)
    let once = try rig.submit(file, to: to)
    #expect(once.contains("queued as"))
    try await rig.mta.killSupervisor()
    try await rig.mta.start()
    #expect(try rig.submit(file, to: to) == once + ", as before")
    #expect(try rig.mta.command("org", "resume", "acme").code == 0)
    try await eventually("both arrive") { rig.mta.receiver.messageIDs("sent").count == 2 }
    #expect(rig.mta.log.count == 2)
    await rig.end()
  }
}
