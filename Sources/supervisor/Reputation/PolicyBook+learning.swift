import DeliveryPolicy
import MailModel
import Redis

/// What outcomes teach.
extension PolicyBook {
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
}
