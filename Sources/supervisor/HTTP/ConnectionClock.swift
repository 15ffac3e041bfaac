import NIOCore

/// Whose turn it is on one HTTP/1.1 connection, and since when: a client is given up only for time that it took itself. Time
/// in which the server does not read (it waits for room, for Redis, for the handler) or has nothing to write counts for nobody.
struct ConnectionClock {
  /// Limits of one client, in the API's configuration.
  struct Limits: Sendable {
    /// From the first octet of a request to the end of its header.
    var header: TimeAmount = .seconds(10)
    /// Silence within a body, and of a client that does not take its answer.
    var body: TimeAmount = .seconds(20)
    /// Between requests, and before the first.
    var idle: TimeAmount = .seconds(75)
    /// Octets a second below which a body is too slow in the mean, once ``body`` is used up.
    var leastRate = 4096
  }

  private enum Turn {
    /// No octet of the next request yet.
    case idle(since: NIODeadline)
    case header(since: NIODeadline)
    case body
    /// The request is whole; the server is at work.
    case server
  }

  private let limits: Limits
  private var turn: Turn
  /// Requests whose answer is not written whole.
  private var unanswered = 0
  /// The server waits for octets of a body since then.
  private var waitsSince: NIODeadline?
  private var waited: TimeAmount = .zero
  private var octets = 0
  /// Writes that the client has not taken, and when it last took one.
  private var writes = 0
  private var lastTaken: NIODeadline

  init(_ limits: Limits, now: NIODeadline) {
    self.limits = limits
    turn = .idle(since: now)
    lastTaken = now
  }

  mutating func octetsCame(_ now: NIODeadline) { if case .idle = turn { turn = .header(since: now) } }

  mutating func headCame() {
    turn = .body
    unanswered += 1
    waitsSince = nil
    waited = .zero
    octets = 0
  }

  mutating func bodyCame(_ count: Int, _ now: NIODeadline) {
    if let since = waitsSince { waited = waited + (now - since) }
    waitsSince = nil
    octets += count
  }

  /// It may have been answered before its end.
  mutating func requestEnded(_ now: NIODeadline) { turn = unanswered > 0 ? .server : .idle(since: now) }

  /// The server asks for more.
  mutating func reads(_ now: NIODeadline) { if case .body = turn, waitsSince == nil { waitsSince = now } }

  mutating func writes(_ now: NIODeadline) {
    if writes == 0 { lastTaken = now }
    writes += 1
  }

  mutating func written(_ now: NIODeadline) {
    writes -= 1
    lastTaken = now
  }

  /// The answer is written whole: the next request may come.
  mutating func answerEnded(_ now: NIODeadline) {
    unanswered -= 1
    if unanswered <= 0 { turn = .idle(since: now) }
  }

  /// True when the client has had its time.
  func isOver(_ now: NIODeadline) -> Bool {
    if writes > 0, now - lastTaken > limits.body { return true }
    switch turn {
    case .idle(let since): return writes == 0 && now - since > limits.idle
    case .header(let since): return now - since > limits.header
    case .body:
      guard let since = waitsSince else { return false }
      let silence = now - since
      return silence > limits.body || waited + silence > limits.body + .seconds(Int64(octets / limits.leastRate))
    case .server: return false
    }
  }
}
