import Foundation
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// Every command on the running product: it changes something and the answer shows it, and mail, Redis or events show it too.
@Suite(.serialized) struct CommandTests {
  static let program = MTAFixture.binaries + "/supervisor"

  /// Everything can be learnt from the program itself.
  @Test func helpAndCompletions() throws {
    let commands = try CommandDescription.all()
    #expect(commands.count >= 25)
    for (words, command) in commands {
      let help = try run(Self.program, words.split(separator: " ").map(String.init) + ["--help"])
      #expect(help.code == 0 && help.output.contains("USAGE: supervisor \(words)"), "\(words)")
      #expect(!(command.abstract ?? "").isEmpty, "\(words)")
      #expect(!(command.discussion ?? "").isEmpty, "\(words) has neither a discussion nor an example")
    }
    let names = Set(commands.map { $0.words.split(separator: " ").last.map(String.init) ?? "" })
    let scratch = try Scratch()
    defer { scratch.remove() }
    for (shell, first) in [("bash", "#!/bin/bash"), ("zsh", "#compdef supervisor"), ("fish", "function __supervisor")] {
      let script = try run(Self.program, ["--generate-completion-script", shell])
      #expect(script.code == 0 && script.output.hasPrefix(first), "\(shell): \(script.output.prefix(60))")
      #expect(names.allSatisfy(script.output.contains), "\(shell)")
      let file = try scratch.write("completion.\(shell)", script.output)
      // Only shells that are there can say whether it parses.
      guard let path = ["/bin/", "/usr/bin/"].map({ $0 + shell }).first(where: FileManager.default.isExecutableFile) else { continue }
      let parsed = try run(path, ["-n", file])
      #expect(parsed.code == 0, "\(shell): \(parsed.errors)")
    }
    #expect(try run("/bin/bash", ["-n", scratch.file("completion.bash")]).code == 0)
  }

  /// One line and a code for each kind of fault, without a supervisor.
  @Test func faultsHaveTheirCodes() throws {
    let mta = try Scratch()
    defer { mta.remove() }
    let good = try mta.write(
      "good.yaml",
      """
      state_dir: \(mta.path)/s
      runtime_dir: \(mta.path)/r
      api: { master_key: some-master-key }
      bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
      pools: { transactional: { ips: [127.0.0.21] } }
      """)
    let bad = try mta.write("bad.yaml", "hostname: a.example\nnonsense: 1\napi: { master_key: x, listen: nowhere }\n")
    #expect(try CommandAsker(config: good).ask("check-config")["problems"]?.list == [])
    let report = try CommandAsker(config: bad).ask("check-config", code: 1)
    #expect(report["valid"] == .bool(false))
    let problems = report["problems"]?.list ?? []
    #expect(problems.contains { $0["key"] == .text("nonsense") && $0["line"] == .number(2) })
    #expect(problems.contains { $0["key"] == .text("bounce.domain") } && problems.count >= 4)
    let text = try run(Self.program, ["check-config", "--config", bad])
    #expect(text.code == 1 && text.output.isEmpty && text.errors.split(separator: "\n").count == problems.count)

    // What the file names must be there and of its kind.
    let certificate = try mta.write("not.pem", "no certificate")
    for (named, fault) in [
      ("/none.pem", "bounce.tls /none.pem cannot be read: No such file or directory"), (certificate, "bounce.tls \(certificate) and"),
    ] {
      let lines = try String(contentsOfFile: good, encoding: .utf8).replacing(
        "bounce: {", with: "bounce: { tls: { cert: \(named), key: \(named) },")
      #expect(lines.contains(named))
      let result = try run(Self.program, ["check-config", "--config", try mta.write("named.yaml", lines)])
      #expect(result.code == 1 && result.errors.contains(fault), "\(result)")
    }
    // Not a word of where the supervisor is: what is certain is that it would be refused.
    let torn = try mta.write("torn.yaml", "a: [\n")
    let reload = try run(Self.program, ["reload", "--config", torn])
    #expect(reload.code == 1 && reload.errors.contains("is not YAML"), "\(reload)")

    let table: [(words: [String], code: Int32, error: String)] = [
      (["status", "--config", good], 3, "supervisor not reachable: \(mta.path)/r/control.sock: No such file or directory"),
      (["status", "--socket", mta.file("none.sock")], 3, "supervisor not reachable: \(mta.path)/none.sock: No such file or directory"),
      (["ip", "list", "--config", mta.file("none.yaml")], 3, "\(mta.path)/none.yaml: cannot be read; give --socket"),
      (["run", "--config", mta.file("none.yaml")], 1, "\(mta.path)/none.yaml: cannot be read"),
      (["queue", "pause", "--config", good], 2, "give one of --domain, --pool, --campaign, --tag"),
      (["queue", "retry", "--config", good], 2, "give a message's id, or one of"),
      (["queue", "cancel", "--config", good], 2, "give a message's"),
      (["dkim", "add", "a.example", "--key", mta.file("none.pem"), "--config", good], 2, "\(mta.path)/none.pem cannot be read"),
      (["top", "--interval", "0", "--config", good], 2, "--interval must be 0.1 to 3600 seconds"),
    ]
    for row in table {
      let result = try run(Self.program, row.words)
      #expect(result.code == row.code && result.output.isEmpty, "\(row.words)")
      #expect(result.errors.hasPrefix(row.error) && result.errors.split(separator: "\n").count == 1, "\(row.words): \(result.errors)")
    }
    for words in [
      ["status", "extra"], ["no-such-command"], ["queue", "explain"], ["send", "--to", "u@b.example"], ["top", "--interval", "x"],
    ] {
      let result = try run(Self.program, words)
      #expect(result.code == 2 && result.output.isEmpty && result.errors.hasPrefix("Error: "), "\(words): \(result.errors)")
    }
  }

