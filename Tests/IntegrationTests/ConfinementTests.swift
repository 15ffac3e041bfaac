import Foundation
import Glibc
import SMTPServer
import TLS
import TestSupport
import Testing

/// What a worker cannot do, and that it does its work all the same.
@Suite(.serialized) struct ConfinementTests {
  /// The worker's own filter and rules, in a program that then tries everything.
  @Test func whatIsForbiddenFails() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let root = FileManager.default.currentDirectoryPath
    try FileManager.default.createDirectory(atPath: scratch.file("in"), withIntermediateDirectories: true)
    let shims = root + "/Sources/System/CShims"
    let built = try run(
      "/usr/bin/env",
      [
        "cc", "-o", scratch.file("confined"), root + "/Tests/Fixtures/confined.c", shims + "/confinement.c", "-I", shims + "/include",
        "-pthread",
      ])
    #expect(built.code == 0, "\(built.errors)")
    func confined(_ word: String) throws -> (code: Int32, lines: [String: String]) {
      let ended = try run("/usr/bin/env", ["FOLDER=\(scratch.path)", scratch.file("confined"), word])
      var lines: [String: String] = [:]
      for line in ended.output.split(separator: "\n") {
        let words = line.split(separator: " ")
        lines[String(words[0])] = words.count > 1 ? String(words[1]) : ""
      }
      return (ended.code, lines)
    }
    let (code, said) = try confined("nothing")
    #expect(code == 0 && said["survived"] == "" && said["seccomp"] == "0" && said["limits"] == "0")
    for open in ["socket-inet", "socket-inet6", "socket-unix", "kill-self", "write-inside", "read-proc"] {
      #expect(said[open] == "ok", "\(open)")
    }
    #expect(said["leak"] == "ENOMEM")
    for shut in [
      "socket-netlink", "socket-packet", "socket-datagram", "socket-raw", "accept", "fork", "vfork-clone", "thread-fork",
      "thread-namespace", "truncate",
      "kill-parent",
      "process-vm", "unshare", "mount", "bpf", "perf", "keyctl", "io_uring", "userfaultfd", "setuid",
    ] { #expect(said[shut] == "EPERM", "\(shut): \(said[shut] ?? "-")") }
    #expect(said["newest"] == "ENOSYS")
    if said["landlock"] == "on" {
      #expect(said["write-outside"] == "EACCES" && said["read-secret"] == "EACCES")
    } else {
      #expect(said["landlock"] == "none")
    }
    // 128 + SIGSYS: whoever tries these is somebody else already.
    for word in ["listen", "ptrace", "execve"] {
      let (code, said) = try confined(word)
      #expect(code == 128 + SIGSYS && said["survived"] == nil, "\(word): \(code)")
    }
  }

  static func status(_ pid: Int32, _ task: String) -> [String: String] {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/status", encoding: .utf8)) ?? ""
    var fields: [String: String] = [:]
    for line in text.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      fields[String(line[..<colon])] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    return fields
  }

  /// Every thread of a running worker is confined, and mail goes out over TLS by it; nothing secret is in its environment or on
  /// any command line.
  @Test func aConfinedWorkerDelivers() async throws {
    let certificates = try Scratch()
    defer { certificates.remove() }
    let made = try run(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx.example", "-days", "2", "-keyout", certificates.file("k"), "-out",
        certificates.file("c"),
      ])
    #expect(made.code == 0)
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.environment = ["OWLAT_LOG_LEVEL": "debug"]
    options.sinkOptions.tls = try TLSContext.server(certificateFile: certificates.file("c"), keyFile: certificates.file("k"))
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let messages = (0..<300).map { (id: "c\($0)", to: "u\($0)@\(Zones.domain($0 % 2))", org: "o", pool: "transactional") }
    try await mta.sendAll(messages)
    try await eventually("all are delivered") { mta.log.count == 300 }
    #expect(mta.log.all.allSatisfy { $0.isTLS })

    let pid = try #require(try mta.workerPIDs().values.first)
    let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")
    #expect(!tasks.isEmpty)
    for task in tasks {
      let status = Self.status(pid, task)
      // A thread may end between the list and the look.
      guard !status.isEmpty else { continue }
      #expect(status["Seccomp"] == "2" && status["NoNewPrivs"] == "1", "\(status["Name"] ?? "")")
    }
    let log = mta.logText()
    #expect(log.contains(#/ipworker confined .*limits.missed=0 seccomp=true/#) && !log.contains("not confined"))
    let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
    #expect(limits.contains(#/Max core file size +0 +0 /#) && limits.contains(#/Max open files +16384 +16384/#))
    #expect(!limits.contains(#/Max data size +unlimited/#))
    let score = try String(contentsOfFile: "/proc/\(pid)/oom_score_adj", encoding: .utf8)
    #expect(score == "300\n")

