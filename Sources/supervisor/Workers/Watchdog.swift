import Logging
import NIOCore
import Observability
import Redis
import ServiceLifecycle
import Synchronization

/// What systemd is told of this supervisor: readiness once it can serve, a status line with live figures, and life signs only
/// while the parts that matter turn (waiting for Redis with a deadline is turning; DESIGN section 9).
final class Watchdog: Service {
  /// A part that has not turned for so long hangs.
  static let silenceLimit: Int64 = 20_000
  private static let beat: Int64 = 2_000

  private let outcomes: OutcomeLoop
  private let dispatcher: Dispatcher
  private let store: QueueStore
  private let fleet: Fleet
  private let config: ConfigInForce
  private let turns: EventLoopTurns
  private let stopping: StopFlag
  private let log: Logger
  /// Addresses on which the API is served; nil = not yet.
  private let serving = Mutex<String?>(nil)

  init(
    outcomes: OutcomeLoop, dispatcher: Dispatcher, store: QueueStore, fleet: Fleet, config: ConfigInForce, group: any EventLoopGroup,
    stopping: StopFlag, log: Logger
  ) {
    self.outcomes = outcomes
    self.dispatcher = dispatcher
    self.store = store
    self.fleet = fleet
    self.config = config
    self.stopping = stopping
    self.log = log
    turns = EventLoopTurns(group)
  }

  func isServing(on addresses: [String]) { serving.withLock { $0 = addresses.joined(separator: ", ") } }

  /// Waits until requests can be served; after `limit` they are better refused than left waiting.
  func prepared(atMost limit: Int64 = 10_000) async {
    let deadline = SystemClock.monotonic() + limit
    while store.client.session == nil, SystemClock.monotonic() < deadline, !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(10))
    }
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      await self.becomeReady()
      await self.keepTelling()
    }
  }

  private func becomeReady() async {
    var toldAt: Int64 = 0
    while !Task.isCancelled, !stopping.isSet {
      if let addresses = serving.withLock({ $0 }), store.client.session != nil {
        return SystemdNotifier.ready(status: "serving on \(addresses)")
      }
      let now = SystemClock.monotonic()
      if now - toldAt >= Self.beat {
        toldAt = now
        let why = store.client.session == nil ? "waiting for Redis (\(store.client.lastFault ?? "not asked yet"))" : "starting"
        SystemdNotifier.starting(status: why, milliseconds: 30_000)
      }
      try? await Task.sleep(for: .milliseconds(20))
    }
  }

  private func keepTelling() async {
    let beat = min(SystemdNotifier.watchdogInterval() ?? Self.beat, Self.beat)
    var status = ""
    var hung: String?
    var reduced = await outcomes.reduced
    var reducedAt = SystemClock.monotonic()
    while !Task.isCancelled {
      turns.ask()
      let silent = await silentPart()
      if silent == nil || stopping.isSet { SystemdNotifier.watchdog() }
      if silent != hung, let silent { log.critical("a part hangs: systemd is given no life signs", metadata: ["part": "\(silent)"]) }
      hung = silent
      if !stopping.isSet {
        let (count, now) = (await outcomes.reduced, SystemClock.monotonic())
        let text = await figures(perSecond: Double(count - reduced) * 1000 / Double(max(1, now - reducedAt)))
        (reduced, reducedAt) = (count, now)
        if text != status, !stopping.isSet { SystemdNotifier.status(text) }
        status = text
      }
      try? await Task.sleep(for: .milliseconds(beat))
    }
  }

  /// The part that does not turn; nil when all do. An actor that hangs keeps us here: that gives no life signs either.
  private func silentPart() async -> String? {
    let outcomesTurn = await outcomes.lastTurn
    let dispatcherTurn = await dispatcher.lastTurn
    let now = SystemClock.monotonic()
    if turns.silence(now) > Self.silenceLimit { return "event loop" }
    if now - outcomesTurn > Self.silenceLimit { return "outcomes" }
    return now - dispatcherTurn > Self.silenceLimit ? "dispatcher" : nil
  }

  private func figures(perSecond rate: Double) async -> String {
    let queue = await dispatcher.figures()
    let rows = await fleet.list()
    let active = rows.count { [.active, .warming, .probation].contains($0.state) }
    let redis = store.client.session == nil ? "Redis is away: intake answers 503" : "Redis connected"
    let tenths = Int((rate * 10).rounded())
    let text =
      "\(queue.queued) queued, \(queue.out) at workers, \(tenths / 10).\(tenths % 10) attempts/s; "
      + "\(active) of \(rows.count) IPs active; \(redis)"
    let refused = config.refusedProblems
    guard refused > 0 else { return text }
    return text + "; reload refused (\(refused) problem\(refused == 1 ? "" : "s"), see the log): the old configuration is in force"
  }
}