  @Test func everyCommandChangesWhatItSays() async throws {
    let dns = try await NameServer(zones: Zones.separate(4))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "campaign": ["127.0.0.22"]]
    options.extra = "retry: { delays: [1h], jitter: 0 }\n"
    options.script = { moment in
      if case .rcpt(let recipient) = moment, recipient.hasPrefix("grey") { return .reply("451 4.7.1 later") }
      if case .message(let message) = moment, message.recipients.first?.hasPrefix("cut") == true { return SinkAction(.close) }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    let asker = CommandAsker(config: mta.config)
    try await keysAndSending(mta, asker)
    try await waitingMail(mta, asker)
    try await addressesAndIPs(mta, asker)
    try await figures(mta, asker)
    try await changesAtRunTime(mta, asker)
    try await backups(mta, asker)
    let expected = try CommandDescription.all().filter { $0.command.hasJSON && $0.words != "run" }.map(\.words)
    #expect(asker.asked.union(["check-config"]) == Set(expected), "every command with --json is asked")
    #expect(Set(CommandShapes.all.keys) == Set(expected))
    await mta.tearDown()
  }

  private func keysAndSending(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    #expect(try asker.ask("dkim list") == .list([]))
    let made = try asker.ask("dkim add", "sender.example")
    let selector = try #require(made["selector"]?.text)
    #expect(made["created"] == .bool(true) && made["dnsName"]?.text == "\(selector)._domainkey.sender.example")
    #expect(try asker.ask("dkim add", "sender.example")["created"] == .bool(false))
    let pem = try mta.scratch.write("own.pem", try run("/usr/bin/openssl", ["genrsa", "2048"]).output)
    #expect(try asker.ask("dkim add", "own.example", "--selector", "mine", "--key", pem)["selector"] == .text("mine"))
    #expect(try asker.ask("dkim list").list?.map { $0["domain"]?.text } == ["own.example", "sender.example"])
    #expect(try mta.command("dkim", "list").output.contains("own.example"))

    let to = "u@\(Zones.domain(0))"
    let words = ["--to", to, "--from", "News <news@sender.example>", "--id", "one", "--text", "From the command line"]
    #expect(try asker.ask("send", words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7])["id"] == .text("one"))
    #expect(try asker.ask("send", "--to", to, "--from", "n@sender.example", "--id", "one")["deduplicated"] == .bool(true))
    #expect(try mta.command("send", "--to", to, "--from", "n@own.example", "--id", "own").output == "queued own\n")
    let piped = try run(
      "/bin/sh",
      ["-c", "echo piped text | \(Self.program) send --to \(to) --from n@sender.example --id piped --text - --config \(mta.config)"])
    #expect(piped.code == 0)
    try await eventually("three arrive") { mta.receiver.messageIDs("sent").sorted() == ["one", "own", "piped"] }
    #expect(mta.log.count == 3)
    for (id, domain, name, text) in [
      ("one", "sender.example", selector, "From the command line"), ("own", "own.example", "mine", "Hello from"),
      ("piped", "sender.example", selector, "piped text"),
    ] {
      let message = try #require(mta.log.all.first { $0.messageID == id })
      #expect(String(decoding: message.octets, as: UTF8.self).contains(text), "\(id)")
      let signature = (message.field("DKIM-Signature") ?? "").replacing(" ", with: "")
      #expect(signature.contains("d=\(domain);") && signature.contains("s=\(name);"), "\(signature)")
    }
    for (arguments, fault) in [
      (["--to", to, "--from", "n@nokey.example"], "No DKIM key for dkimDomain nokey.example"),
      (["--to", "nonsense", "--from", "n@sender.example"], "Invalid \"to\" email address format"),
      (["--to", to, "--from", "n@sender.example", "--pool", "x"], "ipPool must be \"transactional\" or \"campaign\""),
    ] {
      let refused = try run(Self.program, ["send"] + arguments + ["--config", mta.config])
      #expect(refused.code == 1 && refused.output.isEmpty && refused.errors.hasPrefix(fault), "\(refused.errors)")
    }
    try await eventually("its history is there") { try mta.command("message", "show", "one").code == 0 }
    let shown = try asker.ask("message show", "one").list ?? []
    #expect(shown.map { $0["state"]?.text } == ["delivered"] && shown.first?["organizationId"] == .text("operator"))
  }

