import DeliveryPolicy
import MailModel
import Redis

/// What Redis keeps of it: a row a lane, domain, provider, breaker and IP.
extension PolicyBook {
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

  func rows(_ changes: Changes, _ now: Milliseconds) -> [PolicyRow] {
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

  private func isUntaught(_ rate: AdaptiveRate, _ lane: LaneID, _ now: Milliseconds) -> Bool {
    rate.ratePerMinute == profile(of: lane).defaultRate && rate.status(now: now) == .healthy
  }

  /// Scopes that say nothing are forgotten once there are many: a host speaks to more domains than it need remember.
  /// - Returns: their rows, to be removed.
  func forgetWhatIsIdle(_ now: Milliseconds) -> [PolicyRow] {
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
