import Foundation
import Glibc
import NIOCore
import SMTPServer
import TestSupport
import Testing

/// What is done to a part of the running product.
enum Strike: String, CaseIterable {
  case workerKill = "worker-kill"
  case workerStop = "worker-stop"
  case workerStopKill = "worker-stop-kill"
  case supervisorKill = "supervisor-kill"
  case supervisorStop = "supervisor-stop"
  case supervisorStopKill = "supervisor-stop-kill"
  case redisKill = "redis-kill"
  case redisStop = "redis-stop"
  case redisStopKill = "redis-stop-kill"
  /// Every connection to Redis at once; new ones come about.
  case linkCut = "link-cut"
  /// And none comes about for a while.
  case linkAway = "link-away"

  var victim: String { rawValue.split(separator: "-").first.map(String.init) ?? "" }
  var endsIn: String { rawValue.split(separator: "-").last.map(String.init) ?? "" }
  /// Only a worker that dies may leave a message uncertain.
  var mayLeaveUncertain: Bool { victim == "worker" && endsIn == "kill" }
}

/// The real programs over a link to a Redis of the rig's own, a sink that keeps its log, and hands that break each part.
final class CrashRig: @unchecked Sendable {
  // Only one test holds it.
  let redis: RedisFixture
  let link: LinkCutter
  let dns: NameServer
  let mta: MTAFixture
  let dots = SinkJournal()
  let domains: Int
  let ips: [String]
  /// Called at each moment of a session, before it is answered.
  let watcher: Locked<(@Sendable (SinkMoment) -> Void)?>
  /// Recipients that were put off once.
  private let greylisted = Locked<Set<String>>([])
  private let ended = Locked<Set<String>>([])
  private var readWebhooks = 0
  /// Cells run so far: each has domains of its own, so that its mail opens sessions of its own.
  var cells = 0
  /// Blows that ended a worker: its address, and when it fell.
  private(set) var deaths: [(ip: String, at: Int64)] = []
  private(set) var uncertain: Set<String> = []
  private(set) var sent: Set<String> = []
  private(set) var other: [String: String] = [:]

  /// How long something is stopped, or a link away.
  static let pause = Duration.milliseconds(700)

  init(ips: Int, domains: Int, replyAfter: Int64) async throws {
    self.domains = domains
    self.ips = (0..<ips).map { "127.0.0.\(21 + $0)" }
    redis = try await RedisFixture()
    link = try await LinkCutter.start(path: redis.scratch.file("link.sock"), redis: redis.socket)
    dns = try await NameServer(zones: Zones.separate(domains))
    let watcher = Locked<(@Sendable (SinkMoment) -> Void)?>(nil)
    self.watcher = watcher
    let (dots, greylisted) = (dots, greylisted)
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": self.ips]
    options.extra = "retry: { delays: [300ms, 1s], jitter: 0 }\nredis: { url: \"\(link.url)\" }\n"
    options.environment["OWLAT_LOG_LEVEL"] = "warning"
    options.keepsMail = false
    options.taken = { dots.replied($0) }
    options.script = { moment in
      watcher.value?(moment)
      switch moment {
      case .rcpt(let recipient) where recipient.hasPrefix("grey"):
        var isFirst = false
        greylisted.change { isFirst = $0.insert(recipient).inserted }
        return isFirst ? .reply("451 4.2.1 mailbox busy") : nil
      case .message(let message):
        dots.dot(message)
        return .reply("250 2.0.0 ok", after: .milliseconds(replyAfter))
      default: return nil
      }
    }
    mta = try await MTAFixture(options, failPoint: "any")
    try await mta.start()
    try await mta.registerDKIM("sender.example")
  }

  func end() async {
    link.restore()
    await mta.tearDown()
    dns.stop()
    await link.stop()
    redis.stop()
  }

  // MARK: mail

  struct Mail: Sendable {
    var id: String
    var to: String
    var org = "o"
  }

