import Foundation
import Glibc
import TestSupport
import Testing

/// The host around the supervisor changes: addresses come and go, programs of another build lie there, another version has
/// been at the queue.
@Suite(.serialized) struct HostTests {
  private static let supervisor = MTAFixture.binaries + "/supervisor"
  private static let canMakeNamespaces = geteuid() == 0 && (try? run("/usr/bin/unshare", ["--net", "true"]).code) == 0

  private func config(_ scratch: Scratch, ips: [String], extra: String = "") throws -> String {
    try scratch.write(
      "config.yaml",
      """
      state_dir: \(scratch.path)/s
      runtime_dir: \(scratch.path)/r
      api: { listen: "127.0.0.1:\(try freePort())", master_key: some-master-key }
      bounce: { domain: b.example, verp_key: "0123456789abcdef0123456789abcdef" }
      smtp: { sandbox: true }
      dnsbl: { zones: [] }
      identity: { require: false }
      limits: { min_free_mib: 1 }
      pools: { transactional: { ips: [\(ips.map { "{address: \"\($0)\", warmed: true}" }.joined(separator: ", "))] } }
      \(extra)
      """)
  }

  private func rows(_ config: String) throws -> [String: JSONValue] {
    let list = (try? JSONValue(try run(Self.supervisor, ["ip", "list", "--json", "--config", config]).output))?.list ?? []
    return Dictionary(list.map { ($0["address"]?.text ?? "", $0) }, uniquingKeysWith: { first, _ in first })
  }

  private func end(_ process: TestProcess, _ scratch: Scratch) async {
    process.send(SIGTERM)
    _ = try? await process.waitUntilExit()
    process.destroy()
    if let text = try? String(contentsOfFile: scratch.file("s/redis/redis.pid"), encoding: .utf8),
      let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
    {
      kill(pid, SIGKILL)
    }
    scratch.remove()
  }

  /// In a network of its own, where addresses can be taken away.
  @Test(.enabled(if: HostTests.canMakeNamespaces, "needs root for a network namespace"))
  func anAddressThatGoesTakesItsIPWithItAndBringsItBack() async throws {
    let scratch = try Scratch()
    let config = try config(scratch, ips: ["192.0.2.9", "2001:db8::9", "127.0.0.31"])
    let process = try TestProcess(
      "/usr/bin/unshare", ["--net", "/bin/sh", "-c", "ip link set lo up && exec \"$0\" run --config \"$1\"", Self.supervisor, config],
      output: scratch.file("log"))
    func ip(_ words: String...) throws {
      let result = try run("/usr/bin/nsenter", ["--net=/proc/\(process.pid)/ns/net", "ip"] + words)
      #expect(result.code == 0, "\(words): \(result.errors)")
    }
    func state(_ address: String) throws -> String { try rows(config)[address]?["state"]?.text ?? "-" }
    try await eventually("what is there is active") { try state("127.0.0.31") == "active" }
    for address in ["192.0.2.9", "2001:db8::9"] {
      #expect(try rows(config)[address]?["state"] == .text("pulled"))
      #expect(try rows(config)[address]?["reason"] == .text("address not on this host"))
    }
    let pid = try rows(config)["127.0.0.31"]?["pid"]
    try ip("address", "add", "192.0.2.9/32", "dev", "lo")
    try ip("address", "add", "2001:db8::9/128", "dev", "lo", "nodad")
    try await eventually("both are active") { try state("192.0.2.9") == "active" && state("2001:db8::9") == "active" }
    let clock = ContinuousClock()
    for address in ["192.0.2.9", "2001:db8::9"] {
      try ip("address", "del", address + (address.contains(":") ? "/128" : "/32"), "dev", "lo")
      let began = clock.now
      try await eventually("it is out") { ["draining", "pulled"].contains(try state(address)) }
      #expect(clock.now - began < .seconds(3), "seen within a second")
    }
    try ip("address", "add", "192.0.2.9/32", "dev", "lo")
    try await eventually("it is back") { try state("192.0.2.9") == "active" }
    #expect(try rows(config)["127.0.0.31"]?["pid"] == pid, "the other notices nothing")
    await end(process, scratch)
  }

  @Test func aWorkerOfAnotherBuildIsNotUsedAndNamed() async throws {
    let scratch = try Scratch()
    let config = try config(scratch, ips: ["127.0.0.32"])
    let folder = scratch.file("bin")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: Self.supervisor, toPath: folder + "/supervisor")
    let python = ProcessInfo.processInfo.environment["OWLAT_PYTHON"] ?? "/usr/bin/python3"
    try """
    #!\(python)
    import json, socket, struct, time
    control = socket.socket(fileno=3)
    hello = json.dumps({"hello": {"_0": {"version": 99, "sourceIP": "127.0.0.32", "pid": 1}}}).encode()
    control.sendall(struct.pack(">I", len(hello)) + hello)
    time.sleep(60)
    """.write(toFile: folder + "/ipworker", atomically: true, encoding: .utf8)
    chmod(folder + "/ipworker", 0o755)
    let process = try TestProcess(folder + "/supervisor", ["run", "--config", config], output: scratch.file("log"))
    try await eventually("it is pulled for it") { try rows(config)["127.0.0.32"]?["state"] == .text("pulled") }
    let reason = try rows(config)["127.0.0.32"]?["reason"]?.text ?? ""
    #expect(reason.hasPrefix("the worker program is of another build: it speaks control protocol 99, this supervisor "))
    let log = try String(contentsOfFile: scratch.file("log"), encoding: .utf8)
    #expect(log.contains("worker of another build: install supervisor and ipworker from one package"))
    await end(process, scratch)
  }

  @Test func aQueueOfANewerFormatIsRefused() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    let scratch = try Scratch()
    let config = try config(scratch, ips: ["127.0.0.33"], extra: "redis: { url: \"\(redis.url)\" }")
    try redis.cli("SET", "{mta}:format", "99")
    let process = try TestProcess(Self.supervisor, ["run", "--config", config], output: scratch.file("log"))
    #expect(try await process.waitUntilExit(within: .seconds(20)) == 1)
    let log = try String(contentsOfFile: scratch.file("log"), encoding: .utf8)
    #expect(log.contains("the queue in Redis has format 99, and this version knows formats up to 2"))
    #expect(try redis.cli("KEYS", "*") == "{mta}:format", "nothing was done to it")
    scratch.remove()
  }
}
