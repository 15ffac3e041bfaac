import DeliveryPolicy
import MailModel

/// What an answer does: to the message, and to everything that learns from it.
extension SimulationRun {
  private static let fullMailboxes = 0.002
  private static let firstComplaint: Milliseconds = 600_000
  private static let lastComplaint: Milliseconds = 86_400_000

  mutating func attempt(_ message: SimulatedMessage, _ lane: Int, _ now: Milliseconds) {
    var message = message
    if message.firstTriedAt == 0 {
      message.firstTriedAt = now
      message.isUnknown = random.happens(plan.bounceRate)
      message.isFull = !message.isUnknown && random.happens(Self.fullMailboxes)
      let kind = message.organisation == 0 ? 0 : 1
      untried[kind] -= 1
      if kind == asked, untried[kind] == 0 { report.clearedAt = now - Self.start }
      report.longestWait[kind] = max(report.longestWait[kind], now - message.arrivedAt)
      if now - message.arrivedAt > plan.maxAge { report.late += 1 }
    }
    let ip = lanes[lane].ip
    let provider = destinations[Int(message.destination)].provider
    day.ips[ip].cells[provider].attempts += 1
    switch model.answer(&message, ip: ip, now: now, random: &random) {
    case .delivered:
      learn(.delivered, message, lane, now)
      day.delivered += 1
      day.ips[ip].cells[provider].delivered += 1
      if random.happens(plan.complaintRate) { scheduleComplaint(message, ip, now) }
      ended(message, now)
    case .refused(let reply):
      let verdict = replies[reply, provider]
      learn(.refused(verdict), message, lane, now)
      refused(message, reply, verdict, lane, now)
    case .unreachable:
      learn(.unreachable, message, lane, now)
      refund(message, lane, now)
      day.ips[ip].cells[provider].deferred += 1
      deferral(message, .unreachable, nil, now)
    }
  }

  /// The same reading of lessons as that of the supervisor's policy book.
  private mutating func learn(_ what: Lesson.What, _ message: SimulatedMessage, _ lane: Int, _ now: Milliseconds) {
    let ip = lanes[lane].ip
    let destination = Int(message.destination)
    let profile = plan.providers[destinations[destination].name]
    switch what {
    case .delivered:
      lanes[lane].rate.delivered(profile, now: now)
      health[destination].replied(2, speaksOfDomain: true, now: now)
      note(.delivered, Int(message.organisation), destinations[destination].provider, now)
    case .refused(let verdict):
      if verdict.countsAgainstThrottle {
        let stays = verdict.reaction == .pauseLane || verdict.reaction == .otherIP || verdict.reaction == .pauseIP
        lanes[lane].rate.throttled(profile, pause: stays ? verdict.pause : nil, now: now)
      }
      health[destination].replied(verdict.isPermanent ? 5 : 4, speaksOfDomain: verdict.speaksOfDomain, now: now)
      if verdict.countsAsListBounce { note(.bounced, Int(message.organisation), destinations[destination].provider, now) }
    case .unreachable: health[destination].connectionFailed(now: now)
    }
    lanes[lane].throttle.setRate(lanes[lane].rate.ratePerMinute, now: now)
    if let outcome = IPWarming.Outcome(what) {
      ips[ip].warming.note(outcome, provider: destinations[destination].name.rawValue, now: now)
    }
  }

  private mutating func note(_ outcome: CircuitBreaker.Outcome, _ organisation: Int, _ provider: Int, _ now: Milliseconds) {
    _ = providerBreakers[organisation * providers.count + provider].note(outcome, policy: plan.breaker, now: now)
    switch breakers[organisation].note(outcome, policy: plan.breaker, now: now) {
    case .opened(let bounces, let complaints):
      let text = "breaker opened: \(percent(bounces)) bounces and \(percent(complaints)) complaints of the last hundred"
      report.events.append(.init(at: now - Self.start, kind: .breaker(organisation: organisation), text: text))
    case .reopened, .closed, nil: break
    }
  }

  private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

