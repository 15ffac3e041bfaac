import DeliveryPolicy
import MailModel

/// A plan lived through in virtual time with the policies that serve real mail: throttle, adaptive rate, breakers, domain
/// health, warming, classification, retries. Event by event and seeded: the same plan makes the same report.
///
/// Left out, because it moves nothing at this scale: the time of a transaction (an outcome is known when its permit begins)
/// and with it the windows of lanes; several hosts.
package struct Simulation: Sendable {
  package let plan: SimulationPlan

  /// - Parameter plan: without ``SimulationPlan/faults``.
  package init(_ plan: SimulationPlan) { self.plan = plan }

  package func run() -> SimulationReport {
    var run = SimulationRun(plan)
    return run.live()
  }
}

/// The state of one run: the spine. Lanes are served in `SimulationRun+lanes`, answers weighed in `SimulationRun+outcomes`.
struct SimulationRun {
  struct IPState {
    var warming: IPWarming
    var limits: WarmingLimits
    var used = 0
    var usedByProvider: [Int]
    var capByProvider: [Int]
    var campaignUsed = 0
  }

  struct Lane {
    let ip: Int
    let destination: Int
    var rate: AdaptiveRate
    var throttle: LaneThrottle
    /// Its one valid event; `Int64.max` = asleep.
    var timerAt = Milliseconds.max
    /// When it was last served, counted; lower goes first.
    var served: UInt64 = 0
    /// The same for its organisations.
    var servedOrganisations: [UInt64]
  }

  struct Complaint {
    let organisation: Int
    let ip: Int
    let destination: Int
  }

  /// An ordinary midnight; policies take 0 as "never".
  static let start = UTCDay.start(of: 20_000)
  static let dailyArrival: Milliseconds = 8 * 3_600_000
  static let minute: Milliseconds = 60_000

  let plan: SimulationPlan
  let providers: [MailboxProvider]
  let destinations: [Destination]
  let replies: ProviderReply.Book
  let end: Milliseconds
  var random: SeededRandom
  var model: ProviderModel
  var queue = EventQueue()
  var clock: UInt64 = 0

  var ips: [IPState]
  /// IP × destination.
  var lanes: [Lane]
  /// Organisation × destination; organisation 0 sends the transactional mail.
  var waiting: [WaitingMail]
  var health: [DomainHealth]
  var breakers: [CircuitBreaker]
  /// Organisation × provider.
  var providerBreakers: [CircuitBreaker]
  /// Messages that wait for their retry, by slot.
  var deferred: [SimulatedMessage] = []
  var freeSlots: [Int] = []
  var complaints: [Complaint] = []
  var freeComplaints: [Int] = []

  var day: SimulationReport.Day
  var report: SimulationReport
  /// Messages of each class that have not ended, those still to come included.
  var open: [Int]
  var untried: [Int]
  private var transactionalSent = 0

  init(_ plan: SimulationPlan) {
    self.plan = plan
    let (providers, destinations) = Destination.all(plan)
    self.providers = providers
    self.destinations = destinations
    replies = ProviderReply.Book(providers)
    end = Self.start + Milliseconds(plan.days) * UTCDay.length
    random = SeededRandom(seed: plan.seed)
    model = ProviderModel(ips: plan.ips.map(\.start), destinations: destinations, now: Self.start, random: &random)
    let organisations = plan.organisations + 1
    ips = plan.ips.map { ip in
      let warming = Self.warming(ip.start, plan.warming)
      return IPState(
        warming: warming, limits: warming.caps(now: Self.start, policy: plan.warming),
        usedByProvider: [Int](repeating: 0, count: providers.count), capByProvider: [])
    }
    lanes = plan.ips.indices.flatMap { ip in
      destinations.indices.map { destination in
        let rate = AdaptiveRate(plan.providers[destinations[destination].name])
        return Lane(
          ip: ip, destination: destination, rate: rate, throttle: LaneThrottle(ratePerMinute: rate.ratePerMinute),
          servedOrganisations: [UInt64](repeating: 0, count: organisations))
      }
    }
    waiting = (0..<organisations).flatMap { organisation in
      destinations.indices.map { WaitingMail(organisation: organisation, destination: $0) }
    }
    health = destinations.map { _ in DomainHealth() }
    breakers = (0..<organisations).map { _ in CircuitBreaker() }
    providerBreakers = (0..<organisations * providers.count).map { _ in CircuitBreaker() }
    report = SimulationReport(seed: plan.seed, messages: plan.messages, ips: plan.ips.map(\.name), providers: providers)
    day = SimulationReport.Day(number: 1, ips: [])
    let transactional = Int((Double(plan.messages) * plan.transactionalShare).rounded())
    open = [transactional, plan.messages - transactional]
    untried = open
  }

