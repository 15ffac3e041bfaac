import ControlProtocol
import Glibc
import Journal
import Logging
import MailFormat
import MailModel
import NIOCore
import NIOPosix
import Observability
import Redis
import SMTPClient
import TLS

/// Everything one worker holds, on its one event loop: entries by lane, sessions, journal, settlements, orders.
actor WorkLoop {
  /// Entries that could not begin for so long go back (DESIGN section 3).
  static let patience: Milliseconds = 30_000
  static let idleLimit: TimeAmount = .seconds(30)
  /// While nothing comes, entries that a dead connection was given are looked for so often.
  static let swallowedInterval: Int64 = 10_000
  static let remembered = 16_384
  /// Octets of content from which on a message is large.
  static let largeContent = 4 << 20

  nonisolated let eventLoop: any EventLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }
  nonisolated let sourceIP: String

  let log: Logger
  let tls: TLSContext
  var contents: ContentSource
  var keys = KeyRing()
  let largeRenderings = Turnstile()
  var control: ControlChannel<ControlOrder, ControlNotice>?
  var isEnding = false

  let settings: WorkerSettings
  private let lock: JournalLock
  var journal: JournalWriter
  let client: RedisClient
  let reader: RedisClient
  private let store: QueueStore
  private let readStore: QueueStore
  var settler = Settler()
  var lanes: [String: WorkLane] = [:]
  /// Entries that are waiting, under way or not yet settled, by their ids.
  var inHand: [String: HeldEntry] = [:]
  /// Entry ids of attempts under way: each has a line in the journal.
  var underWay: Set<String> = []
  /// Of those: the dot is in the journal.
  var atDot: Set<String> = []
  /// Entry ids that Redis, met again, no longer holds for us: they do not begin.
  var dropped: Set<String> = []
  /// Entry ids under way that are another's now: they do not come to their dot.
  var forfeited: Set<String> = []
  /// A run of Redis was met with nobody to tell the journal to it: nothing is said of that.
  var isJournalUntold = false
  /// The supervisor is being asked what of our mail is still ours: nothing begins.
  var isClaiming = false
  var questions = Questions()
  /// Entries settled lately: an answer that was made before a settle and read after it must not bring them back.
  var settled = RecentEntries(capacity: WorkLoop.remembered)
  private var isReaderNew = true
  private var swallowedAt: Int64 = 0
  var journalFailedAt: Int64 = -10_000
  /// Begun, and neither at their dot nor answered.
  var begun: [String: WorkEntry] = [:]
  /// Hosts that offered CHUNKING and did not know BDAT.
  var hostsWithoutChunking: Set<String> = []
  /// Sessions of attempts that are not at their dot, by entry: what a drain cuts.
  var cuttable: [String: [any Channel]] = [:]
  var sharedSessions = SharedSessions()
  /// Marked messages go alone: nothing else is under way beside one (DESIGN section 5).
  var quarantine: [WorkEntry] = []
  private var isAlone = false
  var isPaused = false
  var counts = WorkerStatus()
  var drainDeadline: NIODeadline?
  let finished: EventLoopPromise<Int32>
  /// Kept when the supervisor has said whom to be at Redis, or when there is nothing to wait for any more.
  let admitted: EventLoopPromise<Void>
  var hasFinished = false
  var metRunID: String?
  var connections: ConnectionWatch
  private var signalSource: SignalWatch?

  init(settings: WorkerSettings, eventLoop: any EventLoop, log: Logger) throws {
    self.settings = settings
    self.eventLoop = eventLoop
    self.log = log
    finished = eventLoop.makePromise(of: Int32.self)
    admitted = eventLoop.makePromise(of: Void.self)
    sourceIP = settings.sourceIP
    lock = try Self.takeLock(settings.journal)
    journal = try JournalWriter(directory: settings.journal, now: SystemClock.now())
    tls = try TLSContext.client()
    let keys = RedisKeys(prefix: settings.prefix)
    client = RedisClient(endpoint: settings.redis, eventLoop: eventLoop, loadsFunctions: false, clock: SystemClock.now)
    reader = RedisClient(endpoint: settings.redis, eventLoop: eventLoop, loadsFunctions: false, clock: SystemClock.now)
    connections = ConnectionWatch(client, reader)
    store = QueueStore(client: client, keys: keys)
    readStore = QueueStore(client: reader, keys: keys)
    contents = ContentSource(store: store)
  }

  /// The supervisor holds the lock until it has started us; it lets go within moments.
  private static func takeLock(_ directory: String) throws -> JournalLock {
    let deadline = SystemClock.monotonic() + 10_000
    while true {
      switch JournalLock.take(directory: directory) {
      case .success(let lock): return lock
      case .failure(.held) where SystemClock.monotonic() < deadline: usleep(10_000)
      case .failure(let error): throw error
      }
    }
  }

  nonisolated func now() -> Milliseconds { SystemClock.now() }

  /// Works until drained or cut off; answers the exit code.
  /// - Parameter confine: called once everything is open, before any work is taken.
  func run(confine: @Sendable () -> Void) async -> Int32 {
    do {
      control = try await ControlChannel<ControlOrder, ControlNotice>.attach(
        descriptor: 3, on: eventLoop,
        receive: { order in self.assumeIsolated { $0.obey(order) } },
        closed: { self.assumeIsolated { $0.supervisorGone() } })
    } catch {
      log.error("no control socket", metadata: [LogKey.error: "\(error)"])
      return 1
    }
    control?.send(.hello(ControlHello(version: controlProtocolVersion, sourceIP: sourceIP, pid: getpid())))
    guard await probeSource() else { return 3 }
    signalSource = SignalWatch(SIGTERM) { [weak self] in
      Task { await self?.terminated() }
    }
    try? await admitted.futureResult.get()
    confine()
    let connection = Task { await client.run { session, _ in try await self.meet(session) } }
    let reconnection = Task { await reader.run() }
    let reading = Task { await self.readEntries() }
    control?.send(.ready)
    let heart = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
      self.assumeIsolated { $0.beat() }
    }
    let code = (try? await finished.futureResult.get()) ?? 1
    heart.cancel()
    control?.send(.stopping)
    for task in [connection, reconnection, reading] { task.cancel() }
    return code
  }

  // MARK: taking

  private func readEntries() async {
    while !isEnding {
      do {
        guard hasMetReader else {
          isReaderNew = true
          try await Task.sleep(for: .milliseconds(10))
          continue
        }
        if isReaderNew {
          isReaderNew = false
          swallowedAt = SystemClock.monotonic()
          try await readSwallowed()
        }
        let entries = try await readStore.readWork(ip: sourceIP, limit: 64, block: 2000)
        guard hasMetReader else { continue }
        for entry in entries { take(entry) }
        // A connection that Redis still thought alive may have been given entries after we looked.
        if entries.isEmpty, SystemClock.monotonic() - swallowedAt > Self.swallowedInterval { isReaderNew = true }
      } catch {
        isReaderNew = true
        try? await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  /// A run of Redis to which the journal is not told may give what was settled with the one before.
  private var hasMetReader: Bool { reader.session.map { $0.runID == metRunID } ?? false }

  /// What Redis gave us on a connection that broke before we heard of it.
  private func readSwallowed() async throws {
    var after = "0"
    while true {
      let entries = try await readStore.readUnsettled(ip: sourceIP, after: after, limit: 64)
      guard hasMetReader else { throw RedisError.lost }
      for entry in entries { take(entry) }
      guard let last = entries.last else { return }
      after = last.entryID
    }
  }

  private func take(_ entry: WorkEntry) {
    guard !settled.contains(entry.entryID), inHand[entry.entryID] == nil else { return }
    inHand[entry.entryID] = HeldEntry(entryID: entry.entryID, number: entry.number, serial: entry.serial)
    guard !isEnding else { return giveBack(entry) }
    guard let route = try? Route(decoding: entry.route) else {
      var result = AttemptResult(kind: .unrenderable, sourceIP: sourceIP, at: now())
      result.text = "the route cannot be read"
      return settle(entry, result)
    }
    if entry.crashMarks > 0 {
      quarantine.append(entry)
      return pumpAll()
    }
    let lane = self.lane(entry.lane)
    lane.append(entry, maxConnections: route.maxConnections)
    pump(entry.lane, lane)
  }

  func lane(_ name: String) -> WorkLane {
    if let lane = lanes[name] { return lane }
    let lane = WorkLane()
    lanes[name] = lane
    return lane
  }

  private func pump(_ name: String, _ lane: WorkLane) {
    guard !isPaused, !isEnding, !isAlone, quarantine.isEmpty else { return }
    while lane.hasRoom {
      lane.active += 1
      Task { await serve(name) }
    }
  }

  func pumpAll() {
    if !quarantine.isEmpty {
      guard !isAlone, !isPaused, !isEnding, counts.transactions == 0 else { return }
      isAlone = true
      let entry = quarantine.removeFirst()
      Task {
        await attempt(entry)
        isAlone = false
        pumpAll()
      }
      return
    }
    for (name, lane) in lanes { pump(name, lane) }
  }

  /// One session's worth of work: entries of a lane, one after the other, each not before its time.
  private func serve(_ name: String) async {
    let lane = self.lane(name)
    while !isPaused, !isEnding, !isAlone, quarantine.isEmpty, let entry = lane.next() {
      // In steps: the clock by which it is early may be set meanwhile.
      while !isEnding, case let early = lane.opensAt(entry, now: now()) - now(), early > 0 {
        try? await Task.sleep(for: .milliseconds(min(early, 1000)))
      }
      guard !isEnding else {
        giveBack(entry)
        break
      }
      lane.noteBegin(entry, now: now())
      await attempt(entry)
    }
    lane.active -= 1
    if counts.transactions == 0, !quarantine.isEmpty { pumpAll() }
    finishIfDrained()
  }

  private func attempt(_ entry: WorkEntry) async {
    counts.transactions += 1
    defer { counts.transactions -= 1 }
    while isClaiming { try? await Task.sleep(for: .milliseconds(2)) }
    guard dropped.remove(entry.entryID) == nil else { return }
    underWay.insert(entry.entryID)
    defer {
      underWay.remove(entry.entryID)
      atDot.remove(entry.entryID)
      forfeited.remove(entry.entryID)
    }
    do {
      let attempt = try DeliveryAttempt(entry)
      await attempt.run(on: self)
    } catch {
      var result = AttemptResult(kind: .unrenderable, sourceIP: sourceIP, at: now())
      result.text = "the entry cannot be read: \(error)"
      settle(entry, result)
    }
  }

  // MARK: settling

  func settle(_ entry: WorkEntry, _ result: AttemptResult) {
    count(result)
    settler.add(
      Settlement(entryID: entry.entryID, number: entry.number, serial: entry.serial, outcome: result.encoded()))
    if !settler.isFlushing { Task { await flush() } }
  }

  func giveBack(_ entry: WorkEntry) {
    settle(entry, AttemptResult(kind: .unbegun, sourceIP: sourceIP, at: now()))
  }

  private func flush() async {
    while true {
      let batch = settler.begin()
      guard !batch.isEmpty else { break }
      do {
        let position = isJournalUntold ? nil : journal.position
        try await store.settle(ip: sourceIP, host: settings.host, journalPosition: position, batch)
        FailPoint.workerAfterSettle.pass()
        for settlement in batch {
          inHand[settlement.entryID] = nil
          settled.insert(settlement.entryID)
        }
        settler.end(batch, isDone: true)
      } catch {
        settler.end(batch, isDone: false)
        try? await Task.sleep(for: .milliseconds(100))
      }
    }
    finishIfDrained()
  }

  private func count(_ result: AttemptResult) {
    if result.isDelivered {
      counts.delivered += 1
    } else if let reply = result.reply {
      if reply.isPermanent { counts.bounced += 1 } else { counts.deferred += 1 }
    } else if result.kind == .connectionFailed {
      counts.deferred += 1
    }
  }
}
