import DeliveryPolicy
import MailModel
import Redis

/// What the host has learnt from outcomes: rates of lanes, health of domains, breakers of organisations. Fed by the reducer's
/// lessons and written with their effects in one Function, so that a row is never ahead of or behind its outcomes. The
/// dispatcher is told what changed and shuts gates by it.
actor PolicyBook {
  /// An organisation, or an organisation at one provider.
  struct BreakerKey: Hashable, Sendable {
    var organisation: String
    var provider: MailboxProvider?
  }

  /// What the dispatcher needs to know of a batch.
  struct Changes: Sendable {
    var rates: [LaneID: AdaptiveRate] = [:]
    var domains: [String: DomainHealth] = [:]
    var providers: [MailboxProvider: ProviderHealth] = [:]
    var breakers: [BreakerKey: CircuitBreaker] = [:]
    /// An organisation at one provider that is to stay away until then.
    var pauses: [BreakerKey: TimedGate] = [:]
    /// By IP.
    var warming: [String: IPWarming] = [:]

    var isEmpty: Bool {
      rates.isEmpty && domains.isEmpty && providers.isEmpty && breakers.isEmpty && pauses.isEmpty && warming.isEmpty
    }
  }

  struct TimedGate: Sendable, Equatable {
    var since: Milliseconds
    var until: Milliseconds
  }

  /// A batch of lessons, learnt.
  struct Learnt: Sendable {
    var rows: [PolicyRow]
    var changes: Changes
    /// Breakers of whole organisations that opened, with the place of the outcome that did it.
    var opened: [(index: Int, organisation: String, breaker: CircuitBreaker, bounceRate: Double, complaintRate: Double)]
    /// Campaigns that are complained of too much, by the place of the outcome that showed it.
    var alarms: [(index: Int, alarm: ListBook.Alarm)] = []
    /// Organisations that became bulk senders today.
    var excesses: [ListBook.Excess] = []
  }

  /// Held from learning until what was learnt is written.
  nonisolated let turn = PolicyTurn()

  private var providers: ProviderTable
  private var breakerPolicy: BreakerPolicy
  private var warmingPolicy: WarmingPolicy
  /// This host's IPs, and whether the configuration says that they are warm.
  private var ips: [String: Bool]
  private var warming: [String: IPWarming] = [:]
  private var rates: [LaneID: AdaptiveRate] = [:]
  private var domains: [String: DomainHealth] = [:]
  /// Of named providers.
  private var health: [MailboxProvider: ProviderHealth] = [:]
  private var breakers: [BreakerKey: CircuitBreaker] = [:]
  private var pauses: [BreakerKey: TimedGate] = [:]
  private var lists = ListBook()
  /// Rates as they were last written: a row that only counts on is not written again within the hour.
  private var written: [LaneID: (rate: AdaptiveRate, at: Milliseconds)] = [:]
  /// Rows of one kind that are kept without a look at what they say.
  static let most = 100_000
  private var pruneAt = (rates: most, domains: most, breakers: most)

  init(providers: ProviderTable, breaker: BreakerPolicy, warming: WarmingPolicy, ips: [String: Bool]) {
    self.providers = providers
    breakerPolicy = breaker
    warmingPolicy = warming
    self.ips = ips
  }

  func setProviders(_ providers: ProviderTable) -> Changes {
    let before = self.providers
    self.providers = providers
    for (lane, rate) in rates {
      var rate = rate
      rate.adopt(profile(of: lane), before: before[MailboxProvider(rawValue: lane.key) ?? .other])
      rates[lane] = rate
    }
    var changes = Changes()
    changes.rates = rates
    return changes
  }

  /// For what is judged from now on.
  func setPolicies(breaker: BreakerPolicy, warming: WarmingPolicy) {
    breakerPolicy = breaker
    warmingPolicy = warming
  }

  /// Other IPs: those that come are led on from their stored rows, those that left are led no more.
  /// - Parameter rows: as Redis holds them.
  func setIPs(_ ips: [String: Bool], rows: [String: String], now: Milliseconds) -> Changes {
    self.ips = ips
    warming = warming.filter { ips[$0.key] != nil }
    var changes = Changes()
    for (ip, isWarmed) in ips {
      let stored = warming[ip] ?? rows["warm:\(ip)"].flatMap { IPWarming(text: $0) }
      var state = stored ?? IPWarming(now: now, policy: warmingPolicy, isExempt: isWarmed)
      state.setExempt(isWarmed, policy: warmingPolicy)
      guard state != warming[ip] else { continue }
      warming[ip] = state
      changes.warming[ip] = state
    }
    return changes
  }

  private func profile(of lane: LaneID) -> ProviderProfile { providers[MailboxProvider(rawValue: lane.key) ?? .other] }

  // MARK: stored rows

  /// Everything that Redis holds, in place of what is known. Rows that say nothing any more are answered to be removed.
  func load(_ rows: [String: String], now: Milliseconds) -> (changes: Changes, idle: [PolicyRow]) {
    rates = [:]
    domains = [:]
    health = [:]
    breakers = [:]
    pauses = [:]
    written = [:]
    warming = [:]
    lists = ListBook()
    var idle: [PolicyRow] = []
    for (field, text) in rows where !take(field, text, now) { idle.append(PolicyRow(field: field, text: nil)) }
    for (ip, isWarmed) in ips {
      var state = warming[ip] ?? IPWarming(now: now, policy: warmingPolicy, isExempt: isWarmed)
      state.setExempt(isWarmed, policy: warmingPolicy)
      warming[ip] = state
    }
    var changes = Changes()
    changes.rates = rates
    changes.domains = domains
    changes.providers = health
    changes.breakers = breakers
    changes.pauses = pauses
    changes.warming = warming
    return (changes, idle)
  }

  /// - Returns: false for a row that is worth nothing.
  private func take(_ field: String, _ text: String, _ now: Milliseconds) -> Bool {
    guard let colon = field.firstIndex(of: ":") else { return false }
    let name = String(field[field.index(after: colon)...])
    switch field[..<colon] {
    case "rate":
      guard let lane = LaneID(name), let rate = AdaptiveRate(text: text), !rate.isIdle(now: now) else { return false }
      rates[lane] = rate
      written[lane] = (rate, now)
    case "domain":
      guard let health = DomainHealth(text: text), !health.isIdle(now: now) else { return false }
      domains[name] = health
    case "provider":
      guard let provider = MailboxProvider(rawValue: name), let state = ProviderHealth(text: text), !state.isIdle(now: now) else {
        return false
      }
      health[provider] = state
    case "breaker":
      guard let key = BreakerKey(name), let breaker = CircuitBreaker(text: text), !breaker.isIdle(now: now) else { return false }
      breakers[key] = breaker
    case "away":
      guard let key = BreakerKey(name), let gate = TimedGate(text: text), gate.until > now else { return false }
      pauses[key] = gate
    case "warm":
      guard let state = IPWarming(text: text) else { return false }
      // Another host's IPs are not ours to lead.
      if ips[name] != nil { warming[name] = state }
    default:
      // Unless it is of the lists, it is another policy's row.
      return lists.take(field[..<colon], name, text, now) ?? true
    }
    return true
  }

  // MARK: learning

  func learn(_ lessons: [Lesson?], now: Milliseconds) -> Learnt {
    var changes = Changes()
    var learnt = Learnt(rows: [], changes: changes, opened: [])
    for (index, lesson) in lessons.enumerated() {
      guard let lesson else { continue }
      learnRate(lesson, now, &changes)
      learnHealth(lesson, now, &changes)
      learnProvider(lesson, now, &changes)
      learnWarming(lesson, now, &changes)
      // Of postmaster's mail only what it tells of IPs and hosts.
      guard lesson.organisation != Organisation.postmaster else { continue }
      let (alarm, excess) = lists.learn(lesson, now)
      if let alarm { learnt.alarms.append((index, alarm)) }
      if let excess { learnt.excesses.append(excess) }
      for provider in [nil, lesson.provider] as [MailboxProvider?] {
        let key = BreakerKey(organisation: lesson.organisation, provider: provider)
        if case .opened(let bounces, let complaints)? = learnBreaker(key, lesson, now, &changes), provider == nil,
          let breaker = breakers[key]
        {
          learnt.opened.append((index, lesson.organisation, breaker, bounces, complaints))
        }
      }
    }
    learnt.changes = changes
    learnt.rows = forgetWhatIsIdle(now) + rows(changes, now) + lists.takeRows(now)
    return learnt
  }

  /// What came back of a message that its server had taken: it speaks of the list and of the IP's mail, not of lane and domain.
  func learn(_ late: LateLesson, now: Milliseconds) -> Learnt {
    var changes = Changes()
    var learnt = Learnt(rows: [], changes: changes, opened: [])
    if let outcome = late.warming, warming[late.ip] != nil {
      warming[late.ip]?.noteLate(outcome, deliveredAt: late.deliveredAt, provider: late.provider.rawValue, now: now)
      changes.warming[late.ip] = warming[late.ip]
    }
    let isTurned = late.breaker == .bounced && late.deliveredAt != nil
    if isTurned { lists.takeBack(late.organisation, late.campaign) }
    for provider in [nil, late.provider] as [MailboxProvider?] {
      guard late.organisation != Organisation.postmaster, var outcome = late.breaker else { continue }
      let key = BreakerKey(organisation: late.organisation, provider: provider)
      // It is no probe's end: like a complaint it counts as bad and completes nothing.
      if state(of: key.organisation, at: provider, now: now).state == .halfOpen {
        outcome = .complained
      } else if isTurned {
        breakers[key]?.takeBackDelivery()
      }
      if case .opened(let bounces, let complaints)? = note(outcome, key, now, &changes), provider == nil, let breaker = breakers[key] {
        learnt.opened.append((0, late.organisation, breaker, bounces, complaints))
      }
    }
    if case .complained = late.what, let alarm = lists.complain(late.organisation, late.campaign, now) { learnt.alarms = [(0, alarm)] }
    learnt.changes = changes
    learnt.rows = rows(changes, now) + lists.takeRows(now)
    return learnt
  }

  func isBulkSender(_ organisation: String, at provider: MailboxProvider) -> Bool { lists.isBulkSender(organisation, at: provider) }
  func bulkSenders() -> [(key: BreakerKey, volume: BulkVolume)] { lists.bulkSenders }

  private func learnRate(_ lesson: Lesson, _ now: Milliseconds, _ changes: inout Changes) {
    let lane = LaneID(ip: lesson.ip, key: lesson.laneKey)
    let profile = profile(of: lane)
    var rate = rates[lane] ?? AdaptiveRate(profile)
    switch lesson.what {
    case .delivered: rate.delivered(profile, now: now)
    case .refused(let verdict):
      guard verdict.countsAgainstThrottle else { return }
      let stays = verdict.reaction == .pauseLane || verdict.reaction == .otherIP || verdict.reaction == .pauseIP
      rate.throttled(profile, pause: stays ? verdict.pause : nil, now: now)
    case .unreachable: return
    }
    rates[lane] = rate
    changes.rates[lane] = rate
  }

  private func isUntaught(_ rate: AdaptiveRate, _ lane: LaneID, _ now: Milliseconds) -> Bool {
    rate.ratePerMinute == profile(of: lane).defaultRate && rate.status(now: now) == .healthy
  }

  /// Scopes that say nothing are forgotten once there are many: a host speaks to more domains than it need remember.
  /// - Returns: their rows, to be removed.
  private func forgetWhatIsIdle(_ now: Milliseconds) -> [PolicyRow] {
    var gone: [PolicyRow] = []
    if rates.count > pruneAt.rates {
      rates = rates.filter { !$0.value.isIdle(now: now) && !isUntaught($0.value, $0.key, now) }
      for lane in written.keys where rates[lane] == nil { gone.append(PolicyRow(field: "rate:\(lane)", text: nil)) }
      written = written.filter { rates[$0.key] != nil }
      pruneAt.rates = max(Self.most, rates.count * 2)
    }
    if domains.count > pruneAt.domains {
      for (domain, health) in domains where health.hasTrouble && health.isIdle(now: now) {
        gone.append(PolicyRow(field: "domain:\(domain)", text: nil))
      }
      domains = domains.filter { $0.value.hasTrouble && !$0.value.isIdle(now: now) }
      pruneAt.domains = max(Self.most, domains.count * 2)
    }
    if breakers.count > pruneAt.breakers {
      for (key, breaker) in breakers where breaker.isIdle(now: now) { gone.append(PolicyRow(field: "breaker:\(key)", text: nil)) }
      breakers = breakers.filter { !$0.value.isIdle(now: now) }
      pruneAt.breakers = max(Self.most, breakers.count * 2)
    }
    return gone
  }

  private func learnHealth(_ lesson: Lesson, _ now: Milliseconds, _ changes: inout Changes) {
    var health = domains[lesson.domain] ?? DomainHealth()
    let hadTrouble = health.hasTrouble
    switch lesson.what {
    case .delivered: health.replied(2, speaksOfDomain: true, now: now)
    case .refused(let verdict):
      health.replied(verdict.isPermanent ? 5 : 4, speaksOfDomain: verdict.speaksOfDomain, now: now)
      if verdict.reaction == .pauseOrganisation, lesson.organisation != Organisation.postmaster, let pause = verdict.pause {
        let key = BreakerKey(organisation: lesson.organisation, provider: lesson.provider)
        let gate = TimedGate(since: now, until: max(now + pause, pauses[key]?.until ?? 0))
        pauses[key] = gate
        changes.pauses[key] = gate
      }
    case .unreachable: health.connectionFailed(now: now)
    }
    domains[lesson.domain] = health
    // A domain that only ever took mail is worth no row.
    if health.hasTrouble || hadTrouble { changes.domains[lesson.domain] = health }
  }

  private func learnProvider(_ lesson: Lesson, _ now: Milliseconds, _ changes: inout Changes) {
    let kind: ProviderHealth.Kind?
    switch lesson.what {
    case .delivered: kind = .delivered
    case .refused(let verdict): kind = ProviderHealth.Kind(verdict)
    case .unreachable: kind = nil
    }
    // `other` is many systems: its domains have a health each.
    guard let kind, lesson.provider != .other else { return }
    var state = health[lesson.provider] ?? ProviderHealth()
    let hadTrouble = state.hasTrouble
    state.note(kind, ip: lesson.ip, domain: lesson.domain, now: now)
    health[lesson.provider] = state
    if state.hasTrouble || hadTrouble { changes.providers[lesson.provider] = state }
  }

  private func learnWarming(_ lesson: Lesson, _ now: Milliseconds, _ changes: inout Changes) {
    guard let outcome = IPWarming.Outcome(lesson.what), warming[lesson.ip] != nil else { return }
    warming[lesson.ip]?.note(outcome, provider: lesson.provider.rawValue, now: now)
    changes.warming[lesson.ip] = warming[lesson.ip]
  }

  private func learnBreaker(_ key: BreakerKey, _ lesson: Lesson, _ now: Milliseconds, _ changes: inout Changes)
    -> CircuitBreaker.Transition?
  {
    let outcome: CircuitBreaker.Outcome
    switch lesson.what {
    case .delivered: outcome = .delivered
    case .refused(let verdict) where verdict.countsAsListBounce: outcome = .bounced
    case .refused, .unreachable: return nil
    }
    return note(outcome, key, now, &changes)
  }

  private func note(_ outcome: CircuitBreaker.Outcome, _ key: BreakerKey, _ now: Milliseconds, _ changes: inout Changes)
    -> CircuitBreaker.Transition?
  {
    var breaker = breakers[key] ?? CircuitBreaker()
    let transition = breaker.note(outcome, policy: breakerPolicy, now: now)
    breakers[key] = breaker
    changes.breakers[key] = breaker
    return transition
  }

  private func rows(_ changes: Changes, _ now: Milliseconds) -> [PolicyRow] {
    var rows: [PolicyRow] = []
    for (lane, rate) in changes.rates {
      // A lane that has learnt nothing is worth no row.
      if written[lane] == nil, isUntaught(rate, lane, now) { continue }
      if let before = written[lane], now - before.at < 3_600_000, before.rate.ratePerMinute == rate.ratePerMinute,
        before.rate.blockedUntil == rate.blockedUntil, rate.status(now: now) == .healthy
      {
        continue
      }
      written[lane] = (rate, now)
      rows.append(PolicyRow(field: "rate:\(lane)", text: rate.text))
    }
    for (domain, health) in changes.domains {
      rows.append(PolicyRow(field: "domain:\(domain)", text: health.hasTrouble ? health.text : nil))
    }
    for (provider, state) in changes.providers {
      rows.append(PolicyRow(field: "provider:\(provider.rawValue)", text: state.hasTrouble ? state.text : nil))
    }
    for (key, breaker) in changes.breakers { rows.append(PolicyRow(field: "breaker:\(key)", text: breaker.text)) }
    for (ip, state) in changes.warming { rows.append(PolicyRow(field: "warm:\(ip)", text: state.text)) }
    for (key, gate) in changes.pauses { rows.append(PolicyRow(field: "away:\(key)", text: gate.text)) }
    return rows
  }

  // MARK: breakers, for people

  struct BreakerRow: Sendable {
    var key: BreakerKey
    var breaker: CircuitBreaker
  }

  /// As they are now: an open time that is over counts as half-open.
  func breakerRows(now: Milliseconds) -> [BreakerRow] {
    breakers.map { key, breaker in
      var breaker = breaker
      _ = breaker.tick(now: now)
      return BreakerRow(key: key, breaker: breaker)
    }.sorted { ($0.key.organisation, $0.key.provider?.rawValue ?? "") < ($1.key.organisation, $1.key.provider?.rawValue ?? "") }
  }

  /// Closes all breakers of an organisation. Nil when it has none.
  func reset(_ organisation: String, now: Milliseconds) -> (rows: [PolicyRow], changes: Changes)? {
    var changes = Changes()
    for (key, breaker) in breakers where key.organisation == organisation {
      var breaker = breaker
      breaker.reset(now: now)
      breakers[key] = breaker
      changes.breakers[key] = breaker
    }
    return changes.breakers.isEmpty ? nil : (rows(changes, now), changes)
  }

  func state(of organisation: String, at provider: MailboxProvider?, now: Milliseconds) -> CircuitBreaker {
    var breaker = breakers[BreakerKey(organisation: organisation, provider: provider)] ?? CircuitBreaker()
    _ = breaker.tick(now: now)
    return breaker
  }

  // MARK: warming

  /// Judges the days that are over.
  func rollWarming(now: Milliseconds) -> (rows: [PolicyRow], changes: Changes, events: [(ip: String, event: WarmingEvent)]) {
    var changes = Changes()
    var events: [(ip: String, event: WarmingEvent)] = []
    for (ip, state) in warming {
      var state = state
      let told = state.roll(now: now, policy: warmingPolicy)
      guard state != warming[ip] else { continue }
      warming[ip] = state
      changes.warming[ip] = state
      events += told.map { (ip, $0) }
    }
    return (rows(changes, now), changes, events)
  }

  /// An order about one IP's warming. Nil when it is not ours.
  func changeWarming(_ ip: String, now: Milliseconds, _ order: @Sendable (inout IPWarming, WarmingPolicy) -> Void) -> (
    rows: [PolicyRow], changes: Changes
  )? {
    guard var state = warming[ip] else { return nil }
    order(&state, warmingPolicy)
    warming[ip] = state
    var changes = Changes()
    changes.warming[ip] = state
    return (rows(changes, now), changes)
  }

  /// Today's values of what a batch changed, and the rows of those that an order changed since.
  func current(_ changes: Changes) -> (changes: Changes, overtaken: [PolicyRow]) {
    var current = changes
    var differing = Changes()
    for (key, breaker) in changes.breakers where breakers[key] != breaker {
      current.breakers[key] = breakers[key]
      differing.breakers[key] = breakers[key]
    }
    for (ip, state) in changes.warming where warming[ip] != state {
      current.warming[ip] = warming[ip]
      differing.warming[ip] = warming[ip]
    }
    return (current, rows(differing, 0))
  }

  func warmingStates() -> [String: IPWarming] { warming }

  func rate(of lane: LaneID) -> AdaptiveRate? { rates[lane] }
}

extension PolicyBook.BreakerKey: CustomStringConvertible {
  /// `*` or the provider, then the organisation.
  var description: String { "\(provider?.rawValue ?? "*"):\(organisation)" }

  init?(_ text: String) {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    let name = String(text[..<colon])
    let provider = MailboxProvider(rawValue: name)
    guard provider != nil || name == "*" else { return nil }
    self.init(organisation: String(text[text.index(after: colon)...]), provider: provider)
  }
}

extension PolicyBook.TimedGate {
  var text: String { "t1 \(since) \(until)" }

  init?(text: String) {
    let words = text.split(separator: " ")
    guard words.count == 3, words[0] == "t1", let since = Milliseconds(words[1]), let until = Milliseconds(words[2]) else { return nil }
    self.init(since: since, until: until)
  }
}