  private static func warming(_ start: SimulationPlan.Start, _ policy: WarmingPolicy) -> IPWarming {
    switch start {
    case .warmed: return IPWarming(now: Self.start, policy: policy, isExempt: true)
    case .day(let day):
      var warming = IPWarming(now: Self.start, policy: policy)
      warming.set(day: day, now: Self.start, policy: policy)
      return warming
    }
  }

  mutating func live() -> SimulationReport {
    model.endDay(now: Self.start, random: &random)
    beginDay(1, now: Self.start)
    scheduleArrivals()
    queue.push(.midnight, at: Self.start + UTCDay.length)
    while let event = queue.pop(), event.time <= end {
      switch event.kind {
      case .midnight:
        midnight(event.time)
        if event.time == end { return report }
      case .arrival: campaignArrives(Int(event.index), event.time)
      case .transactional: transactionalArrives(event.time)
      case .retry: retry(Int(event.index), event.time)
      case .complaint: complain(Int(event.index), event.time)
      case .lane: serve(Int(event.index), event.time)
      }
    }
    return report
  }

  // MARK: arrivals

  private mutating func scheduleArrivals() {
    if open[0] > 0 { queue.push(.transactional, at: Self.start) }
    guard open[1] > 0 else { return }
    switch plan.arrival {
    case .atOnce: queue.push(.arrival, at: Self.start, index: open[1])
    case .daily:
      for number in 0..<plan.days {
        let count = open[1] * (number + 1) / plan.days - open[1] * number / plan.days
        queue.push(.arrival, at: Self.start + Milliseconds(number) * UTCDay.length + Self.dailyArrival, index: count)
      }
    }
  }

  private mutating func campaignArrives(_ count: Int, _ now: Milliseconds) {
    day.arrived += count
    for organisation in 1...plan.organisations {
      let part = count * organisation / plan.organisations - count * (organisation - 1) / plan.organisations
      for (destination, messages) in destinations.split(part).enumerated() {
        waiting[organisation * destinations.count + destination].add(messages, arrivedAt: now)
      }
    }
    for lane in lanes.indices { wake(lane, now) }
  }

  private mutating func transactionalArrives(_ now: Milliseconds) {
    let whole = Int((Double(plan.messages) * plan.transactionalShare).rounded())
    let passed = Int((now - Self.start) / Self.minute) + 1
    let due = whole * passed / (plan.days * 1440) - transactionalSent
    transactionalSent += due
    day.arrived += due
    for _ in 0..<due {
      let destination = destinations.pick(random.fraction())
      waiting[destination].add(1, arrivedAt: now)
      for ip in ips.indices { wake(ip * destinations.count + destination, now) }
    }
    queue.push(.transactional, at: now + Self.minute)
  }

  // MARK: days

  private mutating func beginDay(_ number: Int, now: Milliseconds) {
    day = SimulationReport.Day(number: number, ips: [])
    for index in ips.indices {
      let limits = ips[index].warming.caps(now: now, policy: plan.warming)
      ips[index].limits = limits
      ips[index].used = 0
      ips[index].campaignUsed = 0
      for provider in providers.indices { ips[index].usedByProvider[provider] = 0 }
      let caps = providers.map { limits.providers[$0.rawValue] }
      ips[index].capByProvider = caps.map { $0 ?? .max }
      let warming = ips[index].warming
      day.ips.append(
        .init(
          phase: warming.phase, warmingDay: warming.day, cap: limits.ip, campaignCeiling: limits.campaignCeiling,
          cells: caps.map { .init(cap: $0) }))
    }
    for lane in lanes.indices { wake(lane, now) }
  }

  private mutating func midnight(_ now: Milliseconds) {
    countHeld(now - 1)
    for index in ips.indices {
      day.ips[index].attempts = day.ips[index].cells.reduce(0) { $0 + $1.attempts }
      day.ips[index].campaignAttempts = ips[index].campaignUsed
      day.ips[index].delivered = day.ips[index].cells.reduce(0) { $0 + $1.delivered }
      for event in ips[index].warming.roll(now: now, policy: plan.warming) {
        switch event {
        case .halted(let message), .complete(let message):
          report.events.append(.init(at: now - Self.start, kind: .warming(ip: index), text: message))
        case .probationOver: break
        }
      }
    }
    report.days.append(day)
    model.endDay(now: now, random: &random)
    guard now < end else {
      countLate()
      return
    }
    beginDay(day.number + 1, now: now)
    queue.push(.midnight, at: now + UTCDay.length)
  }

  private mutating func countLate() {
    for mail in waiting { report.late += mail.untried(before: end - plan.maxAge) }
  }
}
