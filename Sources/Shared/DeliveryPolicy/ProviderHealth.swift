package import MailModel

/// How one mailbox provider answers all IPs together: the window and figures of ``DomainHealth``, one scope wider. Beside
/// deliveries only replies enter that speak of rate, of reputation or of a troubled server: never one recipient's or one
/// message's refusal. Rate and reputation are one IP's matter until a second IP hears of them, and a server's trouble is one
/// domain's until a second domain has it: those narrower scopes have gates of their own.
package struct ProviderHealth: Sendable, Equatable {
  package enum Kind: UInt8, Sendable, Equatable {
    case delivered
    /// 4xx and 5xx about rate or reputation of the IP that spoke.
    case deferredIP, refusedIP
    /// 4xx and 5xx about the provider's own state.
    case deferredServer, refusedServer

    /// Nil for a refusal that says nothing of the provider.
    package init?(_ verdict: ReplyVerdict) {
      if verdict.countsAgainstThrottle {
        self = verdict.isPermanent ? .refusedIP : .deferredIP
      } else if verdict.speaksOfServer {
        self = verdict.isPermanent ? .refusedServer : .deferredServer
      } else {
        return nil
      }
    }

    var isRefusal: Bool { self == .refusedIP || self == .refusedServer }
    var isDeferral: Bool { self == .deferredIP || self == .deferredServer }
    var isOfIP: Bool { self == .deferredIP || self == .refusedIP }
  }

  package enum Status: Sendable {
    case healthy, degraded, blocking
  }

  private struct Entry: Sendable, Equatable {
    var kind: Kind
    /// The IP that it speaks of, or the recipient domain; of a delivery nothing.
    var subject: String
  }

  /// Oldest first.
  private var entries: [Entry] = []
  package private(set) var since: Milliseconds = 0
  package private(set) var until: Milliseconds = 0
  private var isBlocking = false
  private var lastUsedAt: Milliseconds = 0

  package init() {}

  package mutating func note(_ kind: Kind, ip: String, domain: String, now: Milliseconds) {
    lastUsedAt = now
    if until <= now { until = 0 }
    entries.append(Entry(kind: kind, subject: kind == .delivered ? "" : kind.isOfIP ? ip : domain))
    if entries.count > DomainHealth.window { entries.removeFirst(entries.count - DomainHealth.window) }
    guard kind != .delivered else { return }
    let counted = entriesOfAll
    guard counted.count >= DomainHealth.smallest else { return }
    let refusals = counted.count { $0.kind.isRefusal }
    let deferrals = counted.count { $0.kind.isDeferral }
    if refusals >= DomainHealth.refusalsForBlock, refusals * 100 > counted.count * 70 {
      shut(for: DomainHealth.blockTime, isBlocking: true, now)
    } else if deferrals * 2 > counted.count, counted.suffix(DomainHealth.smallest).allSatisfy({ $0.kind.isDeferral }) {
      shut(for: DomainHealth.degradedTime, isBlocking: false, now)
    }
  }

  /// Deliveries, and troubles that more than one IP or more than one domain has.
  private var entriesOfAll: [Entry] {
    let troubles = entries.filter { $0.kind != .delivered }
    let isOfAllIPs = Set(troubles.lazy.filter(\.kind.isOfIP).map(\.subject)).count > 1
    let isOfAllDomains = Set(troubles.lazy.filter { !$0.kind.isOfIP }.map(\.subject)).count > 1
    return entries.filter { $0.kind == .delivered || ($0.kind.isOfIP ? isOfAllIPs : isOfAllDomains) }
  }

  private mutating func shut(for time: Milliseconds, isBlocking: Bool, _ now: Milliseconds) {
    if until <= now { since = now }
    self.isBlocking = isBlocking || until > now && self.isBlocking
    until = max(until, now + time)
  }

  package func status(now: Milliseconds) -> Status { until <= now ? .healthy : isBlocking ? .blocking : .degraded }

  /// Anything but deliveries in the window, or a time that runs.
  package var hasTrouble: Bool { until > 0 || entries.contains { $0.kind != .delivered } }

  package func isIdle(now: Milliseconds) -> Bool { now - lastUsedAt > DomainHealth.memory }

  // MARK: the stored form

  /// Kinds as digits, each with the place of its subject in the list behind.
  package var text: String {
    var subjects: [String] = []
    let codes = entries.map { entry in
      guard entry.kind != .delivered else { return "\(entry.kind.rawValue)" }
      let place = subjects.firstIndex(of: entry.subject) ?? subjects.count
      if place == subjects.count { subjects.append(entry.subject) }
      return "\(entry.kind.rawValue)\(place)"
    }
    return "p1 \(since) \(until) \(isBlocking ? 1 : 0) \(lastUsedAt) \(Self.joined(codes)) \(Self.joined(subjects))"
  }

  private static func joined(_ words: [String]) -> String { words.isEmpty ? "-" : words.joined(separator: ",") }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "p1"), let since: Milliseconds = reader.integer(),
      let until: Milliseconds = reader.integer(), let isBlocking = reader.integer(Int.self), let used: Milliseconds = reader.integer(),
      let codes = reader.word(), let list = reader.word()
    else { return nil }
    self.since = since
    self.until = until
    self.isBlocking = isBlocking == 1
    lastUsedAt = used
    let subjects = list.split(separator: ",")
    entries = (codes == "-" ? [] : codes.split(separator: ",")).suffix(DomainHealth.window).compactMap { code in
      guard let digit = code.first?.wholeNumberValue, let kind = Kind(rawValue: UInt8(clamping: digit)) else { return nil }
      if kind == .delivered { return Entry(kind: kind, subject: "") }
      guard let place = Int(code.dropFirst()), subjects.indices.contains(place) else { return nil }
      return Entry(kind: kind, subject: String(subjects[place]))
    }
  }
}

extension ReplyVerdict {
  /// The receiving system says that it is in trouble itself: overloaded, broken, out of order.
  package var speaksOfServer: Bool { replyClass == .network && (scope == .domain || scope == .none) }
}