    let password = try String(contentsOfFile: mta.scratch.file("s/redis/password"), encoding: .utf8)
    let secret = try String(contentsOfFile: mta.scratch.file("s/secret"), encoding: .utf8)
    #expect(password.count == 64 && secret.count == 64)
    let redis = try mta.redisPID()
    for (process, isOurs) in [(pid, true), (redis, true), (mta.pid, false)] {
      for file in isOurs ? ["cmdline", "environ"] : ["cmdline"] {
        let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/\(file)")), as: UTF8.self)
        for word in [password, secret, MTAFixture.key, MTAFixture.webhookSecret] { #expect(!text.contains(word), "\(process) \(file)") }
      }
    }

    // Each connection of the worker is its own Redis user's; nobody comes in without a password.
    let bare = try run("/usr/bin/redis-cli", ["-s", mta.scratch.file("s/redis/redis.sock"), "PING"])
    #expect(bare.output.contains("NOAUTH"))
    let users = try mta.redis("CLIENT", "LIST").split(separator: "\n").compactMap { line in
      line.split(separator: " ").first { $0.hasPrefix("user=") }.map(String.init)
    }
    #expect(users.filter { $0.hasPrefix("user=mta-worker-127.0.0.21@") }.count == 2)
    #expect(try mta.command("ip", "pull", "127.0.0.21").code == 0)
    try await eventually("a pulled IP has no user") { try !mta.redis("ACL", "USERS").contains("worker") }
    await mta.tearDown()
  }

  /// One worker spins: it is found by its silence, and others that have half of what they could do to do are as fast as without it.
  @Test func aSpinningWorkerCostsTheOthersLittle() async throws {
    let dns = try await NameServer(zones: Zones.separate(3))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"], "other": ["127.0.0.22"]]
    let mta = try await MTAFixture(options, failPoint: "worker-before-begin")
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    /// Posts one message each `pause`; answers how long it took until all were delivered.
    func duration(_ prefix: String, _ count: Int, pause: Duration = .zero) async throws -> Duration {
      let before = mta.log.all.count { $0.peer == "127.0.0.21" }
      let clock = ContinuousClock()
      let began = clock.now
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<count {
          if pause > .zero { try await clock.sleep(until: began + pause * index) } else if index >= 16 { try await group.next() }
          group.addTask { try await mta.send("\(prefix)\(index)", to: "u\(index)@\(Zones.domain(index % 3))") }
        }
        try await group.waitForAll()
      }
      try await eventually("\(prefix) is delivered", within: .seconds(60)) {
        mta.log.all.count { $0.peer == "127.0.0.21" } == before + count
      }
      return clock.now - began
    }
    _ = try await duration("warm", 200)
    let pause = try await duration("full", 800) / 800 * 2
    // Most of the spinning worker's life, from its last life sign to its end.
    let count = Int(Duration.seconds(6) / pause)
    // Whatever else runs on this machine must not decide: a round beside other load is measured again.
    var ratio = 0.0
    for round in 0..<3 where ratio < 0.95 {
      let alone = try await duration("alone\(round)-", count, pause: pause)
      let spinning = try #require(try mta.workerPIDs()["127.0.0.22"])
      try mta.armFailPointToSpin()
      try await mta.send("poison\(round)", to: "u@\(Zones.domain(0))", pool: "other")
      try await eventually("it spins") { !mta.isFailPointArmed }
      let beside = try await duration("beside\(round)-", count, pause: pause)
      ratio = alone / beside
      print("delivery rate beside a spinning worker: \(ratio) of the rate without (\(count) messages, \(alone), \(beside))")
      try await eventually("it is ended and started again", within: .seconds(30)) {
        guard let pid = try mta.workerPIDs()["127.0.0.22"] else { return false }
        return pid != spinning && !MTAFixture.isAlive(spinning)
      }
      try await eventually("its message is delivered after all", within: .seconds(30)) {
        mta.receiver.messageIDs("sent").contains("poison\(round)")
      }
    }
    #expect(ratio >= 0.95)
    #expect(mta.logText().contains("worker spins: its priority is lowered"))
    await mta.tearDown()
  }

  /// A worker that was busy for a while, not lost, has its priority back; as root, which may raise one.
  @Test(.enabled(if: getuid() == 0)) func aBusyWorkerHasItsPriorityBack() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ["127.0.0.21"]]
    let mta = try await MTAFixture(options, failPoint: "worker-before-begin")
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    let pid = try #require(try mta.workerPIDs()["127.0.0.21"])
    func nice() throws -> Int? {
      Int(try run("/bin/ps", ["-o", "nice=", "-p", "\(pid)"]).output.trimmingCharacters(in: .whitespacesAndNewlines))
    }
    let before = try #require(try nice())
    try mta.armFailPointToSpin(4500)
    try await mta.send("busy", to: "u@\(Zones.domain(0))")
    try await eventually("it makes way") { try nice() == 19 }
    try await eventually("it has its priority back") { try nice() == before }
    try await eventually("it goes on") { mta.receiver.messageIDs("sent") == ["busy"] }
    await mta.tearDown()
  }
}