  private mutating func refused(
    _ message: SimulatedMessage, _ reply: ProviderReply, _ verdict: ReplyVerdict, _ lane: Int, _ now: Milliseconds
  ) {
    let ip = lanes[lane].ip
    let provider = destinations[Int(message.destination)].provider
    if verdict.isPermanent, verdict.reaction == .otherIP {
      var moved = message
      moved.less |= 1 << UInt64(ip)
      if moved.less.nonzeroBitCount <= OutcomeReducer.maxOtherIPs, moved.less.nonzeroBitCount < ips.count {
        refund(message, lane, now)
        day.deferrals[SimulationReport.Cause.blocked.index] += 1
        day.ips[ip].cells[provider].deferred += 1
        return back(moved, now)
      }
      return bounced(message, ip, provider, now)
    }
    guard verdict.isDeferral else { return bounced(message, ip, provider, now) }
    refund(message, lane, now)
    day.ips[ip].cells[provider].deferred += 1
    let cause: SimulationReport.Cause
    switch reply {
    case .greylisted: cause = .greylisted
    case .mailboxFull: cause = .mailboxFull
    case .blocked: cause = .blocked
    case .rateLimited, .unknownUser: cause = .rateLimited
    }
    deferral(message, cause, verdict, now)
  }

  /// What did not go is not counted against its IP, as dispatch gives it back: where a cap or the day's pace had been reached,
  /// the IP's lanes may try again.
  private mutating func refund(_ message: SimulatedMessage, _ lane: Int, _ now: Milliseconds) {
    let ip = lanes[lane].ip
    let provider = destinations[Int(message.destination)].provider
    let state = ips[ip]
    let wasShut =
      state.limits.ip.map { state.used >= $0 } ?? false || state.usedByProvider[provider] >= state.capByProvider[provider]
      || state.limits.campaign.map { state.campaignUsed >= $0 } ?? false
    ips[ip].used -= 1
    ips[ip].usedByProvider[provider] -= 1
    if message.organisation > 0 { ips[ip].campaignUsed -= 1 }
    guard wasShut else { return }
    for destination in destinations.indices { wake(ip * destinations.count + destination, now) }
  }

  private mutating func bounced(_ message: SimulatedMessage, _ ip: Int, _ provider: Int, _ now: Milliseconds) {
    day.bounced += 1
    day.ips[ip].cells[provider].bounced += 1
    ended(message, now)
  }

  private mutating func deferral(
    _ message: SimulatedMessage, _ cause: SimulationReport.Cause, _ verdict: ReplyVerdict?, _ now: Milliseconds
  ) {
    day.deferrals[cause.index] += 1
    let delay = plan.retry.delay(
      deferrals: Int(message.deferrals), statedWait: verdict?.statedWait, mailboxFull: verdict?.reaction == .retryLong,
      random: random.fraction())
    guard now + delay <= message.firstTriedAt + plan.maxAge else {
      day.expired += 1
      return ended(message, now)
    }
    var message = message
    message.deferrals += 1
    let slot = freeSlots.popLast() ?? deferred.count
    if slot == deferred.count { deferred.append(message) } else { deferred[slot] = message }
    queue.push(.retry, at: now + delay, index: slot)
  }

  mutating func retry(_ slot: Int, _ now: Milliseconds) {
    let message = deferred[slot]
    freeSlots.append(slot)
    back(message, now)
  }

  /// Into its place in the queue.
  private mutating func back(_ message: SimulatedMessage, _ now: Milliseconds) {
    let destination = Int(message.destination)
    waiting[Int(message.organisation) * destinations.count + destination].add(message)
    for ip in ips.indices where message.less & (1 << UInt64(ip)) == 0 { wake(ip * destinations.count + destination, now) }
  }

  private mutating func ended(_ message: SimulatedMessage, _ now: Milliseconds) {
    let kind = message.organisation == 0 ? 0 : 1
    open[kind] -= 1
    if kind == asked, open[kind] == 0 { report.doneAt = now - Self.start }
  }

  /// The class whose end is the end of the work: the other one comes as long as there are days.
  private var asked: Int { plan.transactionalShare < 1 ? 1 : 0 }

  // MARK: complaints

  private mutating func scheduleComplaint(_ message: SimulatedMessage, _ ip: Int, _ now: Milliseconds) {
    let complaint = Complaint(organisation: Int(message.organisation), ip: ip, destination: Int(message.destination))
    let slot = freeComplaints.popLast() ?? complaints.count
    if slot == complaints.count { complaints.append(complaint) } else { complaints[slot] = complaint }
    queue.push(.complaint, at: now + random.between(Self.firstComplaint, Self.lastComplaint), index: slot)
  }

  mutating func complain(_ slot: Int, _ now: Milliseconds) {
    let complaint = complaints[slot]
    freeComplaints.append(slot)
    model.complained(ip: complaint.ip, destination: complaint.destination)
    guard model.echoesComplaints(complaint.destination) else { return }
    note(.complained, complaint.organisation, destinations[complaint.destination].provider, now)
  }
}
