import DeliveryPolicy
import MailModel
import Observability
import Redis

/// The dispatcher and the policies: what a pick is charged to, what is shut when there is no room, what outcomes taught.
extension Dispatcher {
  /// What hosts share and this pick spends.
  func charges(
    of pick: PlannedPick, _ provider: MailboxProvider, _ limits: OrganisationLimits.Limits?, _ now: Milliseconds
  ) -> [DispatchCounter] {
    let organisation = pick.part.organisation
    let isTenant = organisation != Organisation.postmaster
    var list = isTenant ? limits.map { OrganisationLimits.counters(organisation, $0, now) } ?? [] : []
    for key in [PolicyBook.BreakerKey(organisation: organisation, provider: nil), .init(organisation: organisation, provider: provider)] {
      guard let generation = breakers.probing(key, now: now) else { continue }
      list.append(
        DispatchCounter(
          counter: SharedCounter(key: "bp:\(generation):\(key)", limit: probes, secondsToLive: 86_400),
          stop: .probes(key)))
    }
    return list + warming.counters(of: pick.part, from: pick.lane.ip, to: provider, now: now)
  }

  /// What each warming IP may still send today, by what Redis has counted.
  func renewAllowances(_ now: Milliseconds) async -> Bool {
    let ips = warming.states.keys.sorted()
    do {
      let used = try await store.counters(ips.map { WarmingCharges.dayKey($0, now) })
      for (ip, sent) in zip(ips, used) {
        let gate = Gate(scope: .ip, key: ip, reason: .warmingCap, since: now, until: UTCDay.nextMidnight(after: now))
        index.limit(ip, to: warming.cap(ip, now: now).map { max(0, $0 - sent) }, gate: gate)
      }
      allowanceDay = UTCDay.number(now)
      allowancesAt = now
      return true
    } catch {
      // Redis is away: the loop waits for it.
      await signal.wait(atMost: .milliseconds(100))
      return false
    }
  }

  /// Sessions that all IPs of all hosts share: what lanes want, have and gave up, told to Redis where that changed.
  func shareSessions(_ now: Milliseconds) async -> Bool {
    let claims = index.sessionClaims(now: now)
    guard !claims.isEmpty else { return true }
    do {
      let answers = try await store.claimSessions(host: host, lease: SessionShares.lease, claims)
      for (claim, answer) in zip(claims, answers) { index.grant(claim, answer, now: now) }
      return true
    } catch {
      // Asked again, held again: nothing was taken for granted.
      index.sessions.tellAgain()
      await signal.wait(atMost: .milliseconds(100))
      return false
    }
  }

  /// A counter had no room: the gate that it stands for.
  func shut(_ stop: DispatchCounter.Stop, _ pick: PlannedPick, _ now: Milliseconds) {
    let organisation = pick.part.organisation
    switch stop {
    case .organisationLimit(let until):
      index.shut(
        organisation: organisation, Gate(scope: .organisation, key: organisation, reason: .orgLimit, since: now, until: until))
    case .probes(let key):
      // All probes are out: looked at again when their outcomes have moved the breaker, or some were given back.
      index.shut(
        organisation: organisation, at: key.provider,
        Gate(scope: .organisation, key: key.gateKey, reason: .breaker, since: breakers.since(key), until: now + 30_000))
    case .warmingCap(let until):
      index.limit(pick.lane.ip, to: 0, gate: Gate(scope: .ip, key: pick.lane.ip, reason: .warmingCap, since: now, until: until))
    case .providerCap(let until):
      index.setLaneGate(
        pick.lane, Gate(scope: .lane, key: pick.lane.description, reason: .providerWarmingCap, since: now, until: until))
    case .pacing(let opensAt):
      let set = pick.part.group.set
      index.setClosedSet(
        set, of: pick.lane.ip, Gate(scope: .ip, key: "\(pick.lane.ip) \(set)", reason: .warmingPacing, since: now, until: opensAt))
    }
  }

  // MARK: what policies say

  /// All that a run of Redis holds was applied: nothing goes out before, or a block would be forgotten for a moment.
  func policyLoaded(run: String) {
    policyRun = run
    signal.fire()
  }

  /// What outcomes taught: rates, domains' health, breakers.
  func apply(_ changes: PolicyBook.Changes) {
    let now = SystemClock.now()
    for (lane, rate) in changes.rates { index.setRate(lane, rate, now: now) }
    for (domain, health) in changes.domains {
      let gate = health.shut(now: now).map { what, since, until in
        Gate(
          scope: .domain, key: domain, reason: what == .connection ? .connectionBackoff : .smtpResponse, since: since, until: until)
      }
      if gate != nil || index.mirror.domainGates[domain] != nil { index.setDomainGate(domain, gate) }
    }
    for (provider, health) in changes.providers {
      index.setProviderGate(
        provider,
        health.until > now
          ? Gate(scope: .provider, key: provider.rawValue, reason: .smtpResponse, since: health.since, until: health.until) : nil)
    }
    for (key, breaker) in changes.breakers where breakers.note(key, breaker) { showBreaker(key, now) }
    for (ip, state) in changes.warming where warming.set(ip, state, now: now) {
      allowanceDay = nil
      index.openWarmingGates(of: ip)
    }
    for (key, away) in changes.pauses {
      index.shut(
        organisation: key.organisation, at: key.provider,
        Gate(scope: .organisation, key: key.gateKey, reason: .smtpResponse, since: away.since, until: away.until))
    }
    if !changes.isEmpty { signal.fire() }
  }

  func showBreaker(_ key: PolicyBook.BreakerKey, _ now: Milliseconds) {
    if let until = breakers.openUntil(key, now: now) {
      index.shut(
        organisation: key.organisation, at: key.provider,
        Gate(scope: .organisation, key: key.gateKey, reason: .breaker, since: breakers.since(key), until: until))
    } else {
      index.open(organisation: key.organisation, at: key.provider, .breaker)
    }
  }

  /// Whether one of these IPs may still send something today.
  func hasCapacity(_ ips: [String]) -> Bool { ips.contains { index.allowances[$0].map { $0.permits > 0 } ?? true } }

  func setProviders(_ providers: ProviderTable) {
    index.setProviders(providers, now: SystemClock.now())
    signal.fire()
  }

  /// For the reducer: IPs that could send now, and the lanes of messages that are out.
  func whereabouts(_ numbers: [MessageNumber]) -> (open: Set<String>, lanes: [MessageNumber: LaneID]) {
    var lanes: [MessageNumber: LaneID] = [:]
    for number in numbers { lanes[number] = out[number] }
    return (index.openIPs, lanes)
  }
}
