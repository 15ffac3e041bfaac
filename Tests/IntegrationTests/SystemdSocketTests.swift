import Foundation
import TestSupport
import Testing

/// The shipped sockets for what comes in over SMTP, under a real systemd.
@Suite(
  .serialized,
  .enabled(if: SystemdRig.obstacle == nil, "real systemd cannot run here: \(SystemdRig.obstacle ?? "")"))
struct SystemdSocketTests {
  /// Not 127.0.0.1: the host may have a mail server there.
  private static let host = "127.0.0.91"
  private static let (bounce, submission, implicit) = (25, 587, 465)

  /// What became of connections.
  private struct Tally: Sendable {
    var served = 0
    /// Told 421: it was taken a moment before the stop.
    var sentAway = 0
    var faults: [String] = []
    var total: Int { served + sentAway + faults.count }
  }

  private func rig(_ dns: NameServer) async throws -> SystemdRig {
    var options = MTAFixture.Options()
    options.dns = dns
    options.bounce = "listen: [\"\(Self.host):\(Self.bounce)\"]"
    options.extra =
      "submission: { listen: [ \"\(Self.host):\(Self.submission)\", { address: \"\(Self.host):\(Self.implicit)\", tls: implicit } ], "
      + "tls: { cert: /etc/owlat-mta/tls.crt, key: /etc/owlat-mta/tls.key } }\n"
    let sockets = [
      "owlat-mta-smtp.socket": ["\(Self.host):\(Self.bounce)"],
      "owlat-mta-submission.socket": ["\(Self.host):\(Self.submission)", "\(Self.host):\(Self.implicit)"],
    ]
    let rig = try await SystemdRig(options, sockets: sockets)
    let made = try rig.inside(
      "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mta.test.example", "-keyout",
      "/etc/owlat-mta/tls.key", "-out", "/etc/owlat-mta/tls.crt")
    #expect(made.code == 0, "\(made.errors)")
    try rig.inside("chgrp", "owlat-mta", "/etc/owlat-mta/tls.key", "/etc/owlat-mta/tls.crt")
    try rig.inside("chmod", "640", "/etc/owlat-mta/tls.key", "/etc/owlat-mta/tls.crt")
    return rig
  }

  /// One session; nil when it was sent away in order.
  private static func session(_ port: Int) async throws -> String? {
    let client = try RawClient(port: port, host: host)
    defer { client.close() }
    guard let banner = try await client.reply(within: .seconds(30)) else { throw SystemdRig.Fault(description: "closed without a word") }
    var replies = [banner]
    for line in ["EHLO client.example", "NOOP", "QUIT"] where replies.last?.hasPrefix("421") == false {
      replies.append(try await client.ask(line))
    }
    if replies.last?.hasPrefix("421") == true { return nil }
    let codes = replies.map { String($0.prefix(3)) }
    guard codes == ["220", "250", "250", "221"] else { throw SystemdRig.Fault(description: "\(replies)") }
    return banner
  }

