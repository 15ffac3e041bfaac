import CShims
import ControlProtocol
import Glibc
import Journal
import Logging
import MTAConfig
import MailModel
import NIOCore
import Observability
import Redis

/// State of one IP as operators see it (DESIGN section 6).
enum IPState: String, Codable, Sendable {
  case provisioned, warming, active, draining, pulled, probation
}

/// One worker's life: lock and settle its journal, start it, listen to it, start it again. One task per IP.
actor WorkerLife {
  /// So many ends within a minute pull the IP.
  static let crashLimit = 6
  static let heartbeatLimit: Int64 = 6500
  /// So long, ms, a worker may be at another run of Redis than we are; what telling its journal takes does not count.
  static let meetingLimit: Int64 = 40_000
  /// A worker that is silent for so long, ms, and spends so much of that time on a processor, spins. One that is merely kept from
  /// its processor must not be told apart by its silence alone: a lower priority would be its end.
  static let patience: Int64 = 1500
  static let spinningShare = 0.15

  nonisolated let address: String
  var ip: MTAConfig.SourceIP
  let settings: Settings
  private(set) var state = IPState.provisioned
  private(set) var reason: String?
  private(set) var since: Milliseconds
  private(set) var pid: Int32?
  private(set) var status: WorkerStatus?

  var wanted: Bool
  var hasCrashLooped = false
  var control: ControlChannel<ControlNotice, ControlOrder>?
  var process: ChildProcess?
  var lastBeat: Int64 = 0
  var ends: [Int64] = []
  var unavailable: String?
  private var isReady = false
  /// The worker is to end and another to start.
  var isRestarting = false
  /// Since when the worker takes no more mail and sends what it holds; monotonic ms.
  var emptyingSince: Int64?
  var idleBeats = 0
  private var lacksRedis = false
  /// We ended it because it hung, or did not end.
  var isCutOff = false
  private var memoryKillsBefore: Int?
  /// What it had begun may be to blame for its end: when we saw that, and it was no SIGKILL that neither we nor the kernel's memory killer
  /// sent; or when it hung, see ``takeLock()``. Until the journal is settled.
  var mayBeBlamed = false
  /// Since when this process and the worker are at different runs of Redis; monotonic ms.
  var apartSince: Int64?
  /// Its journal is being told to a run of Redis that has not heard it.
  var telling: Task<Bool, Never>?
  var unsettledSaidAt: Int64 = -60_000
  /// The run of Redis to which this IP's journal is told.
  var toldRun: String?

  /// What every worker of this host shares.
  struct Settings: Sendable {
    var program: String
    var host: String
    var redisURL: String
    /// Whom an address's worker is at Redis.
    var redisAccess: @Sendable (String) async throws -> RedisAccess
    /// The worker of an address is not to come back for now.
    var redisWithdrawal: @Sendable (String) async -> Void
    var prefix: String
    var journalRoot: String
    var smtp: MTAConfig.SMTP
    var store: QueueStore
    var eventLoop: any EventLoop
    var log: Logger
    /// (address, domain, entry): what a worker that asks for a key is told.
    var keys: @Sendable (String, String, String) async -> ControlOrder
    /// (address, run of Redis to which its journal is told).
    var replayed: @Sendable (String, String) async -> Void
    /// (address, open?): the dispatcher's gate.
    var gate: @Sendable (String, Bool) async -> Void
    /// Set when the supervisor ends.
    var stopping = StopFlag()
  }

  init(ip: MTAConfig.SourceIP, settings: Settings, pulled: OperatorOrders.Pull?) {
    self.ip = ip
    address = ip.address
    self.settings = settings
    wanted = pulled == nil
    since = pulled?.since ?? SystemClock.now()
    if let pulled {
      state = .pulled
      reason = pulled.reason
    }
  }

  var directory: String { settings.journalRoot + "/" + ip.address }
  var recovery: JournalRecovery { JournalRecovery(store: settings.store, host: settings.host, log: settings.log) }

  func enter(_ state: IPState, _ reason: String?) {
    guard state != self.state || reason != self.reason else { return }
    self.state = state
    self.reason = reason
    since = SystemClock.now()
  }

  /// Runs until the task is cancelled; the worker has ended then.
  func run() async {
    var delay: Int64 = 100
    var replayedFor: String?
    while !Task.isCancelled {
      // Systemd's SIGTERM goes to the workers too: those that end by it are not started again.
      guard !settings.stopping.isSet else {
        await sleep(500)
        continue
      }
      guard wanted, !hasCrashLooped else {
        // A pulled IP's journal is still told to a Redis that has not heard it.
        if let run = settings.store.client.session?.runID, run != replayedFor, await recover() { replayedFor = run }
        await sleep(500)
        continue
      }
      if state != .provisioned && unavailable == nil { enter(.provisioned, nil) }
      guard await hasRedis() else { continue }
      let started = SystemClock.monotonic()
      let exit = await live()
      if let exit { mayBeBlamed = exit != .signal(SIGKILL) || isCutOff || isMemorysVictim }
      emptyingSince = nil
      await settings.gate(ip.address, false)
      pid = nil
      process = nil
      control = nil
      if Task.isCancelled { break }
      if !wanted {
        _ = await recover()
        await settings.redisWithdrawal(ip.address)
        enter(.pulled, reason ?? "operator")
        continue
      }
      if isRestarting || lacksRedis {
        isRestarting = false
        delay = 100
        continue
      }
      if let unavailable {
        enter(.pulled, unavailable)
        await sleep(10_000)
        continue
      }
      delay = SystemClock.monotonic() - started > 60_000 ? 100 : min(delay * 2, 10_000)
      noteEnd(exit)
      // What it had waits for nobody's back-off.
      _ = await recover()
      await sleep(delay)
    }
  }

  /// A start needs Redis. To wait for it is no failure: nothing is slower for it afterwards.
  private func hasRedis() async -> Bool {
    while settings.store.client.session == nil {
      guard !Task.isCancelled, wanted else { return false }
      try? await Task.sleep(for: .milliseconds(20))
    }
    return true
  }

  /// The kernel's memory killer was at work while it ran, as far as that can be known.
  private var isMemorysVictim: Bool { memoryKillsBefore.map { MemoryKiller.count() != $0 } ?? true }

  private func noteEnd(_ exit: ChildProcess.Exit?) {
    guard let exit, exit != .code(0) else { return }
    settings.log.warning(
      "worker ended", metadata: [LogKey.sourceIP: "\(ip.address)", "exit": "\(exit)"])
    if exit == .signal(SIGSYS) {
      settings.log.critical("worker tried a forbidden system call", metadata: [LogKey.sourceIP: "\(ip.address)"])
    }
    let now = SystemClock.monotonic()
    ends = ends.filter { now - $0 < 60_000 } + [now]
    if ends.count >= Self.crashLimit {
      hasCrashLooped = true
      enter(.pulled, "worker crash loop")
      settings.log.critical("worker crash loop: IP pulled", metadata: [LogKey.sourceIP: "\(ip.address)"])
    }
  }

  /// One process, from its start to its end. Nil when none could be started.
  private func live() async -> ChildProcess.Exit? {
    unavailable = nil
    isReady = false
    lacksRedis = false
    do {
      let lock = try await takeLock()
      // Its own only when what was under way elsewhere is settled: an end between the two begins again.
      _ = try await recover(holding: lock, takesOver: true)
      try await settings.store.own(ip: ip.address, host: settings.host)
      try await settings.store.prepareStream(ip: ip.address)
      try await start()
      withExtendedLifetime(lock) {}
    } catch {
      lacksRedis = error is RedisError && settings.store.client.session == nil
      noteUnstarted(error)
      return nil
    }
    guard let process else { return nil }
    let watch = Task { await self.watchHeart(of: process) }
    defer { watch.cancel() }
    let exit = await withTaskCancellationHandler {
      await process.exit()
    } onCancel: {
      Task { await self.orderDrain(milliseconds: 25_000) }
    }
    // A worker of another build ends at once; what it said before is still on its way to ``hear(_:)``.
    if !isReady { try? await Task.sleep(for: .milliseconds(50)) }
    return exit
  }

  private func start() async throws {
    var pair: [Int32] = [-1, -1]
    guard shim_socketpair(&pair) == 0 else { throw ProcessError.watch(errno: errno) }
    defer { close(pair[1]) }
    lastBeat = SystemClock.monotonic()
    apartSince = nil
    isCutOff = false
    memoryKillsBefore = MemoryKiller.count()
    let address = ip.address
    let access = try await settings.redisAccess(address)
    let child = try ChildProcess.spawn(
      settings.program, arguments(), environment: environment(), control: pair[1])
    process = child
    pid = child.pid
    control = try await ControlChannel<ControlNotice, ControlOrder>.attach(
      descriptor: pair[0], on: settings.eventLoop,
      receive: { [weak self] notice in Task { await self?.hear(notice) } }, closed: {})
    control?.send(.hello(ControlHello(version: controlProtocolVersion, sourceIP: address, pid: getpid())))
    control?.send(.redis(username: access.username, password: access.password))
  }

  private func arguments() -> [String] {
    [
      "--ip", ip.address, "--ehlo", ip.ehloName, "--host", settings.host, "--redis", settings.redisURL, "--prefix",
      settings.prefix, "--journal", directory, "--connect-timeout", String(settings.smtp.connectTimeout),
      "--command-timeout", String(settings.smtp.commandTimeout), "--data-timeout", String(settings.smtp.dataTimeout),
    ]
  }

  /// Nothing of the supervisor's environment but what a worker reads: no secret gets into it by accident.
  private func environment() -> [String] {
    var list = ["SWIFT_BACKTRACE=enable=no"]
    list.append("OWLAT_CLOCK_BASE=\(SystemClock.base())")
    for name in ["OWLAT_FAILPOINT", "OWLAT_CLOCK_FILE", "OWLAT_LOG_LEVEL", "LOG_LEVEL", "JOURNAL_STREAM", "LD_LIBRARY_PATH", "PATH"] {
      if let value = getenv(name) { list.append("\(name)=\(String(cString: value))") }
    }
    return list
  }

  // MARK: what the worker says

  private func hear(_ notice: ControlNotice) async {
    lastBeat = SystemClock.monotonic()
    switch notice {
    case .hello(let hello):
      guard hello.version == controlProtocolVersion else {
        unavailable =
          "the worker program is of another build: it speaks control protocol \(hello.version), this supervisor \(controlProtocolVersion)"
        settings.log.critical(
          "worker of another build: install supervisor and ipworker from one package",
          metadata: [
            LogKey.sourceIP: "\(ip.address)", "program": "\(settings.program)", "worker.protocol": "\(hello.version)",
            "supervisor.protocol": "\(controlProtocolVersion)",
          ])
        process?.send(signal: SIGTERM)
        return
      }
    case .ready:
      isReady = true
      if wanted, !isRestarting, unavailable == nil {
        enter(.active, nil)
        await settings.gate(ip.address, true)
      }
    case .unavailable(let text):
      unavailable = "address not on this host: \(text)"
      await settings.gate(ip.address, false)
    case .heartbeat(let status), .status(let status):
      self.status = status
      await endWhenEmpty(status)
    case .needKey(let domain, let entryID):
      let control = control
      control?.send(await settings.keys(ip.address, domain, entryID))
    case .claim(let question, let run, let holdings):
      let control = control
      control?.send(.claimed(question: question, await judge(holdings, on: run)))
    case .met(let question, let run):
      let control = control
      control?.send(.told(question: question, isDone: await tellJournal(to: run)))
    case .stopping: await settings.gate(ip.address, false)
    }
  }
}