  private func waitingMail(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    let began = Date()
    try asker.ask("org pause", "held", "--reason", "a reason")
    for index in 1...2 { try await mta.send("h\(index)", to: "u@\(Zones.domain(index))", org: "held") }
    try await eventually("both wait") { try asker.ask("queue list").list?.count == 2 }
    let row = try #require(try asker.ask("queue list", "--limit", "1").list?.first)
    #expect(row["organization"] == .text("held") && row["messages"] == .number(1))
    #expect(row["gates"]?.list?.map { $0["reason"]?.text } == ["org_paused"])
    let format = ISO8601DateFormatter()
    format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    let oldest = try #require(row["oldest"]?.text.flatMap(format.date))
    #expect(abs(oldest.timeIntervalSince(began)) < 60, "oldest is when it was accepted, whatever its band: \(oldest)")
    #expect(try mta.command("queue", "list").output.contains(Zones.domain(1)))
    #expect(try asker.ask("queue explain", "h1")["state"] == .text("queued"))
    #expect(try mta.command("queue", "explain", "h1").output.contains("org_paused"))
    #expect(try asker.ask("message show", "h1").list?.first?["state"] == .text("queued"))
    #expect(try asker.ask("message trace", "h1") == .list([]))
    let flushed = try asker.ask("queue flush", "--org", "held")
    #expect(flushed["count"] == .number(2) && flushed["done"] == .number(2))
    try await eventually("both are told") { mta.receiver.messageIDs("failed").sorted() == ["h1", "h2"] }
    #expect(mta.receiver.all.filter { $0.event == "failed" }.allSatisfy { $0.fields["errorCode"] == "CANCELLED" })
    try await eventually("none waits") { try asker.ask("queue list") == .list([]) }
    try asker.ask("org resume", "held")

    try asker.ask("queue pause", "--domain", Zones.domain(3))
    #expect(try asker.ask("queue pause", "--campaign", "c1")["held"] == .number(0))
    #expect(try asker.ask("queue pauses").list?.map { $0["scope"]?.text } == ["campaign", "domain"])
    try await mta.send("paused", to: "u@\(Zones.domain(3))")
    #expect(try asker.ask("queue resume", "--campaign", "c1")["released"] == .number(0))
    #expect(!mta.receiver.messageIDs("sent").contains("paused"))
    // One id, two organisations: whose is to be said.
    for org in ["acme", "other"] { try await mta.send("twin", to: "u@\(Zones.domain(3))", org: org) }
    for word in ["cancel", "explain"] {
      let answer = try mta.command("queue", word, "twin")
      #expect(answer.code == 1 && answer.errors.contains("Several organizations"), "\(answer)")
    }
    #expect(try asker.ask("queue cancel", "twin", "--org", "other")["done"] == .number(1))
    #expect(try asker.ask("queue cancel", "twin")["done"] == .number(1))
    try asker.ask("queue resume", "--domain", Zones.domain(3))
    try await eventually("it goes on") { mta.receiver.messageIDs("sent").contains("paused") }
    #expect(try mta.command("queue", "resume", "--domain", Zones.domain(3)).code == 1)

    try await mta.send("grey", to: "grey@\(Zones.domain(0))")
    try await eventually("it is deferred") { mta.receiver.messageIDs("deferred") == ["grey"] }
    #expect(try asker.ask("queue explain", "grey")["state"] == .text("deferred"))
    #expect(try asker.ask("queue retry", "--org", "acme")["done"] == .number(1))
    try await eventually("it was tried at once") { mta.receiver.messageIDs("deferred") == ["grey", "grey"] }
    try await eventually("the trace has both") {
      try asker.ask("message trace", "grey").list?.map { $0["attempt"] } == [.number(1), .number(2)]
    }
    #expect(try asker.ask("queue cancel", "grey")["done"] == .number(1))
    try await eventually("it is told") { mta.receiver.messageIDs("failed").contains("grey") }
    #expect(try mta.command("queue", "cancel", "grey").code == 1)

    try await mta.send("cut", to: "cut@\(Zones.domain(0))")
    try await eventually("nobody knows what came of it") { mta.receiver.messageIDs("uncertain") == ["cut"] }
    #expect(try asker.ask("message resend", "cut")["warning"]?.text?.contains("twice") == true)
    try await eventually("it was tried again") { mta.receiver.messageIDs("uncertain") == ["cut", "cut"] }
    try asker.ask("message drop", "cut")
    try await eventually("it is given up") { mta.receiver.messageIDs("failed").contains("cut") }
    #expect(try mta.command("message", "drop", "cut").code == 1)
    #expect(try mta.command("message", "resend", "nobody").code == 1)
  }

