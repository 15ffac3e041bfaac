import DeliveryPolicy
import MailModel
import Redis

/// What a message costs an IP that warms up: its day, its day with one provider, and for campaign mail the part of the day
/// that has passed (contract section 6). Counted by Redis with the dispatch, so that no cap is overshot.
struct WarmingCharges {
  static let campaignPool = "campaign"
  static let secondsToLive = 172_800

  var policy: WarmingPolicy
  private(set) var states: [String: IPWarming] = [:]

  init(policy: WarmingPolicy) { self.policy = policy }

  /// - Returns: whether the IP's cap is another than before.
  mutating func set(_ ip: String, _ state: IPWarming, now: Milliseconds) -> Bool {
    let before = states[ip]
    states[ip] = state
    return before?.caps(now: now, policy: policy).ip != state.caps(now: now, policy: policy).ip
  }

  mutating func forget(_ ip: String) { states[ip] = nil }

  static func dayKey(_ ip: String, _ now: Milliseconds) -> String { "wi:\(UTCDay.number(now)):\(ip)" }

  /// Messages a day; nil when the IP has no cap.
  func cap(_ ip: String, now: Milliseconds) -> Int? { states[ip]?.caps(now: now, policy: policy).ip }

  func counters(of part: GroupPart, from ip: String, to provider: MailboxProvider, now: Milliseconds) -> [DispatchCounter] {
    guard let state = states[ip], state.isLimited else { return [] }
    let limits = state.caps(now: now, policy: policy)
    guard let cap = limits.ip else { return [] }
    let date = UTCDay.number(now)
    let midnight = UTCDay.nextMidnight(after: now)
    func counter(_ key: String, _ limit: Int, _ stop: DispatchCounter.Stop) -> DispatchCounter {
      DispatchCounter(counter: SharedCounter(key: key, limit: limit, secondsToLive: Self.secondsToLive), stop: stop)
    }
    var list = [counter(Self.dayKey(ip, now), cap, .warmingCap(until: midnight))]
    if let limit = limits.providers[provider.rawValue] {
      list.append(counter("wp:\(date):\(ip):\(provider.rawValue)", limit, .providerCap(until: midnight)))
    }
    if Self.isCampaign(part.group.set), let allowance = limits.campaign {
      list.append(counter("wc:\(date):\(ip)", allowance, .pacing(opensAt: limits.campaignOpensAt(used: allowance))))
    }
    return list
  }

  private static func isCampaign(_ set: String) -> Bool {
    if case .pool(let name, _)? = IPSet(set) { name == campaignPool } else { false }
  }
}
