import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// Disk, memory, descriptors and queue run out: intake says so before, nothing accepted is lost, and all goes on by itself.
@Suite(.serialized) struct PressureTests {
  static let isRoot = geteuid() == 0

  /// A queue that can be told to wait.
  struct World {
    let dns: NameServer
    let mta: MTAFixture
    let dots: DotLog

    init(_ change: (inout MTAFixture.Options) -> Void = { _ in }) async throws {
      dns = try await NameServer(zones: Zones.separate(5))
      let dots = DotLog()
      self.dots = dots
      var options = MTAFixture.Options()
      options.dns = dns
      options.extra = "retry: { delays: [500ms, 1s], jitter: 0 }\n"
      options.script = { moment in
        if case .message(let message) = moment { dots.note(message) }
        return nil
      }
      change(&options)
      mta = try await MTAFixture(options)
    }

    func hold() throws { #expect(try mta.command("org", "pause", "acme").code == 0) }
    func release() throws { #expect(try mta.command("org", "resume", "acme").code == 0) }

    func post(_ id: String, _ changes: [String: Any] = [:]) async throws -> MTAFixture.Answer {
      let number = Int(id.drop { !$0.isNumber }) ?? 0
      return try await mta.call("POST", "/send", body: MTAFixture.body(id, to: "u@\(Zones.domain(number % 5))", changes))
    }

    /// Posts until one is refused; answers what was accepted and the refusal.
    func fill(_ prefix: String, most: Int, _ changes: [String: Any] = [:]) async throws -> (accepted: [String], refusal: MTAFixture.Answer?)
    {
      var accepted: [String] = []
      for number in 0..<most {
        let answer = try await post("\(prefix)\(number)", changes)
        guard answer.status == 200 else { return (accepted, answer) }
        accepted.append("\(prefix)\(number)")
      }
      return (accepted, nil)
    }

    /// Posts until intake refuses; answers what it accepted before, and what it refused.
    func waitForRefusal(_ status: Int, _ text: String, _ prefix: String) async throws -> (accepted: [String], refused: String) {
      var accepted: [String] = []
      var got: MTAFixture.Answer?
      try await eventually("intake answers \(status)") {
        let id = "\(prefix)\(accepted.count)"
        let answer = try await post(id)
        got = answer
        if answer.status == 200 { accepted.append(id) }
        return answer.status == status
      }
      #expect(got?.body.contains(text) == true, "\(got?.body ?? "")")
      #expect((got?.headers["retry-after"].flatMap { Int($0) } ?? 0) > 0)
      return (accepted, "\(prefix)\(accepted.count)")
    }

    func checkExact(_ ids: [String]) async throws {
      let check = Exactness(accepted: ids, receiver: mta.receiver, dots: dots)
      do { try await check.waitUntilEnded(within: .seconds(60)) } catch {
        Issue.record("\(mta.describe(ids.first { !check.ended.contains($0) } ?? ""))")
      }
      check.check(dots.all)
      #expect(mta.receiver.messageIDs("uncertain").isEmpty)
    }

    func end() async {
      await mta.tearDown()
      dns.stop()
    }
  }

  /// A state directory on a disk of its own.
  static func mount(_ mta: MTAFixture, mib: Int) throws -> String {
    let path = mta.scratch.file("s")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let mounted = try run("/bin/mount", ["-t", "tmpfs", "-o", "size=\(mib)m,mode=700", "tmpfs", path])
    try #require(mounted.code == 0, "cannot mount: \(mounted.errors)")
    return path
  }

  static func freeKiB(_ path: String) throws -> Int {
    let row = try run("/bin/df", ["-k", "--output=avail", path]).output.split(separator: "\n").last ?? ""
    return Int(row.trimmingCharacters(in: .whitespaces)) ?? 0
  }

  /// The disk fills up: 503 with room left, delivery goes on in what was kept for it, intake comes back with the space. Then to
  /// the last octet: Redis may end, and all that was accepted is delivered once.
  @Test(.enabled(if: isRoot, "mounts a small disk: needs root")) func theDiskFillsUp() async throws {
    let world = try await World { $0.minFreeMiB = 20 }
    let disk = try Self.mount(world.mta, mib: 64)
    defer { _ = try? run("/bin/umount", ["-l", disk]) }
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    try await eventually("the reserve is taken") { FileManager.default.fileExists(atPath: disk + "/reserve") }
    try world.hold()
    let first = try await world.fill("first", most: 100)
    #expect(first.accepted.count == 100)
    #expect(try run("/usr/bin/fallocate", ["-l", "\(try Self.freeKiB(disk) - 10_000)KiB", disk + "/filler"]).code == 0)
    let low = try await world.waitForRefusal(503, "low disk space", "low")
    #expect(world.mta.logText().contains("disk space is low"))
    // Another program takes all but 600 KiB.
    #expect(try run("/usr/bin/fallocate", ["-l", "\(try Self.freeKiB(disk) - 600)KiB", disk + "/more"]).code == 0)
    try await eventually("the reserve is let go") { !FileManager.default.fileExists(atPath: disk + "/reserve") }
    try world.release()
    try await world.checkExact(first.accepted + low.accepted)
    let redis = try world.mta.redisPID()
    #expect(MTAFixture.isAlive(redis), "Redis ended while there was a reserve")
    // Space is there again.
    unlink(disk + "/more")
    unlink(disk + "/filler")
    try await eventually("intake is open again") { try await world.post("again0").status == 200 }
    try world.hold()
    let second = try await world.fill("second", most: 60)
    #expect(second.accepted.count == 60)
    // Nothing is left at all, whatever is let go.
    try world.release()
    for round in 0..<5 {
      _ = try run("/bin/dd", ["if=/dev/zero", "of=\(disk)/all\(round)", "bs=64k"])
      try await Task.sleep(for: .milliseconds(300))
    }
    let none = try await world.waitForRefusal(503, "Service temporarily unavailable", "none")
    for round in 0..<5 { unlink("\(disk)/all\(round)") }
    try await eventually("intake is open once more", within: .seconds(30)) { try await world.post("more0").status == 200 }
    try await world.checkExact(first.accepted + low.accepted + second.accepted + none.accepted + ["again0", "more0"])
    #expect(!world.dots.all.contains(low.refused) && !world.dots.all.contains(none.refused))
    await world.end()
  }

  /// Our own Redis: 429 at `queue_max_mib`, well below `maxmemory`; nothing is evicted, the queue drains, intake opens.
  @Test func theQueueReachesItsMemory() async throws {
    let world = try await World { $0.limits = "queue_max_mib: 12" }
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    try world.hold()
    // What does not compress.
    let noise = (0..<150_000).map { _ in String(UInt8.random(in: .min ... .max), radix: 16) }.joined()
    let filled = try await world.fill("full", most: 400, ["text": noise, "html": NSNull()])
    #expect(filled.refusal?.status == 429 && filled.refusal?.body.contains("Queue is full") == true)
    #expect((filled.refusal?.headers["retry-after"].flatMap { Int($0) } ?? 0) > 0)
    #expect(filled.accepted.count > 10)
    let used = Int(
      try world.mta.redis("INFO", "memory").split(separator: "\r\n").first { $0.hasPrefix("used_memory:") }?.dropFirst(12) ?? "")
    #expect((used ?? .max) < 14 << 20)
    try world.release()
    try await world.checkExact(filled.accepted)
    try await eventually("intake is open again") { try await world.post("again0").status == 200 }
    #expect(try world.mta.redis("INFO", "stats").contains("evicted_keys:0"))
    await world.end()
  }

  /// A Redis of the operator's with a `maxmemory` of its own: 503 before it is reached, and all drains even when it is.
  @Test func redisReachesItsMemory() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    try redis.cli("CONFIG", "SET", "maxmemory", "16mb")
    let world = try await World { $0.extra += "redis: { url: \"\(redis.url)\" }\n" }
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    try world.hold()
    let noise = (0..<150_000).map { _ in String(UInt8.random(in: .min ... .max), radix: 16) }.joined()
    let filled = try await world.fill("full", most: 400, ["text": noise, "html": NSNull()])
    #expect(filled.refusal?.status == 503 && filled.refusal?.body.contains("Redis is full") == true, "\(filled.refusal?.body ?? "")")
    #expect((filled.refusal?.headers["retry-after"].flatMap { Int($0) } ?? 0) > 0)
    #expect(filled.accepted.count > 10)
    // Over the edge, by somebody else's doing: accept refuses, the rest goes on.
    try redis.cli("CONFIG", "SET", "maxmemory", "1mb")
    let over = try await world.waitForRefusal(503, "Redis is full", "over")
    try world.release()
    try await world.checkExact(filled.accepted + over.accepted)
    try redis.cli("CONFIG", "SET", "maxmemory", "64mb")
    try await eventually("intake is open again") { try await world.post("again0").status == 200 }
    await world.end()
  }