  /// Enabled beside a service that runs; then clients connect all the time, over two restarts.
  @Test func aRestartRefusesNoConnection() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await rig(dns)
    // Before: a configuration without them.
    try rig.inside("cp", "/etc/owlat-mta/config.yaml", "/etc/owlat-mta/later.yaml")
    try rig.inside("sed", "-i", "s|, listen: \\[[^]]*\\]||; /^submission:/d", "/etc/owlat-mta/config.yaml")
    try rig.start()
    #expect(throws: TimedOut.self) { try RawClient(port: Self.bounce, host: Self.host) }
    try rig.inside("cp", "/etc/owlat-mta/later.yaml", "/etc/owlat-mta/config.yaml")
    let enabled = try rig.inside("systemctl", "enable", "--runtime", "owlat-mta-smtp.socket", "owlat-mta-submission.socket")
    #expect(enabled.code == 0, "\(enabled.errors)")
    let restarted = try rig.inside("systemctl", "restart", "owlat-mta.service")
    #expect(restarted.code == 0, "\(restarted.errors)\(rig.describe())")
    for field in [
      "MTA_BOUNCE=\(Self.host):\(Self.bounce) (passed)",
      "MTA_SUBMISSION=\(Self.host):\(Self.submission) (passed), \(Self.host):\(Self.implicit) (passed)",
    ] { #expect(try !rig.journal(field).isEmpty, "\(field)\n\(rig.describe())") }
    let status = try rig.inside("cat", "/proc/\(try rig.mainPID())/status").output
    #expect(status.contains("CapEff:\t0000000000000000") && !status.contains("Uid:\t0\t"), "it has no right to open port 25")

    let tally = Locked(Tally())
    let isOver = Locked(false)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<6 {
        group.addTask {
          while !isOver.value {
            do {
              let banner = try await Self.session(client % 2 == 0 ? Self.bounce : Self.submission)
              tally.change { if banner == nil { $0.sentAway += 1 } else { $0.served += 1 } }
            } catch { tally.change { $0.faults.append("\(error)") } }
            try await Task.sleep(for: .milliseconds(5))
          }
        }
      }
      group.addTask {
        defer { isOver.change { $0 = true } }
        for round in 0...2 {
          let before = tally.value.served
          try await eventually("sessions are served") { tally.value.served > before + 60 || !tally.value.faults.isEmpty }
          if round < 2 { #expect(try rig.inside("systemctl", "restart", "owlat-mta.service").code == 0, "\(rig.describe())") }
        }
      }
      try await group.waitForAll()
    }
    let result = tally.value
    #expect(result.faults.isEmpty, "\(result.faults.prefix(4)) of \(result.total)\n\(rig.describe())")
    // At most those that were in a session at the time, in each restart.
    #expect(result.sentAway <= 12 && result.served > 180, "\(result.served) served, \(result.sentAway) sent away")

    try await submits(rig)
    await rig.end()
  }

  /// Each passed socket is what its entry says: STARTTLS on one, TLS from the first octet on the other.
  private func submits(_ rig: SystemdRig) async throws {
    try await rig.mta.registerDKIM("sender.example")
    let answer = try await rig.mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"smtp\"}")
    let key = try #require(answer.json["key"] as? String ?? answer.json["apiKey"] as? String, "\(answer.body)")
    for (mode, port) in [("starttls", Self.submission), ("implicit", Self.implicit)] {
      let mail =
        "From: s@sender.example\r\nTo: u@\(Zones.domain(0))\r\nSubject: \(mode)\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n\r\nHello\r\n"
      let file = try rig.mta.scratch.write("\(mode).eml", mail)
      let words = ["Tests/Fixtures/submit.py", mode, "\(Self.host):\(port)", key, "s@sender.example", "u@\(Zones.domain(0))", file]
      let outcome = try run(DeliveryTests.python, words)
      #expect(outcome.output.hasPrefix("235 250 250 250"), "\(outcome.output)\(outcome.errors.suffix(400))")
    }
    try await eventually("both arrive") { Set(rig.mta.log.all.compactMap { $0.field("Subject") }) == ["starttls", "implicit"] }
  }

  /// Who connects while it is down waits for it, and wakes it.
  @Test func aConnectionWakesAStoppedService() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await rig(dns)
    let sockets = try rig.inside("systemctl", "start", "owlat-mta-smtp.socket", "owlat-mta-submission.socket")
    #expect(sockets.code == 0 && sockets.errors.isEmpty, "\(sockets.errors)")
    #expect(try rig.property("ActiveState") == "inactive")
    let banner = try await Self.session(Self.bounce)
    #expect(banner?.contains("Bounce Processor") == true, "\(banner ?? "421")\n\(rig.describe())")
    try await eventually("it is ready") { try rig.property("ActiveState") == "active" }
    #expect(try rig.inside("systemctl", "stop", "owlat-mta.service").code == 0)
    #expect(try rig.property("ActiveState", of: "owlat-mta-submission.socket") == "active")
    let again = try await Self.session(Self.submission)
    #expect(again?.contains("Submission") == true, "\(again ?? "421")\n\(rig.describe())")
    await rig.end()
  }
}
