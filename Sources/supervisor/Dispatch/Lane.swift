import DeliveryPolicy
import MailModel

/// IP × provider, or for provider `other` IP × recipient domain.
struct LaneID: Hashable, Sendable, CustomStringConvertible {
  let ip: String
  /// ``ProviderTable/laneKey(_:domain:)``.
  let key: String
  /// Of both texts, made once: lanes are looked up far more often than they are named.
  private let digest: Int

  init(ip: String, key: String) {
    self.ip = ip
    self.key = key
    digest = ip.hashValue &* 31 &+ key.hashValue
  }

  static func == (a: Self, b: Self) -> Bool { a.digest == b.digest && a.key == b.key && a.ip == b.ip }

  func hash(into hasher: inout Hasher) { hasher.combine(digest) }

  var description: String { "\(ip)/\(key)" }
}

extension LaneID {
  init?(_ text: String) {
    guard let slash = text.firstIndex(of: "/") else { return nil }
    self.init(ip: String(text[..<slash]), key: String(text[text.index(after: slash)...]))
  }
}

/// What a lane lives by: its throttle, its window, and the ring of organisations with open groups in it.
struct Lane {
  struct Turn: Comparable {
    /// 0 = never served.
    let served: UInt64
    let organisation: String

    static func < (a: Self, b: Self) -> Bool { (a.served, a.organisation) < (b.served, b.organisation) }
  }

  let provider: MailboxProvider
  var throttle: LaneThrottle
  var window: Int
  /// Sessions that it may have of a limit that all IPs share; nil = there is none.
  var sessions: Int?
  /// Entries out at the worker.
  var out = 0
  var fullSince: Milliseconds = 0
  /// The provider wants nothing from this IP before; 0 = it does.
  var blockedUntil: Milliseconds = 0
  var blockedSince: Milliseconds = 0
  var throttledSince: Milliseconds = 0
  /// Queued to be looked at, or waiting for its timer.
  var isReady = false
  var timerAt: Milliseconds?
  private var ring = BinaryHeap<Turn>()
  private var inRing: Set<String> = []
  private var served: [String: UInt64] = [:]
  private var clock: UInt64 = 0

  /// - Parameter rate: what was learnt of it; nil = nothing.
  init(provider: MailboxProvider, profile: ProviderProfile, rate: AdaptiveRate?, nextPermitAt: Milliseconds) {
    self.provider = provider
    throttle = LaneThrottle(ratePerMinute: rate?.ratePerMinute ?? profile.defaultRate, nextPermitAt: nextPermitAt)
    window = profile.window
    blockedUntil = rate?.blockedUntil ?? 0
    blockedSince = rate?.blockedSince ?? 0
  }

  /// Entries that may be out at once.
  var breadth: Int { sessions.map { min(window, 2 * $0) } ?? window }
  /// Permits that the worker has room for.
  var room: Int { breadth - out }

  /// When a permit may be asked for.
  var opensAt: Milliseconds { max(throttle.opensAt, blockedUntil) }

  mutating func adopt(_ rate: AdaptiveRate, now: Milliseconds) {
    throttle.setRate(rate.ratePerMinute, now: now)
    blockedUntil = rate.blockedUntil
    blockedSince = rate.blockedSince
  }

  var hasTurns: Bool { !ring.isEmpty }

  /// An organisation has an open group here; its place is by when it was served last, never = first.
  mutating func enter(_ organisation: String) {
    guard inRing.insert(organisation).inserted else { return }
    ring.push(Turn(served: served[organisation] ?? 0, organisation: organisation))
  }

  /// ``enter(_:)``, and is to be looked at.
  /// - Returns: whether it was not already.
  mutating func enterAndWake(_ organisation: String) -> Bool {
    enter(organisation)
    guard !isReady else { return false }
    isReady = true
    return true
  }

  /// Whoever was served longest ago; leaves the ring until it ``enter(_:)``s again.
  mutating func nextTurn() -> String? {
    guard let turn = ring.pop() else { return nil }
    inRing.remove(turn.organisation)
    return turn.organisation
  }

  mutating func noteServed(_ organisation: String) {
    clock += 1
    served[organisation] = clock
    // Whoever was served long ago and is forgotten counts as never served: at most one turn too early.
    if served.count > 4096 { served = served.filter { clock - $0.value < 2048 } }
  }
}
