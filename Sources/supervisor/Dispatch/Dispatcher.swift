import DeliveryPolicy
import Logging
import MTAConfig
import MailModel
import Observability
import Redis

/// Which organisation, which group, which gates, which IP: the spine between the queue and the workers. Takes picks from
/// the index, binds them to routes, moves the messages onto IP streams in one Function of up to 64 picks, and learns from
/// the answer. What happens to a message then is the worker's `DeliveryAttempt`.
actor Dispatcher {
  static let picksPerCall = 64
  /// What a broken connection still had on its way to Redis has run by then: no command waits longer for its answer.
  private static let lateness: Milliseconds = 10_000

  let store: QueueStore
  let host: String
  private let destinations: Destinations
  private let limits: OrganisationLimits
  private let pauses: Pauses
  /// Of the pauses that the index knows.
  private var pausesVersion = -1
  /// Whose journals are to be told to a run of Redis before anything goes out.
  var allIPs: Set<String>
  /// IPs of before, whose journals may tell what a run of Redis lost.
  var departedIPs: Set<String>
  let log: Logger
  let signal: Signal
  var index: LaneIndex
  /// Lane of each message that is out at a worker.
  var out: [MessageNumber: LaneID] = [:]
  /// Outcomes that came while a dispatch was under way, of messages not known to be out: its answer may yet name them.
  private var settledEarly: [MessageNumber: Settled]?
  /// IPs whose worker is ready, and the run of Redis to which each IP's journal is told.
  private var readyIPs: Set<String> = []
  private var replayed: [String: String] = [:]
  /// The run of Redis whose policy rows are known here.
  var policyRun: String?
  /// The connection over which the directory was read: what was answered on one that broke may not have been heard.
  private var loadedConnection: Int?
  /// When it is read once more: Redis may yet run what it had been sent on the connection before.
  private var rereadAt: Milliseconds?
  var indexCheck = IndexCheck()
  /// The lanes' next permits were read: once, since what this process gave out later is newer.
  private var hasPermits = false
  private var redisGate: Gate?
  /// Groups whose DNS answer is waited for, by time.
  private var retries: [Group: Milliseconds] = [:]
  private(set) var dispatched = 0
  /// Monotonic ms of the last turn, for the watchdog.
  private(set) var lastTurn = SystemClock.monotonic()
  var breakers = BreakerGates()
  private var lastDueScan: Milliseconds = 0
  /// Lanes in which a message was out before, when it is out again and its earlier outcome has not been heard of.
  private var overtaken: [MessageNumber: LaneID] = [:]
  /// When the IPs' allowances were computed last.
  var allowancesAt: Milliseconds = 0
  var warming: WarmingCharges
  /// UTC day for which the IPs' allowances were computed; nil = to be done.
  var allowanceDay: Int?

  init(
    store: QueueStore, host: String, config: MTAConfig, destinations: Destinations, limits: OrganisationLimits,
    pauses: Pauses, departedIPs: Set<String>, signal: Signal, log: Logger
  ) {
    self.departedIPs = departedIPs
    self.store = store
    self.host = host
    self.destinations = destinations
    self.signal = signal
    self.log = log
    self.limits = limits
    self.pauses = pauses
    allIPs = Set(config.sourceIPs.map(\.address))
    probes = config.breaker.probes
    warming = WarmingCharges(policy: config.warming)
    index = LaneIndex(pools: config.addressesByPool, providers: config.providers)
    redisGate = Gate(scope: .installation, key: host, reason: .redis, since: SystemClock.now(), until: nil)
  }

  /// Messages that a half-open breaker lets through.
  var probes: Int

  // MARK: the loop

  /// Dispatches until cancelled.
  func run() async {
    while !Task.isCancelled {
      lastTurn = SystemClock.monotonic()
      let now = SystemClock.now()
      openWhatIsDue(now)
      applyPauses()
      guard await isRedisReady(now) else {
        await signal.wait(atMost: .milliseconds(100))
        continue
      }
      // Redis counts what others gave back too: what is left is read again and again.
      if allowanceDay != UTCDay.number(now) || now - allowancesAt > 30_000 {
        guard await renewAllowances(now) else { continue }
      }
      guard await shareSessions(now) else { continue }
      // Those that were read while this turn waited, as the first ones after a start.
      applyPauses()
      let picks = index.nextPicks(limit: Self.picksPerCall, now: now)
      if picks.isEmpty {
        if await lacksQueues() { loadedConnection = nil }
        let next = min(index.nextTimer ?? now + 250, now + 250)
        await signal.wait(atMost: .milliseconds(max(1, next - now)))
      } else {
        await dispatch(picks, now)
      }
    }
  }

  /// Organisation limits whose hour is over, groups whose DNS may be asked again.
  private func openWhatIsDue(_ now: Milliseconds) {
    // The gates are many when much is shut: their ends are looked for ten times a second, not with each pick.
    guard now - lastDueScan >= 100 else { return }
    lastDueScan = now
    for organisation in index.dueOrganisations(now: now) { index.openDue(organisation: organisation, now: now) }
    for domain in index.dueDomains(now: now) { index.setDomainGate(domain, nil) }
    for lane in index.dueLanes(now: now) { index.setLaneGate(lane, nil) }
    for provider in index.dueProviders(now: now) { index.setProviderGate(provider, nil) }
    for (ip, set) in index.dueSets(now: now) { index.setClosedSet(set, of: ip, nil) }
    for key in breakers.due(now: now) { showBreaker(key, now) }
    for (group, at) in retries where at <= now {
      retries[group] = nil
      resolve(group)
    }
  }

  private func applyPauses() {
    let version = pauses.version
    guard version != pausesVersion else { return }
    pausesVersion = version
    var gates: [Pauses.Scope: [String: Gate]] = [:]
    for (key, row) in pauses.rows {
      let gate =
        switch key.scope {
        case .organisation: Gate(scope: .organisation, key: key.name, reason: .organisationPaused, since: row.since, until: nil)
        case .domain: Gate(scope: .domain, key: key.name, reason: .queuePaused, since: row.since, until: nil)
        case .pool, .campaign, .tag: Gate(scope: .ip, key: key.description, reason: .queuePaused, since: row.since, until: nil)
        }
      gates[key.scope, default: [:]][key.name] = gate
    }
    index.setPaused(organisations: gates[.organisation] ?? [:], domains: gates[.domain] ?? [:], pools: gates[.pool] ?? [:])
  }

  /// Open only on a run of Redis whose directory is loaded and to which every journal is told: a settle or a dispatch that
  /// Redis lost must be known before anything goes out (DESIGN section 5).
  private func isRedisReady(_ now: Milliseconds) async -> Bool {
    guard let session = store.client.session else {
      shutRedis(now)
      return false
    }
    let run = session.runID
    guard policyRun == run, allIPs.union(departedIPs).allSatisfy({ replayed[$0] == run }) else {
      shutRedis(now)
      return false
    }
    if loadedConnection != session.connection || redisGate != nil {
      do { try await load() } catch { return false }
      loadedConnection = session.connection
      rereadAt = now + Self.lateness
      redisGate = nil
    } else if let at = rereadAt, at <= now {
      do { try await store.readDirectory { heads in self.note(heads) } } catch { return false }
      rereadAt = nil
    }
    return true
  }

  private func shutRedis(_ now: Milliseconds) {
    if redisGate == nil { redisGate = Gate(scope: .installation, key: host, reason: .redis, since: now, until: nil) }
  }

  /// The whole directory, when a connection is new: answers that were lost are in it.
  private func load() async throws {
    try await pauses.refresh()
    index.clear()
    index.sessions.tellAgain()
    try await findLost()
    if !hasPermits {
      // None is further away than a minute but after a clock was set back.
      index.setStoredPermits(try await store.readLanes().mapValues { min($0, SystemClock.now() + 60_000) })
      hasPermits = true
    }
    try await store.readDirectory { heads in self.note(heads) }
  }

  private func dispatch(_ planned: [PlannedPick], _ now: Milliseconds) async {
    var picks: [Pick] = []
    var bound: [PlannedPick] = []
    var counters: [[DispatchCounter]] = []
    let limits = await limits.limits(of: Array(Set(planned.map(\.part.organisation))))
    for pick in planned {
      guard let known = await destinations.cached(pick.part.group.domain) else {
        // The route went stale between two looks: ask again, spend nothing.
        index.giveBack(pick.count, to: pick.lane)
        refresh(pick.part, now)
        continue
      }
      bound.append(pick)
      let charged = charges(of: pick, known.provider, limits[pick.part.organisation], now)
      counters.append(charged)
      picks.append(
        Pick(
          part: pick.part, count: pick.count, sourceIP: pick.lane.ip, lane: pick.lane.description,
          route: pick.sessions.map(known.route.sharing) ?? known.encoded,
          firstAt: pick.firstAt, step: pick.step, nextPermitAt: pick.nextPermitAt, counters: charged.map(\.counter)))
    }
    guard !picks.isEmpty else { return }
    FailPoint.supervisorBeforeDispatch.pass()
    settledEarly = [:]
    defer { settledEarly = nil }
    do {
      let (answers, heads) = try await store.dispatch(
        host: host, now: now, suppressedOutcome: Self.outcome(.suppressed, now), picks: picks)
      FailPoint.supervisorAfterDispatch.pass()
      for (index, answer) in answers.enumerated() where bound.indices.contains(index) {
        learn(bound[index], answer, counters[index], now)
      }
      note(heads)
    } catch {
      log.warning("dispatch failed", metadata: [LogKey.error: "\(error)"])
      for pick in bound { index.giveBack(pick.count, to: pick.lane) }
      // Done or not, nobody knows: the directory is read anew.
      loadedConnection = nil
      shutRedis(now)
    }
  }

  private func learn(_ pick: PlannedPick, _ answer: PickAnswer, _ counters: [DispatchCounter], _ now: Milliseconds) {
    for number in answer.numbers {
      if let before = out.updateValue(pick.lane, forKey: number) { overtaken[number] = before }
      if let early = settledEarly?[number] { settled(early) }
    }
    dispatched += answer.numbers.count
    index.giveBack(pick.count - answer.numbers.count, to: pick.lane)
    // A pick that was refused whole touched nothing, so no head comes back for its part.
    if answer.numbers.isEmpty { index.unpick(pick.part) }
    guard let stopped = answer.stoppedBy, counters.indices.contains(stopped) else { return }
    shut(counters[stopped].stop, pick, now)
  }

  // MARK: what others tell

  /// Heads of queues that a Function answered or another host woke.
  func note(_ heads: [QueueHead]) {
    let now = SystemClock.now()
    for head in heads {
      let isNew = index.update(head, now: now)
      if isNew {
        resolve(head.part.group)
      } else if head.count > 0, case .closed(let reason)? = index.destination(of: head.part.group) {
        conclude([head.part], reason)
      }
    }
    if !heads.isEmpty { signal.fire() }
  }

  /// Messages that left a worker's hands, whatever came of them.
  func settled(_ outcomes: [Settled]) {
    for outcome in outcomes { settled(outcome) }
    signal.fire()
  }

  private func settled(_ outcome: Settled) {
    guard let lane = overtaken.removeValue(forKey: outcome.number) ?? out.removeValue(forKey: outcome.number) else {
      settledEarly?[outcome.number] = outcome
      return
    }
    guard outcome.wasBegun else { return index.giveBack(1, to: lane) }
    index.release(1, of: lane)
    guard outcome.isRefunded else { return }
    index.refund(1, lane.ip)
    // There is room again where a counter had none.
    if let organisation = outcome.organisation { index.open(organisation: organisation, .orgLimit) }
    if index.laneGates[lane]?.reason == .providerWarmingCap { index.setLaneGate(lane, nil) }
  }

  /// A message that left a worker's hands.
  struct Settled: Sendable {
    var number: MessageNumber
    /// A permit was used.
    var wasBegun: Bool
    /// It did not go: Redis gave its counters back.
    var isRefunded: Bool
    var organisation: String?
  }

  /// Why an IP is shut, for whoever asks.
  func setIPGate(_ ip: String, _ gate: Gate?) { index.setIPGate(ip, gate) }

  func setIP(_ ip: String, isOpen: Bool) {
    if isOpen {
      readyIPs.insert(ip)
      allIPs.insert(ip)
      departedIPs.remove(ip)
    } else {
      readyIPs.remove(ip)
    }
    index.setIP(ip, isOpen: isOpen)
    signal.fire()
  }

  /// Its limits are others now: what was stopped by the old ones may try again.
  func limitsChanged(_ organisation: String) {
    index.open(organisation: organisation, .orgLimit)
    signal.fire()
  }

  func journalReplayed(_ ip: String, run: String) {
    replayed[ip] = run
    signal.fire()
  }

  // MARK: destinations

  private func refresh(_ part: GroupPart, _ now: Milliseconds) {
    index.setDestination(.resolving(since: now), of: part.group)
    index.unpick(part)
    resolve(part.group)
  }

  private func resolve(_ group: Group) {
    Task {
      let answer = await destinations.answer(for: group.domain)
      self.resolved(group, answer)
    }
  }

  private func resolved(_ group: Group, _ answer: Destinations.Answer) {
    let now = SystemClock.now()
    switch answer {
    case .known(let known):
      let key = ProviderTable.laneKey(known.provider, domain: group.domain)
      index.setDestination(.open(key: key, provider: known.provider, only: known.route.onlyFamily), of: group)
    case .unknown(let why, let until):
      var since = now
      if case .unknown(let before, _, _)? = index.destination(of: group) { since = before }
      index.setDestination(.unknown(since: since, until: until, why: why), of: group)
      retries[group] = until
    case .closed(let reason):
      index.setDestination(.closed(reason), of: group)
      conclude(index.parts(of: group), reason)
    }
    signal.fire()
  }

  /// DNS said for good that nobody is there: an outcome, reduced like a reply.
  private func conclude(_ parts: [GroupPart], _ reason: ConcludeReason) {
    guard !parts.isEmpty else { return }
    Task {
      for part in parts {
        FailPoint.supervisorBeforeConclude.pass()
        let result = try? await store.conclude(
          host: host, outcome: Self.outcome(reason, SystemClock.now()), part: part, limit: 500)
        FailPoint.supervisorAfterConclude.pass()
        if let result { self.note(result.heads) }
      }
    }
  }

  static func outcome(_ reason: ConcludeReason, _ now: Milliseconds, detail: String? = nil) -> [UInt8] {
    var result = AttemptResult(kind: .concluded, sourceIP: "", at: now)
    result.text = reason.rawValue + (detail.map { ": " + $0 } ?? "")
    return result.encoded()
  }

  // MARK: explaining

  /// The gates before mail of one part, on the values that dispatch uses.
  func gates(of part: GroupPart) -> [Gate] {
    let now = SystemClock.now()
    return (redisGate.map { [$0] } ?? []) + index.gates(of: part, now: now)
  }

  func allGates() -> [(gate: Gate, messages: Int)] {
    let now = SystemClock.now()
    return (redisGate.map { [($0, index.messageCount)] } ?? []) + index.allGates(now: now)
  }

  func busyLanes(limit: Int) -> [(id: LaneID, out: Int, window: Int, ratePerMinute: Double, gate: Gate?)] {
    index.busyLanes(limit: limit, now: SystemClock.now())
  }

  func figures() -> (groups: Int, queued: Int, out: Int, dispatched: Int, visits: Int, oldest: GroupPart?) {
    (index.groupCount, index.messageCount, out.count, dispatched, index.visits, index.mirror.oldestPart)
  }
}
