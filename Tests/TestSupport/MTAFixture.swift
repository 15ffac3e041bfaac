internal import Foundation
internal import AsyncHTTPClient
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
package import SMTPServer
internal import Synchronization

/// What the sink took, and what a test can ask of it.
package final class SinkLog: Sendable {
  private let messages = Mutex<[SinkMessage]>([])

  package init() {}
  package var all: [SinkMessage] { messages.withLock { $0 } }
  package var count: Int { messages.withLock { $0.count } }
  package func take(_ message: SinkMessage) { messages.withLock { $0.append(message) } }
}

extension SinkMessage {
  /// The first field of a name, unfolded.
  package func field(_ name: String) -> String? {
    let text = String(decoding: octets, as: UTF8.self).components(separatedBy: "\r\n\r\n")[0]
      .replacingOccurrences(of: "\r\n ", with: " ").replacingOccurrences(of: "\r\n\t", with: " ")
    for line in text.components(separatedBy: "\r\n") where line.lowercased().hasPrefix(name.lowercased() + ":") {
      return line.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
    }
    return nil
  }

  package var messageID: String { field("X-Owlat-Message-Id") ?? "" }
}

/// The real programs on a configuration of the test's own, with the sink and the webhook receiver around them.
package final class MTAFixture: @unchecked Sendable {
  // Only one test holds it; `process` changes in start and stop.
  package struct Options: Sendable {
    /// Pool → addresses.
    package var pools: [String: [String]] = ["transactional": ["127.0.0.21"]]
    package var providers = "other: {defaultRate: 600000, ceiling: 600000, maxConnections: 4}"
    package var extra = ""
    package var smtp = ""
    /// More members of `limits`, and the disk space below which intake refuses.
    package var limits = ""
    package var minFreeMiB = 1
    /// Whether mail, and what tenants wrote, may lead to this host.
    package var allowsLoopback = true
    /// Members of `bounce` beside domain and key.
    package var bounce = ""
    /// Open files that the supervisor may have; nil = as many as the test.
    package var openFiles: Int?
    package var isWarmed = true
    /// EHLO name by address.
    package var ehlo: @Sendable (String) -> String = { "e" + $0.replacingOccurrences(of: ".", with: "-") + ".mta.example" }
    /// Public address by address; nil = the same.
    package var publicAddress: @Sendable (String) -> String? = { _ in nil }
    /// Whom the world is asked about our IPs: nobody, unless a test is about that.
    package var reputation = "dnsbl: { zones: [] }\nidentity: { require: false }"
    /// The recipients' servers; nil = the sink.
    package var smtpPort: Int?
    package var environment: [String: String] = [:]
    package var dns: NameServer?
    package var script: SinkScript = { _ in nil }
    package var sinkOptions = SMTPSink.Options()
    package var sinkHost = "127.0.0.1"
    package var webhooks = true
    /// False for mail that is too large to keep.
    package var keepsMail = true
    /// Called when the sink has answered that a message is taken.
    package var taken: @Sendable (SinkMessage) -> Void = { _ in }

    package init() {}
  }

  package static let key = "test-master-key"
  package static let webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

  /// The folder of the programs in use; a test changes it to that of another version.
  package var binaries = MTAFixture.binaries
  package let scratch: Scratch
  package let log = SinkLog()
  package let receiver: WebhookReceiver
  package let port: Int
  package let sinkPort: Int
  private let sink: SMTPSink
  private let options: Options
  /// A client for each start, because one that saw connections fail holds back. None is ever let go: a test that throws must
  /// not end the others by a client that was not shut down.
  private static let clients = Mutex<[HTTPClient]>([])
  private var client = MTAFixture.makeClient()

  private static func makeClient() -> HTTPClient {
    var configuration = HTTPClient.Configuration()
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 256
    let client = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration)
    clients.withLock { $0.append(client) }
    return client
  }
  private var process: TestProcess?

  package static var binaries: String {
    ProcessInfo.processInfo.environment["OWLAT_BIN"] ?? FileManager.default.currentDirectoryPath + "/.build/release"
  }

  /// - Parameter failPoint: a place at which the programs may be killed, once ``armFailPoint()`` was called.
  package init(_ options: Options = Options(), failPoint: String? = nil) async throws {
    scratch = try Scratch()
    var options = options
    if let failPoint { options.environment["OWLAT_FAILPOINT"] = "\(failPoint)@\(scratch.path)/fail" }
    self.options = options
    receiver = try WebhookReceiver()
    try await receiver.start()
    port = try freePort()
    let log = log
    let (keepsMail, taken) = (options.keepsMail, options.taken)
    sink = try await SMTPSink.start(
      host: options.sinkHost, port: 0, group: MultiThreadedEventLoopGroup.singleton, options: options.sinkOptions,
      script: options.script,
      take: {
        if keepsMail { log.take($0) }
        taken($0)
      })
    sinkPort = sink.port
    try writeConfig()
  }

  /// What a test that threw left behind.
  deinit { destroy() }

  package var config: String { scratch.file("config.yaml") }

  private func writeConfig() throws {
    func entry(_ ip: String) -> String {
      let shown = options.publicAddress(ip).map { ", public: \"\($0)\"" } ?? ""
      return "{address: \"\(ip)\", ehlo: \(options.ehlo(ip)), warmed: \(options.isWarmed)\(shown)}"
    }
    let pools = options.pools.sorted { $0.key < $1.key }.map { name, ips in
      "  \(name): { ips: [\(ips.map(entry).joined(separator: ", "))] }"
    }.joined(separator: "\n")
    let dns = options.dns.map { "dns: { servers: [\"\($0.server)\"] }\n" } ?? ""
    let webhooks = options.webhooks ? "webhooks: [ { url: \"\(receiver.url)\", secret: \(Self.webhookSecret) } ]\n" : ""
    _ = try scratch.write(
      "config.yaml",
      """
      hostname: mta.test.example
      state_dir: \(scratch.path)/s
      runtime_dir: \(scratch.path)/r
      api: { listen: "127.0.0.1:\(port)", master_key: \(Self.key) }
      smtp: { port: \(options.smtpPort ?? sinkPort), allow_loopback_mx: \(options.allowsLoopback)\(options.smtp.isEmpty ? "" : ", " + options.smtp) }
      bounce: { domain: bounces.test.example, verp_key: "0123456789abcdef0123456789abcdef"\(options.bounce.isEmpty ? "" : ", " + options.bounce) }
      limits: { min_free_mib: \(options.minFreeMiB), org_daily: 100000000, org_hourly: 100000000\(options.limits.isEmpty ? "" : ", " + options.limits) }
      providers: { \(options.providers) }
      \(options.reputation)
      pools:
      \(pools)
      \(dns)\(webhooks)\(options.extra)
      """)
  }

  // MARK: life

  package func start() async throws {
    client = Self.makeClient()
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in options.environment { environment[name] = value }
    let limited = options.openFiles.map { ["/usr/bin/prlimit", "--nofile=\($0):\($0)"] } ?? []
    let words = limited + [binaries + "/supervisor", "run", "--config", config]
    process = try TestProcess(words[0], Array(words.dropFirst()), environment: environment, output: scratch.file("log"))
    do {
      try await eventually("the API is up and all IPs are active") {
        guard let rows = try? self.command("ip", "list", "--json"), rows.code == 0, !rows.output.contains("\"provisioned\"") else {
          return false
        }
        return try self.command("status", "--json").output.contains("\"redis\":\"connected\"")
      }
    } catch { throw TimedOut(description: "\(error)\n\(describe("-"))") }
  }

  /// The next pass of the named place kills its process.
  package func armFailPoint() { _ = FileManager.default.createFile(atPath: scratch.file("fail"), contents: nil) }

  /// Every pass with this message kills its process.
  package func armFailPoint(message id: String) throws { _ = try scratch.write("fail", id) }

  /// The next pass of the named place kills this process instead of the one that passes.
  package func armFailPoint(killing pid: Int32) throws { _ = try scratch.write("fail", "pid:\(pid)") }

  /// The next pass of the named place waits there, see ``heldPID``.
  package func armFailPointToHold() throws { _ = try scratch.write("fail", "hold") }

  /// Who passed a place that holds; it, or whoever follows, goes on when the file `fail.held` is gone.
  package var heldPID: Int32? {
    guard let text = try? String(contentsOfFile: scratch.file("fail.held"), encoding: .utf8), text.hasSuffix(" ") else { return nil }
    return Int32(text.dropLast())
  }

  /// The next pass of the named place never leaves it, and keeps its thread busy.
  /// - Parameter milliseconds: nil = for ever.
  package func armFailPointToSpin(_ milliseconds: Int? = nil) throws {
    _ = try scratch.write("fail", "spin" + (milliseconds.map { ":\($0)" } ?? ""))
  }

  package var isFailPointArmed: Bool { FileManager.default.fileExists(atPath: scratch.file("fail")) }

  package var pid: Int32 { process?.pid ?? -1 }
  package var isRunning: Bool { process?.isRunning ?? false }

  /// `kill -9`, without a word to anybody; waits until its workers are gone too, or leaves them to it.
  package func killSupervisor(leavingWorkers: Bool = false) async throws {
    let workers = leavingWorkers ? [:] : try workerPIDs()
    process?.destroy()
    process = nil
    try await eventually("workers end without their supervisor", within: .seconds(15)) {
      workers.values.allSatisfy { !Self.isAlive($0) }
    }
  }

  /// SIGTERM; answers the exit code.
  @discardableResult
  package func stop() async throws -> Int32 {
    guard let process else { return 0 }
    process.send(SIGTERM)
    let code = try await process.waitUntilExit()
    self.process = nil
    return code
  }

  package func tearDown() async {
    if process != nil { _ = try? await stop() }
    await sink.stop()
    destroy()
  }

  private func destroy() {
    let workers = process == nil ? [:] : (try? workerPIDs()) ?? [:]
    process?.destroy()
    for pid in workers.values { kill(pid, SIGKILL) }
    if let text = try? String(contentsOfFile: scratch.file("s/redis/redis.pid"), encoding: .utf8),
      let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
    {
      kill(pid, SIGKILL)
    }
    receiver.stop()
    scratch.remove()
  }

  package static func isAlive(_ pid: Int32) -> Bool {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let close = stat.lastIndex(of: ")") else {
      return false
    }
    // A zombie that nobody has reaped yet is dead.
    return !stat[close...].dropFirst(2).hasPrefix("Z")
  }

  package func workerPIDs() throws -> [String: Int32] {
    let output = try command("ip", "list", "--json").output
    let rows = (try? JSONSerialization.jsonObject(with: Data(output.utf8))) as? [[String: Any]] ?? []
    var pids: [String: Int32] = [:]
    for row in rows { if let address = row["address"] as? String, let pid = row["pid"] as? Int { pids[address] = Int32(pid) } }
    return pids
  }

  package func redisPID() throws -> Int32 {
    let text = try String(contentsOfFile: scratch.file("s/redis/redis.pid"), encoding: .utf8)
    return Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
  }

  package func redis(_ words: String...) throws -> String {
    let password = (try? String(contentsOfFile: scratch.file("s/redis/password"), encoding: .utf8)) ?? ""
    let client = ["REDISCLI_AUTH=\(password)", "/usr/bin/redis-cli", "-s", scratch.file("s/redis/redis.sock")]
    return try run("/usr/bin/env", client + words).output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Highest resident memory of the supervisor (`VmHWM`), or with `reset` what it is now, from which the mark starts anew.
  package func peakMemoryMiB(reset: Bool = false) throws -> Int {
    if reset { try "5".write(toFile: "/proc/\(pid)/clear_refs", atomically: false, encoding: .utf8) }
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix(reset ? "VmRSS:" : "VmHWM:") } ?? ""
    return (Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first ?? "") ?? 0) >> 10
  }

  package func logText() -> String { (try? String(contentsOfFile: scratch.file("log"), encoding: .utf8)) ?? "" }

  /// What an operator would look at first; for the message of a failure.
  package func describe(_ id: String) -> String {
    let views = [["status"], ["ip", "list"], ["queue", "list"], ["queue", "explain", id], ["message", "trace", id]].map { words in
      (try? run(binaries + "/supervisor", words + ["--config", config])).map { $0.output + $0.errors } ?? ""
    }
    // Whoever looks for the cause wants its files too.
    if let kept = ProcessInfo.processInfo.environment["OWLAT_KEEP"] { _ = try? run("/bin/cp", ["-r", scratch.path, kept]) }
    return views.joined(separator: "\n") + logText().suffix(2000)
  }

  // MARK: talking to it

  package func command(_ words: String...) throws -> (code: Int32, output: String, errors: String) {
    try run(binaries + "/supervisor", words + ["--config", config])
  }

  package struct Answer: Sendable {
    package var status: Int
    package var body: String
    package var headers: [String: String]

    package var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:] }
  }

  package func get(_ path: String, key: String? = MTAFixture.key) async throws -> Answer {
    try await call("GET", path, body: nil, key: key)
  }

  package func call(
    _ method: String, _ path: String, body: String?, key: String? = MTAFixture.key, headers: [String: String] = [:]
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
    request.method = .RAW(value: method)
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
    if let body {
      request.headers.add(name: "Content-Type", value: "application/json")
      request.body = .bytes(ByteBuffer(string: body))
    }
    let response = try await client.execute(request, timeout: .seconds(40))
    let text = String(buffer: try await response.body.collect(upTo: 1 << 24))
    var fields: [String: String] = [:]
    for (name, value) in response.headers { fields[name.lowercased()] = value }
    return Answer(status: Int(response.status.code), body: text, headers: fields)
  }

  /// Makes a DKIM key for a domain; answers its DNS record.
  @discardableResult
  package func registerDKIM(_ domain: String) async throws -> String {
    let answer = try await call("POST", "/dkim/\(domain)/register", body: nil)
    guard answer.status == 200, let record = answer.json["dnsRecord"] as? String else {
      throw TimedOut(description: "no DKIM key: \(answer.body)")
    }
    return record
  }

  /// A body of `/send` that is good; `changes` are JSON members that stand over it.
  package static func body(_ id: String, to: String, org: String = "acme", pool: String = "transactional", _ changes: [String: Any] = [:])
    -> String
  {
    var body: [String: Any] = [
      "messageId": id, "to": to, "from": "News <news@sender.example>", "subject": "Hello \(id)", "html": "<p>Hi \(id)</p>",
      "text": "Hi \(id)", "ipPool": pool, "organizationId": org, "dkimDomain": "sender.example",
    ]
    for (name, value) in changes { body[name] = value is NSNull ? nil : value }
    return String(decoding: (try? JSONSerialization.data(withJSONObject: body)) ?? Data(), as: UTF8.self)
  }

  /// Sends and insists on acceptance.
  package func send(_ id: String, to: String, org: String = "acme", pool: String = "transactional", _ changes: [String: Any] = [:])
    async throws
  {
    let answer = try await call("POST", "/send", body: Self.body(id, to: to, org: org, pool: pool, changes))
    guard answer.status == 200, answer.json["success"] as? Bool == true else {
      throw TimedOut(description: "send \(id): \(answer.status) \(answer.body)")
    }
  }

  /// Many at once, `parallel` requests in flight.
  package func sendAll(
    _ messages: [(id: String, to: String, org: String, pool: String)], parallel: Int = 32,
    changes: @Sendable @escaping (String) -> [String: String] = { _ in [:] }
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      var next = 0
      func add() {
        guard next < messages.count else { return }
        let message = messages[next]
        next += 1
        group.addTask { try await self.send(message.id, to: message.to, org: message.org, pool: message.pool, changes(message.id)) }
      }
      for _ in 0..<parallel { add() }
      for try await _ in group { add() }
    }
  }
}
