import MailModel

/// The other side: mailbox providers that remember each IP. Deliberately simple and deliberately jealous; its numbers are
/// guesses of the right size, not measurements.
///
/// - *Trust*: messages a day that a provider takes from an IP without complaint. Grows by at most two fifths a day while
///   the IP uses it and behaves; mail beyond it is rate-limited ever more often.
/// - *Rate*: a token bucket by the minute that follows trust.
/// - *Reputation*: 0 to 1, moved every day by complaints and unknown users; low shrinks trust, very low blocks for a day.
///
/// Each domain of `other` has its own opinion.
///
/// - *Greylisting*: some domains of `other` refuse what they meet first, until an IP has got five messages through.
/// - *Outages*: domains of `other` are away for an hour now and then.
struct ProviderModel {
  struct Traits {
    /// Trust in an IP that nobody knows, and in one that everybody knows.
    var firstTrust: Double
    var fullTrust: Double
    /// Complaints come back to the sender (a feedback loop); without, they harm and nobody is told.
    var echoesComplaints: Bool

    static func of(_ provider: MailboxProvider) -> Traits {
      switch provider {
      case .gmail: Traits(firstTrust: 250, fullTrust: 200_000, echoesComplaints: false)
      case .microsoft: Traits(firstTrust: 150, fullTrust: 80_000, echoesComplaints: true)
      case .yahoo: Traits(firstTrust: 150, fullTrust: 60_000, echoesComplaints: true)
      case .apple: Traits(firstTrust: 100, fullTrust: 40_000, echoesComplaints: false)
      default: Traits(firstTrust: 60, fullTrust: 20_000, echoesComplaints: true)
      }
    }
  }

  enum Answer {
    case delivered
    case refused(ProviderReply)
    case unreachable
  }

  /// What one destination thinks of one IP.
  private struct Standing {
    var trust: Double
    var reputation = 0.8
    var tokens: Double
    var refilledAt: Milliseconds
    var blockedUntil: Milliseconds = 0
    var volume = 0
    var unknown = 0
    var complaints = 0

    var rate: Double { ProviderModel.rate(trust) }
  }

  private static let growth = 1.4
  private static let greylistTime: Milliseconds = 300_000
  private static let greylistedShare = 0.3
  private static let passesForWhitelist = 5
  private static let outageChance = 0.01
  private static let outageTime: Milliseconds = 3_600_000
  private static let day: Milliseconds = 86_400_000

  /// By destination.
  private let traits: [Traits]
  private let destinations: [Destination]
  private var standings: [Standing]
  private var greylists: [Bool]
  /// By IP × destination, as `standings`.
  private var passes: [Int]
  private var downFrom: [Milliseconds]

  init(ips: [SimulationPlan.Start], destinations: [Destination], now: Milliseconds, random: inout SeededRandom) {
    let traits = destinations.map { Traits.of($0.name) }
    self.traits = traits
    self.destinations = destinations
    standings = ips.flatMap { start in
      traits.map { traits in
        let trust = Self.trust(traits, start)
        return Standing(trust: trust, tokens: Self.rate(trust), refilledAt: now)
      }
    }
    greylists = destinations.map { $0.isShared ? false : random.happens(Self.greylistedShare) }
    passes = ips.flatMap { start in destinations.map { _ in start == .warmed ? Self.passesForWhitelist : 0 } }
    downFrom = destinations.map { _ in -Self.outageTime }
  }

  /// Messages a minute.
  private static func rate(_ trust: Double) -> Double { max(60, trust / 60) }

  private static func trust(_ traits: Traits, _ start: SimulationPlan.Start) -> Double {
    guard case .day(let day) = start else { return traits.fullTrust }
    var trust = traits.firstTrust
    for _ in 1..<max(2, min(day, 60)) { trust *= day > 1 ? 1.35 : 1 }
    return min(trust, traits.fullTrust)
  }

  func echoesComplaints(_ destination: Int) -> Bool { traits[destination].echoesComplaints }

  mutating func answer(_ message: inout SimulatedMessage, ip: Int, now: Milliseconds, random: inout SeededRandom) -> Answer {
    let destination = Int(message.destination)
    let from = downFrom[destination]
    if now >= from, now < from + Self.outageTime { return .unreachable }
    let index = ip * destinations.count + destination
    if standings[index].blockedUntil > now { return .refused(.blocked) }
    if isTooMuch(index, now, &random) { return .refused(.rateLimited) }
    if greylists[destination], passes[index] < Self.passesForWhitelist {
      if message.greyUntil == 0 { message.greyUntil = now + Self.greylistTime }
      if now < message.greyUntil { return .refused(.greylisted) }
    }
    standings[index].volume += 1
    if message.isUnknown {
      standings[index].unknown += 1
      return .refused(.unknownUser)
    }
    if message.isFull {
      message.isFull = !random.happens(0.1)
      return .refused(.mailboxFull)
    }
    passes[index] += 1
    return .delivered
  }

  private mutating func isTooMuch(_ index: Int, _ now: Milliseconds, _ random: inout SeededRandom) -> Bool {
    let rate = standings[index].rate
    let refill = Double(now - standings[index].refilledAt) / 60_000 * rate
    standings[index].tokens = min(rate, standings[index].tokens + refill)
    standings[index].refilledAt = now
    if standings[index].tokens < 1, random.happens(0.6) { return true }
    standings[index].tokens = max(0, standings[index].tokens - 1)
    let excess = Double(standings[index].volume) / standings[index].trust - 1
    return excess > 0 && random.happens(min(0.9, 0.1 + excess / 2))
  }

  mutating func complained(ip: Int, destination: Int) { standings[ip * destinations.count + destination].complaints += 1 }

  /// At midnight.
  mutating func endDay(now: Milliseconds, random: inout SeededRandom) {
    for index in standings.indices { judge(index, now) }
    for index in downFrom.indices where !destinations[index].isShared {
      downFrom[index] = random.happens(Self.outageChance) ? now + random.between(0, Self.day) : -Self.outageTime
    }
  }

  private mutating func judge(_ index: Int, _ now: Milliseconds) {
    var standing = standings[index]
    defer {
      standing.volume = 0
      standing.unknown = 0
      standing.complaints = 0
      standings[index] = standing
    }
    guard standing.volume > 0 else { return }
    let volume = Double(standing.volume)
    let harm = Double(standing.complaints) / volume / 0.004 + max(0, Double(standing.unknown) / volume - 0.03) / 0.15
    // A handful of messages says little, good or bad.
    standing.reputation += 0.3 * min(1, volume / 500) * (max(0, 1 - harm) - standing.reputation)
    let full = traits[index % destinations.count].fullTrust
    if standing.reputation > 0.6 {
      standing.trust = min(full, max(standing.trust, min(standing.trust * Self.growth, volume * 3)))
    } else if standing.reputation < 0.4 {
      standing.trust *= 0.7
    }
    if standing.reputation < 0.2 {
      standing.blockedUntil = now + Self.day
      standing.reputation = 0.35
    }
  }
}