  private func addressesAndIPs(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    let gone = "gone@\(Zones.domain(0))"
    #expect(try asker.ask("suppression add", gone, "--org", "acme", "--reason", "complaint")["organization"] == .text("acme"))
    let listed = try asker.ask("suppression list", "--org", "acme").list ?? []
    #expect(listed.map { $0["email"]?.text } == [gone] && listed.first?["reason"] == .text("complaint"))
    #expect(try asker.ask("suppression list") == .list([]))
    try await mta.send("s-acme", to: gone)
    try await mta.send("s-other", to: gone, org: "other")
    try await eventually("only that organization's is refused") {
      mta.receiver.messageIDs("failed").contains("s-acme") && mta.receiver.messageIDs("sent").contains("s-other")
    }
    try asker.ask("suppression remove", gone, "--org", "acme")
    try await mta.send("s-again", to: gone)
    try await eventually("it is sent again") { mta.receiver.messageIDs("sent").contains("s-again") }

    let pid = try #require(try mta.workerPIDs()["127.0.0.21"])
    #expect(try asker.ask("ip pull", "127.0.0.21", "--reason", "a test").list?.first?["reason"] == .text("a test"))
    try await eventually("its worker is gone") { !MTAFixture.isAlive(pid) }
    try await eventually("it is pulled") {
      try asker.ask("ip list").list?.first { $0["address"] == .text("127.0.0.21") }?["state"] == .text("pulled")
    }
    try await mta.send("waits", to: "u@\(Zones.domain(0))")
    try await eventually("its mail waits") {
      try asker.ask("queue explain", "waits")["gates"]?.list?.first?["reason"] == .text("no_eligible_ip")
    }
    try asker.ask("ip restore", "127.0.0.21")
    try await eventually("its mail leaves") { mta.receiver.messageIDs("sent").contains("waits") }
    #expect(try mta.workerPIDs()["127.0.0.21"] != pid)
    #expect(try mta.command("ip", "pull", "9.9.9.9").code == 1)
  }