  /// `queue_max_messages` is kept exactly, by single messages and batches; what ends makes room.
  @Test func theQueueReachesItsMessages() async throws {
    let world = try await World { $0.limits = "queue_max_messages: 40" }
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    try world.hold()
    let filled = try await world.fill("n", most: 60)
    #expect(filled.accepted.count == 40 && filled.refusal?.status == 429)
    #expect(try await world.waitForRefusal(429, "Queue is full", "more").accepted.isEmpty)
    try world.release()
    try await world.checkExact(filled.accepted)
    try await eventually("intake is open again") { try await world.post("again0").status == 200 }
    await world.end()
  }

  /// More clients than the supervisor has descriptors for, who say nothing, of the API and of the server for mail that comes
  /// back: they wait or are sent away, and all else goes on. Redis and workers that end are started again, accepted mail is
  /// delivered, and intake is open once they are gone.
  @Test(arguments: [false, true]) func descriptorsRunOut(bySMTP: Bool) async throws {
    let smtp = try freePort()
    let world = try await World {
      $0.openFiles = 200
      if bySMTP { $0.bounce = "listen: [\"127.0.0.1:\(smtp)\"]" }
    }
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    try world.hold()
    let first = try await world.fill("first", most: 30)
    #expect(first.accepted.count == 30)
    let pid = world.mta.pid
    let worker = try #require(try world.mta.workerPIDs().values.first)
    func open() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }
    let before = try open()
    var sockets = (0..<300).map { _ in Self.connect(world.mta.port) }
    if bySMTP { sockets += (0..<300).map { Self.connect(smtp, from: "127.0.1.\(1 + $0 / 5)") } }
    try await eventually("as many as may are in") { try open() > before + 50 }
    kill(worker, SIGKILL)
    kill(try world.mta.redisPID(), SIGKILL)
    do {
      try await eventually("both are there again", within: .seconds(30)) {
        try world.mta.workerPIDs().values.first.map { $0 != worker } ?? false
          && world.mta.command("status", "--json").output.contains("\"redis\":\"connected\"")
      }
    } catch {
      Issue.record("\(error): \(world.mta.isRunning), \(try open()) open of 200: \(world.mta.logText().suffix(3000))")
      throw error
    }
    try world.release()
    try await world.checkExact(first.accepted)
    #expect(try open() < 200, "some are kept")
    for socket in sockets { close(socket) }
    try await eventually("intake is open again", within: .seconds(30)) { (try? await world.post("after0").status) == 200 }
    try await world.checkExact(first.accepted + ["after0"])
    await world.end()
  }

