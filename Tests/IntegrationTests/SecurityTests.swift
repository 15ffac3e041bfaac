import Foundation
import Glibc
import TestSupport
import Testing

/// Slow clients, operators' traces, and what must be readable nowhere.
@Suite(.serialized) struct SecurityTests {
  /// A client that says little and slowly.
  final class SlowClient {
    let descriptor: Int32

    init(port: Int, _ text: String) {
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(port).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      let code = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
      precondition(code == 0, "no connection")
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      say(text)
    }

    deinit { close(descriptor) }

    func say(_ text: String) { _ = send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL)) }

    /// What came, and whether the other side is gone.
    func heard() -> (text: String, isOver: Bool) {
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = recv(descriptor, &bytes, bytes.count, 0)
      guard count < 0 else { return (String(decoding: bytes[..<count], as: UTF8.self), count == 0) }
      return ("", errno != EAGAIN)
    }
  }

  /// 200 clients trickle headers and bodies: others are answered at once all the while, and the slow ones are let go.
  @Test func slowClientsHinderNobody() async throws {
    var options = MTAFixture.Options()
    options.environment = [
      "OWLAT_API_HEADER_TIMEOUT": "3s", "OWLAT_API_BODY_TIMEOUT": "3s", "OWLAT_LIMITS_API_CONNECTIONS_PER_IP": "230",
    ]
    let mta = try await MTAFixture(options)
    try await mta.start()
    let post = "POST /send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(MTAFixture.key)\r\nContent-Length: 90000\r\n\r\n{"
    let slow = (0..<200).map { SlowClient(port: mta.port, $0 % 2 == 0 ? "GET /health HTTP/1.1\r\nX-Slow: " : post) }
    let clock = ContinuousClock()
    var longest = Duration.zero
    for _ in 0..<15 {
      for client in slow { client.say("a") }
      let asked = clock.now
      #expect(try await mta.get("/health").status == 200)
      longest = max(longest, clock.now - asked)
      try await Task.sleep(for: .milliseconds(50))
    }
    print("slowest answer beside 200 slow clients: \(longest)")
    #expect(longest < .seconds(2))
    try await eventually("the slow ones are let go", within: .seconds(15)) {
      for client in slow { client.say("a") }
      return slow.allSatisfy { $0.heard().isOver }
    }
    // One address has so many connections and no more.
    let many = (0..<240).map { _ in SlowClient(port: mta.port, "GET ") }
    try await eventually("some are told that there are too many") { many.contains { $0.heard().text.hasPrefix("HTTP/1.1 503") } }
    withExtendedLifetime(many) {}
    await mta.tearDown()
  }

  /// A body that is broken, or whose client leaves in the middle of it, is the client's fault: no error of ours, and nothing accepted.
  @Test(arguments: ["/send", "/send/batch", "/v1/ips"]) func aBrokenBodyIsTheClients(path: String) async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    let head = "POST \(path) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(MTAFixture.key)\r\n"
    let broken = SlowClient(port: mta.port, head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nZZ\r\nno chunk\r\n")
    var heard = ""
    try await eventually("it is answered") {
      let (text, isOver) = broken.heard()
      heard += text
      return isOver || heard.contains("\r\n\r\n")
    }
    #expect(heard.hasPrefix("HTTP/1.1 400"), "\(heard)")
    for _ in 0..<3 { _ = SlowClient(port: mta.port, head + "Content-Length: 90000\r\n\r\n{\"a\":") }
    #expect(try await mta.get("/health").status == 200)
    #expect(try await mta.get("/v1/ips").status == 200)
    #expect(!mta.logText().contains("request failed"), "\(mta.logText())")
    await mta.tearDown()
  }

  private func lines(_ mta: MTAFixture) throws -> [[String: Any]] {
    try String(contentsOfFile: mta.scratch.file("s/audit.jsonl"), encoding: .utf8).split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  /// Who did what is written down; keys and secrets are written nowhere; what is written is nobody else's to read.
  /// A worker that was taken over is no operator, though its user is the supervisor's.
  @Test func workersAreNotHeardAsOperators() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    // Any program that is called so.
    let python = try run("/usr/bin/env", ["python3", "-c", "import sys; print(sys.executable)"]).output.trimmingCharacters(in: .newlines)
    let resolved = try run("/usr/bin/readlink", ["-f", python]).output.trimmingCharacters(in: .newlines)
    try FileManager.default.copyItem(atPath: resolved, toPath: mta.scratch.file("ipworker"))
    let script = """
      import socket, sys
      s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(1)
      try: print('shut' if s.recv(1) == b'' else 'said something')
      except TimeoutError: print('open')
      """
    for (program, expected) in [(resolved, "open"), (mta.scratch.file("ipworker"), "shut")] {
      let result = try run("/usr/bin/env", ["PYTHONHOME=\(home(resolved))", program, "-c", script, mta.scratch.file("r/control.sock")])
      #expect(result.output == expected + "\n", "\(program): \(result)")
    }
    await mta.tearDown()
  }

  private func home(_ python: String) throws -> String {
    try run(python, ["-c", "import sys; print(sys.prefix)"]).output.trimmingCharacters(in: .newlines)
  }

  @Test func actionsAreRecordedAndSecretsAreNot() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.environment = ["OWLAT_LOG_LEVEL": "trace"]
    let mta = try await MTAFixture(options)
    // A careless copy of an earlier installation.
    try FileManager.default.createDirectory(
      atPath: mta.scratch.file("s"), withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    _ = try mta.scratch.write("s/operator.json", "{\"pulled\":{}}")
    chmod(mta.scratch.file("s/operator.json"), 0o644)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let pem = try run("/usr/bin/openssl", ["genpkey", "-algorithm", "ed25519"]).output
    let body = try JSONSerialization.data(withJSONObject: ["domain": "sender.example", "selector": "ed", "privateKey": pem])
    #expect(try await mta.call("POST", "/dkim", body: String(decoding: body, as: UTF8.self)).status == 200)
    let made = try await mta.call("POST", "/credentials", body: "{\"organizationId\":\"acme\",\"name\":\"app\"}")
    let key = try #require(made.json["apiKey"] as? String ?? made.json["key"] as? String, "\(made.body)")
    #expect(try await mta.call("POST", "/send", body: MTAFixture.body("one", to: "u@\(Zones.domain(0))"), key: key).status == 200)
    #expect(try await mta.call("DELETE", "/suppression/nobody@x.example", body: nil).status >= 200)
    #expect(try await mta.call("DELETE", "/credentials/\(key)", body: nil).status == 200)
    #expect(try await mta.get("/health").status == 200)
    try await eventually("mail is told") { mta.receiver.messageIDs("sent").contains("one") }
    #expect(try mta.command("ip", "pull", "127.0.0.21", "--reason", "test").code == 0)
    #expect(try mta.command("ip", "restore", "127.0.0.99").code == 1)
    #expect(try mta.command("ip", "list").code == 0)
    let audit = try lines(mta)
    func entry(_ what: String) -> [String: Any]? { audit.first { $0["what"] as? String == what } }
    #expect(audit.compactMap { $0["what"] as? String }.filter { $0.contains("/send") || $0.contains("list") } == [])
    let dkim = try #require(entry("POST /dkim"))
    #expect(dkim["who"] as? String == "master key" && dkim["from"] as? String == "127.0.0.1" && dkim["outcome"] as? String == "done")
    #expect(dkim["details"] as? [String: String] == ["domain": "sender.example", "selector": "ed"])
    let removed = try #require(entry("DELETE /credentials/:apiKey"))
    #expect((removed["details"] as? [String: String])?["apiKey"]?.hasPrefix("key ") == true)
    let pull = try #require(entry("ip pull"))
    #expect(pull["who"] as? String == "uid \(geteuid())" && pull["outcome"] as? String == "done" && pull["from"] == nil)
    #expect((pull["details"] as? [String: String])?["address"] == "127.0.0.21")
    #expect((entry("ip restore")?["outcome"] as? String)?.hasPrefix("refused: ") == true)

    let secrets = [
      MTAFixture.key, MTAFixture.webhookSecret, "0123456789abcdef0123456789abcdef", key, String(pem.split(separator: "\n")[1]),
      try String(contentsOfFile: mta.scratch.file("s/redis/password"), encoding: .utf8),
      try String(contentsOfFile: mta.scratch.file("s/secret"), encoding: .utf8), "BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY",
    ]
    for name in ["log", "s/audit.jsonl", "s/redis/redis.log", "s/operator.json"] {
      let text = try String(contentsOfFile: mta.scratch.file(name), encoding: .utf8)
      for secret in secrets { #expect(!text.contains(secret), "\(name) holds \(secret.prefix(12))…") }
    }
    // At rest: a sealed key is no key; an API key is its hash.
    #expect(try mta.redis("HGET", "{mta}:dkim", "sender.example").contains("mtasealed:v1:"))
    #expect(try !mta.redis("HKEYS", "{mta}:cred").contains(key))

    func mode(_ path: String) -> Int {
      (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int ?? -1
    }
    #expect(mode(mta.scratch.file("s")) == 0o700 && mode(mta.scratch.file("r/control.sock")) == 0o600)
    let all = FileManager.default.enumerator(atPath: mta.scratch.file("s"))
    var count = 0
    while let name = all?.nextObject() as? String {
      count += 1
      #expect(mode(mta.scratch.file("s/" + name)) & 0o077 == 0, "\(name)")
    }
    #expect(count > 8)
    await mta.tearDown()
  }
}