  private func figures(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    let before = try asker.ask("status")
    try await mta.send("counted", to: "u@\(Zones.domain(0))")
    try await eventually("it is counted") {
      let after = try asker.ask("status")
      return after["accepted"]?.number == (before["accepted"]?.number ?? 0) + 1
        && after["dispatched"]?.number ?? 0 > before["dispatched"]?.number ?? 0
    }
    #expect(try asker.ask("status")["ips"] == .object(["active": .number(2)]))
    try await eventually("top counts since its worker's start") {
      try asker.ask("top")["ips"]?.list?.first { $0["address"] == .text("127.0.0.21") }?["delivered"]?.number ?? 0 >= 2
    }
    // By the socket alone, without a configuration.
    let bySocket = try run(Self.program, ["status", "--socket", mta.scratch.file("r/control.sock")])
    #expect(bySocket.code == 0 && bySocket.output.contains("redis: connected"))
    try asker.ask("ip warming", "127.0.0.22", "--day", "2")
    let warming = try asker.ask("ip list").list?.first { $0["address"] == .text("127.0.0.22") }
    #expect(warming?["state"] == .text("warming") && warming?["warming"]?["cap"] == .number(100))
    try asker.ask("ip warming", "127.0.0.22", "--day", "30")
    #expect(try asker.ask("ip list").list?.allSatisfy { $0["state"] == .text("active") } == true)
    let breakers = try asker.ask("breaker list")["breakers"]?.list ?? []
    #expect(breakers.contains { $0["organizationId"] == .text("acme") && $0["state"] == .text("closed") })
    try asker.ask("breaker reset", "acme")
    #expect(try mta.command("breaker", "reset", "nobody").code == 1)
    let plan = try asker.ask("simulate", "--messages", "2000", "--days", "3", "--ips", "1")
    #expect(plan["days"]?.list?.count == 3 && plan["delivered"]?.number ?? 0 > 0)
    #expect(try asker.ask("simulate", "--messages", "2000", "--days", "3", "--ips", "1") == plan, "the same seed")
    let verdict = try asker.ask("classify", "421 4.7.28 unusual rate of mail", "--provider", "gmail")
    #expect(verdict["class"] == .text("temporary") && verdict["category"] == .text("rate_limited"))
    let came = mta.scratch.file("came-back.eml")
    try Data("From: MAILER-DAEMON@a.example\nSubject: failure notice\n\n<u@b.example>:\n550 5.1.1 user unknown\n".utf8)
      .write(to: URL(fileURLWithPath: came))
    #expect(try asker.ask("feedback parse", came)["is_bounce"] == .bool(true))
  }

  /// A live table on a terminal, which shows the lanes that are busy.
  @Test func topIsDrawnOnATerminal() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let isHeld = Locked(true)
    options.script = { moment in
      if case .message = moment, isHeld.value { return .reply("250 ok", after: .milliseconds(1500)) }
      return nil
    }
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let screen = mta.scratch.file("screen")
    let terminal = try TestProcess(
      "/usr/bin/script", ["-qefc", "\(Self.program) top --interval 0.1 --config \(mta.config)", "/dev/null"], output: screen)
    func pictures() -> [Substring] {
      ((try? String(contentsOfFile: screen, encoding: .utf8)) ?? "").split(separator: "\u{1B}[H\u{1B}[2J", omittingEmptySubsequences: true)
    }
    try await eventually("it is drawn again and again") { pictures().count >= 2 }
    try await mta.send("held", to: "u@\(Zones.domain(0))")
    try await eventually("its lane is shown") { pictures().contains { $0.contains("127.0.0.21/domain:\(Zones.domain(0))  1 ") } }
    isHeld.change { $0 = false }
    let picture = try #require(pictures().last)
    for word in ["queued", "at workers", "IP", "PER SECOND", "SESSIONS", "127.0.0.21", "LANE", "WINDOW"] { #expect(picture.contains(word)) }
    terminal.destroy()
    await mta.tearDown()
  }
}