  /// Refused or unanswered requests are posted again, as a client would.
  func post(_ mail: [Mail], parallel: Int, within limit: Duration = .seconds(90)) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      var next = 0
      func add() {
        guard next < mail.count else { return }
        let message = mail[next]
        next += 1
        group.addTask {
          try await eventually("\(message.id) is accepted", within: limit) {
            (try? await self.mta.send(message.id, to: message.to, org: message.org)) != nil
          }
        }
      }
      for _ in 0..<parallel { add() }
      for try await _ in group { add() }
    }
  }

  /// Reads what the webhooks told since the last time.
  func readEvents() {
    let all = mta.receiver.all
    for hook in all[readWebhooks...] {
      switch hook.event {
      case "sent": sent.insert(hook.messageID)
      case "uncertain": uncertain.insert(hook.messageID)
      case "bounced", "failed": other[hook.messageID] = "\(hook.event) \(hook.fields["errorCode"] ?? "") \(hook.fields["message"] ?? "")"
      default: break
      }
    }
    readWebhooks = all.count
  }

  func hasEnded(_ id: String) -> Bool { sent.contains(id) || uncertain.contains(id) || other[id] != nil }

  // MARK: parts

  /// Living workers, found without asking the supervisor.
  var workers: [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { pid in
      guard let line = try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8) else { return false }
      return line.contains("ipworker") && line.contains(mta.scratch.path) && MTAFixture.isAlive(pid)
    }.sorted()
  }

  /// The blow itself: returns at once.
  /// - Parameter passing: the process at whose step it falls; a worker there is the victim, else the first.
  func strike(_ strike: Strike, passing: [Int32]) -> [Int32] {
    var pids: [Int32]
    switch strike.victim {
    case "worker":
      let all = workers
      pids = passing.filter(all.contains)
      if pids.isEmpty { pids = Array(all.prefix(1)) }
      if strike.mayLeaveUncertain {
        deaths += pids.map { (Self.ip(of: $0), Int64(Date().timeIntervalSince1970 * 1000)) }
      }
    case "supervisor": pids = [mta.pid]
    case "redis": pids = [redis.pid]
    default:
      link.cut(away: strike == .linkAway)
      return []
    }
    let signal = strike.rawValue.contains("stop") ? SIGSTOP : SIGKILL
    for pid in pids where pid > 0 { kill(pid, signal) }
    return pids
  }

  /// What follows: whatever was stopped goes on or dies, what died is started as its keeper would.
  func recover(_ strike: Strike, _ pids: [Int32]) async throws {
    if strike.rawValue.contains("stop") || strike == .linkAway { try await Task.sleep(for: Self.pause) }
    if strike.endsIn == "stop" { for pid in pids { kill(pid, SIGCONT) } }
    if strike.rawValue.hasSuffix("stop-kill") { for pid in pids { kill(pid, SIGKILL) } }
    link.restore()
    guard strike.endsIn == "kill" else { return }
    switch strike.victim {
    case "supervisor":
      try await mta.killSupervisor()
      try await mta.start()
    case "redis":
      redis.kill()
      try await redis.start()
    default: break
    }
  }

  /// A worker's end explains what it had at its dot: its IP, within the time that a stopped one may take to die.
  func diedAbout(_ dot: SinkJournal.Dot) -> Bool { deaths.contains { $0.ip == dot.peer && abs($0.at - dot.at) < 3000 } }

  private static func ip(of worker: Int32) -> String {
    let line = (try? String(contentsOfFile: "/proc/\(worker)/cmdline", encoding: .utf8)) ?? ""
    let words = line.split(separator: "\0").map(String.init)
    return words.firstIndex(of: "--ip").flatMap { words.indices.contains($0 + 1) ? words[$0 + 1] : nil } ?? ""
  }

  /// Puts back IPs that were pulled because their workers died so often: an operator would.
  func restorePulled() {
    guard let rows = try? mta.command("ip", "list", "--json").output, rows.contains("crash loop") else { return }
    for ip in ips { _ = try? mta.command("ip", "restore", ip) }
  }
}

/// What came of the messages of one cell or run, judged by the sink's log.
struct CrashReport {
  var messages = 0
  var sent = 0
  var lost: [String] = []
  var twice: [String] = []
  /// Ended otherwise than they should.
  var wrong: [String] = []
  /// Uncertain, by what the sink's log says of each.
  var uncertainUnseen = 0
  var uncertainUnreplied = 0
  var uncertainReplied = 0
  var explanations: [String] = []

  var uncertain: Int { uncertainUnseen + uncertainUnreplied + uncertainReplied }
  var isExact: Bool { lost.isEmpty && twice.isEmpty && wrong.isEmpty }

  /// - Parameter bounces: ids that no server takes.
  init(_ rig: CrashRig, _ ids: [String], bounces: Set<String> = []) {
    rig.readEvents()
    messages = ids.count
    let dots = rig.dots.all
    for id in ids {
      let seen = dots[id] ?? []
      if seen.count > 1 {
        twice.append("\(id): " + seen.map { "\($0.peer) \($0.session).\($0.transaction) at \($0.at)" }.joined(separator: ", "))
      }
      if let text = rig.other[id] {
        if !bounces.contains(id) || !seen.isEmpty { wrong.append("\(id): \(text)") }
      } else if bounces.contains(id) {
        lost.append(id)
      } else if rig.uncertain.contains(id) {
        if rig.sent.contains(id) { wrong.append("\(id): sent and uncertain") }
        explanations.append("\(id): \(rig.dots.explanation(id))")
        if let dot = seen.first, !rig.diedAbout(dot) { wrong.append("\(id): uncertain, and no worker of \(dot.peer) died about then") }
        if seen.isEmpty { uncertainUnseen += 1 } else if seen[0].isReplied { uncertainReplied += 1 } else { uncertainUnreplied += 1 }
      } else if rig.sent.contains(id) {
        sent += 1
        if seen.isEmpty { wrong.append("\(id): told sent, and no dot came") }
      } else {
        lost.append(id)
      }
    }
  }

  func expectExact(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(lost.isEmpty, "\(what): lost \(lost.prefix(5)) of \(messages)", sourceLocation: sourceLocation)
    #expect(twice.isEmpty, "\(what): twice \(twice.prefix(5))", sourceLocation: sourceLocation)
    #expect(wrong.isEmpty, "\(what): \(wrong.prefix(5))", sourceLocation: sourceLocation)
  }
}
