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

  func shard(of count: Int) -> Int { Int(UInt(bitPattern: digest) % UInt(count)) }
}

extension LaneID {
  init?(_ text: String) {
    guard let slash = text.firstIndex(of: "/") else { return nil }
    self.init(ip: String(text[..<slash]), key: String(text[text.index(after: slash)...]))
  }
}

/// What a lane lives by: its throttle, its window, and the ring of organisations with open groups in it. A reference, owned by
/// the index alone: each pick looks at its lane many times.
final class Lane {
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
  private(set) var isReady = false
  var timerAt: Milliseconds?
  /// Named among those that may be forgotten.
  var isResting = false
  private var ring = BinaryHeap<Turn>()
  private var inRing: Set<String> = []
  /// Of the ring, those that count on this lane: when it shuts, they are to wait in another too.
  private var unspread: Set<String> = []
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

  /// What it has given out, or was told, holds for a new lane too until then.
  var remembersUntil: Milliseconds { max(throttle.nextPermitAt, blockedUntil) }

  func adopt(_ rate: AdaptiveRate, now: Milliseconds) {
    throttle.setRate(rate.ratePerMinute, now: now)
    blockedUntil = rate.blockedUntil
    blockedSince = rate.blockedSince
  }

  var hasTurns: Bool { !ring.isEmpty }

  /// Something is out, waits, or is to be looked at.
  var isBusy: Bool { out > 0 || hasTurns || isReady }

  /// An organisation has an open group here; its place is by when it was served last, never = first.
  /// - Parameter isSpread: it waits in other lanes too, so that this one may shut.
  func enter(_ organisation: String, isSpread: Bool) {
    if !isSpread { unspread.insert(organisation) }
    guard inRing.insert(organisation).inserted else { return }
    ring.push(Turn(served: served[organisation] ?? 0, organisation: organisation))
  }

  enum Entrance { case wasReady, woke, waits }

  /// ``enter(_:isSpread:)``, and is to be looked at, unless it has turns already and waits for a gate.
  func enterAndWake(_ organisation: String) -> Entrance {
    let waits = !isReady && hasTurns
    enter(organisation, isSpread: waits)
    guard !waits else { return .waits }
    return wake() ? .woke : .wasReady
  }

  /// - Returns: false when it was to be looked at already.
  func wake() -> Bool {
    guard !isReady else { return false }
    isReady = true
    return true
  }

  func beginLook() { isReady = false }

  /// - Returns: false when it is busy, or named already.
  func noteRest() -> Bool {
    guard !isBusy, !isResting else { return false }
    isResting = true
    return true
  }

  /// Those that counted on this lane; from now on they do not.
  func takeUnspread() -> Set<String> {
    defer { unspread = [] }
    return unspread
  }

  /// Whoever was served longest ago; leaves the ring until it ``enter(_:isSpread:)``s again.
  func nextTurn() -> String? {
    guard let turn = ring.pop() else { return nil }
    inRing.remove(turn.organisation)
    unspread.remove(turn.organisation)
    return turn.organisation
  }

  struct Permits {
    var count: Int
    var first: Milliseconds
    var step: Double
    /// Of the permit after these.
    var nextAt: Milliseconds
    /// ``Lane/sessions``.
    var sessions: Int?
  }

  /// Spends permits for an organisation that had its turn. Alone in the ring: all that it may have. Else one, and the next has
  /// its turn.
  /// - Parameter most: what the IP as a whole may send.
  func take(_ organisation: String, available: Int, most: Int, now: Milliseconds) -> Permits {
    let wanted = hasTurns || most == 1 ? 1 : min(room, available, most)
    let count = max(1, throttle.available(wanted: wanted, now: now))
    let (first, step) = throttle.take(count, now: now)
    out += count
    throttledSince = now
    if room <= 0 { fullSince = now }
    noteServed(organisation)
    return Permits(count: count, first: first, step: step, nextAt: throttle.nextPermitAt, sessions: sessions)
  }

  /// Entries that are no longer out.
  /// - Returns: whether mail waits here.
  func release(_ count: Int) -> Bool {
    out = max(0, out - count)
    return hasTurns
  }

  private func noteServed(_ organisation: String) {
    clock += 1
    served[organisation] = clock
    // Whoever was served long ago and is forgotten counts as never served: at most one turn too early.
    if served.count > 4096 { served = served.filter { clock - $0.value < 2048 } }
  }
}