  /// The limit is lowered under a running supervisor, which no budget can foresee: none can be opened while requests come and
  /// workers and Redis end. libdispatch ends a process that cannot open `/proc/TID/stat` (`_dispatch_workq_monitor_pools`, every
  /// second while work waits for a thread): then its keeper starts it again. Either way nothing is lost and nothing goes twice.
  @Test func descriptorsAreTakenAway() async throws {
    let world = try await World()
    try await world.mta.start()
    try await world.mta.registerDKIM("sender.example")
    var asked: [String] = []
    var ends = 0
    for round in 0..<3 {
      func limit(_ count: Int) throws {
        #expect(try run("/usr/bin/prlimit", ["--pid", "\(world.mta.pid)", "--nofile=\(count):"]).code == 0)
      }
      // The one that was killed in the round before comes back after a pause.
      try await eventually("there is a worker", within: .seconds(30)) { try !world.mta.workerPIDs().isEmpty }
      let worker = try #require(try world.mta.workerPIDs().values.first)
      let redis = try world.mta.redisPID()
      try limit(10)
      let sockets = (0..<80).map { _ in Self.connect(world.mta.port) }
      async let posts: Void = withTaskGroup(of: Void.self) { group in
        for number in 0..<20 { group.addTask { _ = try? await world.post("r\(round)n\(number)") } }
      }
      asked += (0..<20).map { "r\(round)n\($0)" }
      kill(worker, SIGKILL)
      if round == 1 { kill(redis, SIGKILL) }
      // Long enough for the runtime's look at its threads, which decides.
      try? await eventually("it ends", within: .seconds(3)) { !world.mta.isRunning }
      if world.mta.isRunning {
        try limit(4096)
      } else {
        ends += 1
        try await world.mta.killSupervisor()
        try await world.mta.start()
      }
      for socket in sockets { close(socket) }
      await posts
      try await eventually("intake is open again", within: .seconds(30)) { (try? await world.post("after\(round)").status) == 200 }
      asked.append("after\(round)")
    }
    print("without descriptors the supervisor ended \(ends) times of 3")
    // Posting everything again is safe: what was accepted is not accepted twice.
    for id in asked {
      try await eventually("\(id) is accepted", within: .seconds(30)) { (try? await world.post(id).status) == 200 }
    }
    let check = Exactness(accepted: asked, receiver: world.mta.receiver, dots: world.dots)
    try await check.waitUntilEnded(within: .seconds(60))
    // A worker that is killed at its dot leaves that message uncertain.
    check.check(world.dots.all, unseenUncertain: 3)
    await world.end()
  }

  private static func connect(_ port: Int, from source: String? = nil) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    func with(_ host: String, _ port: Int, _ act: (UnsafePointer<sockaddr>, socklen_t) -> Int32) {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(port).bigEndian
      address.sin_addr.s_addr = inet_addr(host)
      _ = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { act($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
    }
    if let source { with(source, 0) { bind(descriptor, $0, $1) } }
    with("127.0.0.1", port) { Glibc.connect(descriptor, $0, $1) }
    return descriptor
  }
}
