import DeliveryPolicy
import Logging
import MailModel
import Observability
import Redis

/// Runs the reducer: outcomes of this host's workers in, effects out, in one Function a batch; then events and final
/// records on their way to disk, and permits back to the dispatcher. What a worker says stands only for mail that its IP has.
actor OutcomeLoop {
  static let batch = 256

  private let store: QueueStore
  private let reading: QueueStore
  private let host: String
  private var reducer: OutcomeReducer
  private var pools: [String: [String]]
  /// Whose workers may have said something: those of before too, since what they said may still lie there.
  private var ips: Set<String>
  private let book: PolicyBook
  private let dispatcher: Dispatcher
  private let done: DoneWriter
  private let due: DueLoop
  private let metrics: DeliveryMetrics
  private let log: Logger
  private(set) var reduced = 0
  /// Monotonic ms of the last turn, for the watchdog.
  private(set) var lastTurn = SystemClock.monotonic()
  private var isPolicyStale = false

  init(
    store: QueueStore, reading: QueueStore, host: String, reducer: OutcomeReducer, pools: [String: [String]], departedIPs: Set<String>,
    book: PolicyBook, dispatcher: Dispatcher, done: DoneWriter, due: DueLoop, metrics: DeliveryMetrics, log: Logger
  ) {
    self.store = store
    self.reading = reading
    self.host = host
    self.reducer = reducer
    self.pools = pools
    ips = departedIPs.union(pools.values.joined())
    self.book = book
    self.dispatcher = dispatcher
    self.done = done
    self.due = due
    self.metrics = metrics
    self.log = log
  }

  func run() async {
    var places = OutcomePlaces()
    var wakeAfter: String?
    var wakeRun: String?
    var recoveredRun: String?
    while !Task.isCancelled {
      lastTurn = SystemClock.monotonic()
      do {
        if let current = reading.client.session?.runID, current != recoveredRun || isPolicyStale {
          places = OutcomePlaces()
          if current != wakeRun { wakeAfter = try await store.lastWakeID() }
          wakeRun = current
          try await store.registerHost(host)
          try await done.recover(store: store, host: host)
          try await loadPolicy()
          await dispatcher.policyLoaded(run: current)
          recoveredRun = current
        }
        let read = try await reading.readOutcomes(
          host: host, ips: ips.sorted(), after: places, wakeAfter: wakeAfter ?? "0-0", limit: Self.batch, block: 1000)
        wakeAfter = read.lastWake
        if !read.woken.isEmpty { await dispatcher.note(read.woken) }
        for start in stride(from: 0, to: read.outcomes.count, by: Self.batch) {
          try await apply(Array(read.outcomes[start..<min(start + Self.batch, read.outcomes.count)]))
        }
        places = read.places.isAhead(of: SystemClock.wall()) ? OutcomePlaces() : read.places
        await done.trimWhenIdle(store: store, host: host)
      } catch {
        // Read again from the start: what was applied is gone from the stream, so nothing is done twice. Effects whose answer
        // was lost have left rows in `done` that nobody holds in memory, and a later trim would take them.
        recoveredRun = nil
        if !Task.isCancelled { try? await Task.sleep(for: .milliseconds(100)) }
      }
    }
  }

  /// What was learnt elsewhere may not be what Redis holds: it is read again before anything else is learnt.
  func policyIsStale() { isPolicyStale = true }

  /// For what is reduced from now on.
  func adopt(_ reducer: OutcomeReducer, pools: [String: [String]]) {
    self.reducer = reducer
    self.pools = pools
    ips.formUnion(pools.values.joined())
  }

  /// What Redis holds is what was learnt: effects whose answer was lost are in it, or never happened.
  private func loadPolicy() async throws {
    await book.turn.enter()
    defer { book.turn.leave() }
    isPolicyStale = false
    let (changes, idle) = await book.load(try await store.policyRows(), now: SystemClock.now())
    if !idle.isEmpty { try await store.setPolicy(idle) }
    await dispatcher.apply(changes)
  }

  private func apply(_ read: [StoredOutcome]) async throws {
    let now = SystemClock.now()
    var outcomes = read
    try await reading.addRecords(&outcomes)
    Self.dropRepeats(&outcomes)
    let (open, lanes) = await dispatcher.whereabouts(outcomes.map(\.number))
    var items: [EffectItem] = []
    var records: [DoneRecord?] = []
    var settled: [Dispatcher.Settled] = []
    var reductions: [Reduction] = []
    for outcome in outcomes {
      let reduction = reduce(outcome, now, open: open, lane: lanes[outcome.number]?.key)
      reductions.append(reduction)
      items.append(reduction.item)
      records.append(reduction.done)
      // Of what is at another IP nobody's word counts.
      guard outcome.source.ip.isEmpty || lanes[outcome.number].map({ $0.ip == outcome.source.ip }) ?? true else { continue }
      settled.append(
        Dispatcher.Settled(
          number: outcome.number, wasBegun: reduction.result.map { $0.kind != .unbegun } ?? true,
          isRefunded: reduction.item.fate.isRefunded,
          organisation: reduction.record?.organisation))
    }
    await book.turn.enter()
    defer { book.turn.leave() }
    guard !isPolicyStale else { throw RedisError.lost }
    let learnt = await book.learn(reductions.map(\.lesson), now: now)
    for (index, alarm) in learnt.alarms {
      guard let event = CampaignEvent.told(alarm, now: now, log: log) else { continue }
      reductions[index].tell(event)
      items[index].done = reductions[index].done?.encoded() ?? []
      records[index] = reductions[index].done
    }
    for excess in learnt.excesses { BulkSenders.note(excess, log) }
    for opened in learnt.opened {
      let event = BreakerEvent.opened(opened.organisation, opened.breaker, opened.bounceRate, opened.complaintRate, now: now)
      reductions[opened.index].tell(event)
      items[opened.index].done = reductions[opened.index].done?.encoded() ?? []
      records[opened.index] = reductions[opened.index].done
    }
    // Waiting for the disk is turning.
    try await done.waitForRoom { [weak self] in await self?.turn() }
    FailPoint.supervisorBeforeEffects.pass()
    let ids: [String?]
    let heads: [QueueHead]
    do {
      (ids, heads) = try await store.effects(host: host, trimDoneTo: await done.takeTrim(), items, policy: learnt.rows)
    } catch {
      // Done or not: the worker has none of them any more, and what was done is not read again.
      await dispatcher.settled(settled)
      throw error
    }
    FailPoint.supervisorAfterEffects.pass()
    reduced += items.count
    for reduction in reductions where reduction.record?.organisation == Organisation.postmaster {
      guard let record = reduction.record, let end = reduction.done?.final else { continue }
      try? await store.noteRelayEnd(record.messageID, end.state.rawValue)
    }
    for reduction in reductions { note(reduction) }
    await done.append(zip(ids, records).compactMap { id, record in id.flatMap { id in record.map { (id, $0) } } })
    // An order that came meanwhile stands over what was learnt before it.
    let (current, overtaken) = await book.current(learnt.changes)
    if !overtaken.isEmpty { try await store.setPolicy(overtaken) }
    await dispatcher.apply(current)
    await dispatcher.settled(settled)
    await dispatcher.note(heads)
    for item in items { if case .retry(let at) = item.fate { await due.expect(at) } }
  }

  /// A worker that had no answer says it again: twice in one batch is once.
  private static func dropRepeats(_ outcomes: inout [StoredOutcome]) {
    struct Attempt: Hashable {
      let number: MessageNumber
      let serial: Int
    }
    var seen: Set<Attempt> = []
    for index in outcomes.indices where !outcomes[index].record.isEmpty {
      let attempt = Attempt(number: outcomes[index].number, serial: outcomes[index].serial)
      if !seen.insert(attempt).inserted { outcomes[index].record = [] }
    }
  }

  private struct Reduction {
    var item: EffectItem
    var done: DoneRecord?
    /// Nil when the outcome could not be read.
    var record: MessageRecord?
    var result: AttemptResult?
    var bounceType: String?
    var lesson: Lesson?

    /// One more event, on the row of the outcome that brought it about.
    mutating func tell(_ event: DoneRecord.Event) { done?.events.append(event) }
  }

  private func note(_ reduction: Reduction) {
    guard let record = reduction.record, let result = reduction.result else { return }
    metrics.note(record, result, final: reduction.done?.final?.state, bounceType: reduction.bounceType)
  }

  private func turn() { lastTurn = SystemClock.monotonic() }

  private func reduce(_ stored: StoredOutcome, _ now: Milliseconds, open: Set<String>, lane: String?) -> Reduction {
    // It stands for nothing: its row goes, and nothing else.
    guard !stored.record.isEmpty else {
      return Reduction(
        item: EffectItem(source: stored.source, number: stored.number, serial: stored.serial, fate: .final, done: [], suppression: nil))
    }
    guard let record = try? MessageRecord(decoding: stored.record),
      var result = try? AttemptResult(decoding: stored.outcome[...])
    else {
      log.critical("an outcome cannot be read", metadata: [LogKey.number: "\(stored.number)"])
      return Reduction(
        item: EffectItem(
          source: stored.source, number: stored.number, serial: stored.serial, fate: .hold(reason: "content"), done: [],
          suppression: nil))
    }
    // Its lesson is its own IP's, and of no time that cannot be.
    if !stored.source.ip.isEmpty { result.sourceIP = stored.source.ip }
    result.at = min(max(0, result.at), now + 86_400_000)
    var input = ReducerInput(
      record: record, result: result, serial: stored.serial, deferrals: stored.deferrals, crashMarks: stored.crashMarks, group: stored.group
    )
    input.laneKey = lane
    if let set = stored.group.flatMap({ IPSet($0.set) }) {
      let family = AddressFamily(of: result.sourceIP)
      input.otherIPs = set.addresses(pools: pools).filter { $0 != result.sourceIP && open.contains($0) && AddressFamily(of: $0) == family }
    }
    let effects = reducer.reduce(input, now: now, random: Double.random(in: 0...1))
    var done: DoneRecord?
    if !effects.events.isEmpty || effects.fate.final != nil {
      var row = DoneRecord(
        number: stored.number, serial: stored.serial, at: now, record: stored.record, outcome: stored.outcome,
        deferrals: stored.deferrals)
      row.events = effects.events.map { event in
        DoneRecord.Event(
          id: "\(stored.number)-\(stored.serial)-\(event.kind.rawValue)", kind: event.kind.rawValue, json: event.json,
          fallbackJSON: event.kind == .uncertain ? effects.fallback?.json : nil)
      }
      row.final = effects.fate.final
      done = row
    }
    if case .giveBack(let marks) = effects.fate, marks > 0 {
      log.warning("a worker ended on this message", metadata: [LogKey.message: "\(record.messageID)"])
    }
    if effects.fate.final?.reason?.hasPrefix("INTERNAL_ERROR") == true {
      log.critical("message given up", metadata: [LogKey.message: "\(record.messageID)", LogKey.number: "\(stored.number)"])
    }
    var item = EffectItem(
      source: stored.source, number: stored.number, serial: stored.serial, fate: effects.fate.stored(stored.group),
      done: done?.encoded() ?? [], suppression: effects.suppression.map { row(of: $0, now) })
    item.refundsProbes = effects.lesson.map { !$0.decidesBreaker } ?? true
    let bounced = effects.events.first { $0.kind == .bounced }
    var bounceType: String?
    if case .text(let type)? = bounced?["bounceType"] { bounceType = type }
    return Reduction(item: item, done: done, record: record, result: result, bounceType: bounceType, lesson: effects.lesson)
  }

  private func row(of suppression: OutcomeEffects.Suppression, _ now: Milliseconds) -> SuppressionRow {
    SuppressionRow(
      scope: suppression.organisation, address: suppression.address, until: 0, reason: suppression.reason, since: now,
      source: "smtp")
  }
}

extension OutcomeEffects.Fate {
  fileprivate var final: DoneRecord.Final? {
    switch self {
    case .final(let final), .keep(let final, _): final
    case .retry, .giveBack, .hold, .move: nil
    }
  }

  fileprivate func stored(_ group: Group?) -> MessageFate {
    switch self {
    case .final: .final
    case .keep(_, let until): .keep(until: until)
    case .retry(let at): .retry(at: at)
    case .giveBack(let marks): .queue(addingCrashMarks: marks)
    case .hold(let reason): .hold(reason: reason)
    case .move(let set): group.map { .move(Group(set: set, domain: $0.domain)) } ?? .queue(addingCrashMarks: 0)
    }
  }
}
