import DeliveryPolicy
import MailModel

/// Whose turn it is: the gates of IP, provider, lane, domain and organisation, in the order in which dispatch asks them.
extension SimulationRun {
  private enum Choice {
    case organisation(Int)
    /// Mail is there, and everything of it is held.
    case held
    case nothing
  }

  typealias Shut = (gate: SimulationReport.Gate, until: Milliseconds)

  /// Has the lane looked at, at `time` or before.
  mutating func wake(_ lane: Int, _ time: Milliseconds) {
    guard time < lanes[lane].timerAt else { return }
    lanes[lane].timerAt = time
    queue.push(.lane, at: time, index: lane, rank: lanes[lane].served)
  }

  mutating func serve(_ index: Int, _ now: Milliseconds) {
    // Another time was set since.
    guard lanes[index].timerAt == now else { return }
    lanes[index].timerAt = .max
    let ip = lanes[index].ip
    while true {
      guard hasMail(index) else { return }
      if let shut = shut(index, now) {
        // The throttle is a beat, not an obstacle.
        if shut.until > now + 60_000 || shut.gate != .throttle { countStop(index, shut.gate) }
        return wake(index, shut.until)
      }
      var reopens = Milliseconds.max
      guard case .organisation(let organisation) = choose(index, now, &reopens) else {
        if reopens < .max { wake(index, max(reopens, now + 1)) }
        return
      }
      send(organisation, index, now)
      // Where every message counts, lanes take turns one by one.
      if ips[ip].limits.ip != nil { return wake(index, now) }
    }
  }

  private func hasMail(_ index: Int) -> Bool {
    let bit = UInt64(1) << UInt64(lanes[index].ip)
    let destination = lanes[index].destination
    for organisation in breakers.indices where waiting[organisation * destinations.count + destination].has(for: bit) { return true }
    return false
  }

  /// What shuts the lane for all mail, and until when.
  func shut(_ index: Int, _ now: Milliseconds) -> Shut? {
    let ip = lanes[index].ip
    let destination = lanes[index].destination
    let provider = destinations[destination].provider
    if let cap = ips[ip].limits.ip, ips[ip].used >= cap { return (.warmingCap, UTCDay.nextMidnight(after: now)) }
    if ips[ip].usedByProvider[provider] >= ips[ip].capByProvider[provider] { return (.providerCap, UTCDay.nextMidnight(after: now)) }
    if let domain = health[destination].shut(now: now) {
      return (domain.what == .connection ? .connection : .response, domain.until)
    }
    let opensAt = max(lanes[index].throttle.opensAt, lanes[index].rate.blockedUntil)
    return opensAt > now ? (.throttle, opensAt) : nil
  }

  /// The organisation served longest ago of those that have mail and are open; `reopens` becomes the first time at which a
  /// held one may be asked again.
  private mutating func choose(_ index: Int, _ now: Milliseconds, _ reopens: inout Milliseconds) -> Choice {
    let lane = (ip: lanes[index].ip, destination: lanes[index].destination)
    let bit = UInt64(1) << UInt64(lane.ip)
    var best: Int?
    var isHeld = false
    var paced: Milliseconds?
    for organisation in breakers.indices where waiting[organisation * destinations.count + lane.destination].has(for: bit) {
      if organisation > 0 {
        let opens = paced ?? paceOpens(lane.ip, now)
        paced = opens
        if opens > now {
          isHeld = true
          reopens = min(reopens, opens)
          count(stopOf: organisation, .pacing)
          continue
        }
      }
      if let until = breakerOpens(organisation, destinations[lane.destination].provider, now) {
        isHeld = true
        reopens = min(reopens, until)
        count(stopOf: organisation, .breaker)
        continue
      }
      if let chosen = best, lanes[index].servedOrganisations[chosen] <= lanes[index].servedOrganisations[organisation] { continue }
      best = organisation
    }
    return best.map(Choice.organisation) ?? (isHeld ? .held : .nothing)
  }

  /// When the IP may take one more campaign message: `now` when it may.
  private mutating func paceOpens(_ ip: Int, _ now: Milliseconds) -> Milliseconds {
    guard let allowance = ips[ip].limits.campaign, ips[ip].campaignUsed >= allowance else { return now }
    // The allowance only grows within a day: an old one that suffices is as good as a new one.
    ips[ip].limits = ips[ip].warming.caps(now: now, policy: plan.warming)
    return ips[ip].limits.campaignOpensAt(used: ips[ip].campaignUsed)
  }

  private mutating func breakerOpens(_ organisation: Int, _ provider: Int, _ now: Milliseconds) -> Milliseconds? {
    let pair = organisation * providers.count + provider
    _ = breakers[organisation].tick(now: now)
    _ = providerBreakers[pair].tick(now: now)
    var until: Milliseconds?
    if breakers[organisation].state == .open { until = breakers[organisation].until }
    if providerBreakers[pair].state == .open { until = max(until ?? 0, providerBreakers[pair].until) }
    return until
  }

  private mutating func send(_ organisation: Int, _ index: Int, _ now: Milliseconds) {
    let ip = lanes[index].ip
    let destination = lanes[index].destination
    let bit = UInt64(1) << UInt64(ip)
    guard let message = waiting[organisation * destinations.count + destination].take(for: bit) else { return }
    clock += 1
    lanes[index].served = clock
    lanes[index].servedOrganisations[organisation] = clock
    ips[ip].used += 1
    ips[ip].usedByProvider[destinations[destination].provider] += 1
    if organisation > 0 { ips[ip].campaignUsed += 1 }
    let permit = lanes[index].throttle.take(1, now: now)
    attempt(message, index, permit.first)
  }

  // MARK: counting

  private mutating func count(stopOf organisation: Int, _ gate: SimulationReport.Gate) {
    report.stops[organisation == 0 ? 0 : 1][gate.index] += 1
  }

  private mutating func countStop(_ index: Int, _ gate: SimulationReport.Gate) {
    let bit = UInt64(1) << UInt64(lanes[index].ip)
    let destination = lanes[index].destination
    var isCounted = (false, false)
    for organisation in breakers.indices where waiting[organisation * destinations.count + destination].has(for: bit) {
      if organisation == 0, !isCounted.0 {
        isCounted.0 = true
        count(stopOf: organisation, gate)
      } else if organisation > 0, !isCounted.1 {
        isCounted.1 = true
        count(stopOf: organisation, gate)
      }
    }
  }

  /// Puts what is there at the day's end under the gate of the lane that opens first.
  mutating func countHeld(_ now: Milliseconds) {
    day.held[SimulationReport.Gate.deferred.index] = deferred.count - freeSlots.count
    for organisation in breakers.indices {
      for destination in destinations.indices {
        let count = waiting[organisation * destinations.count + destination].count
        guard count > 0 else { continue }
        day.held[gate(organisation, destination, now).index] += count
      }
    }
  }

  private mutating func gate(_ organisation: Int, _ destination: Int, _ now: Milliseconds) -> SimulationReport.Gate {
    if breakerOpens(organisation, destinations[destination].provider, now) != nil { return .breaker }
    var first: Shut?
    for ip in ips.indices {
      var shut = shut(ip * destinations.count + destination, now)
      if organisation > 0, shut == nil || shut?.gate == .throttle {
        let opens = paceOpens(ip, now)
        if opens > now { shut = (.pacing, opens) }
      }
      guard let shut else { return .throttle }
      if first == nil || shut.until < first?.until ?? .max { first = shut }
    }
    return first?.gate ?? .throttle
  }
}
