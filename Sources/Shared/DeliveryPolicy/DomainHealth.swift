package import MailModel

/// How one recipient domain answers (contract section 5, the gates that are not per IP): a window of its last replies, and a
/// back-off after connections that failed. Only what speaks of the domain enters: one full mailbox or one unknown user never
/// slows the others (against upstream's weakness W10).
package struct DomainHealth: Sendable, Equatable {
  package enum Shut: Sendable, Equatable {
    case response, connection
  }

  package static let window = 50
  package static let smallest = 5
  package static let refusalsForBlock = 10
  package static let blockTime: Milliseconds = 300_000
  package static let degradedTime: Milliseconds = 120_000
  package static let firstBackoff: Milliseconds = 30_000
  package static let longestBackoff: Milliseconds = 600_000
  package static let memory: Milliseconds = 7 * 86_400_000

  /// First digits of the last replies, oldest first.
  private var replies: [UInt8] = []
  private var failuresInRow = 0
  package private(set) var connectionSince: Milliseconds = 0
  package private(set) var connectionUntil: Milliseconds = 0
  package private(set) var responseSince: Milliseconds = 0
  package private(set) var responseUntil: Milliseconds = 0
  private var lastUsedAt: Milliseconds = 0

  package init() {}

  /// - Parameter code: 2, 4 or 5. A reply of any kind ends the connection back-off: somebody is there.
  package mutating func replied(_ code: Int, speaksOfDomain: Bool, now: Milliseconds) {
    lastUsedAt = now
    failuresInRow = 0
    connectionUntil = 0
    if responseUntil <= now { responseUntil = 0 }
    guard code == 2 || speaksOfDomain else { return }
    replies.append(UInt8(clamping: code))
    if replies.count > Self.window { replies.removeFirst(replies.count - Self.window) }
    guard code != 2, replies.count >= Self.smallest else { return }
    let refusals = replies.count { $0 == 5 }
    let deferrals = replies.count { $0 == 4 }
    if refusals >= Self.refusalsForBlock, refusals * 100 > replies.count * 70 {
      shutResponse(until: now + Self.blockTime, now)
    } else if deferrals * 2 > replies.count, replies.suffix(Self.smallest).allSatisfy({ $0 == 4 }) {
      shutResponse(until: now + Self.degradedTime, now)
    }
  }

  /// No host of the domain could be spoken to.
  package mutating func connectionFailed(now: Milliseconds) {
    lastUsedAt = now
    // Attempts that were under way together are one failure.
    guard connectionUntil <= now else { return }
    failuresInRow += 1
    let factor = Int64(1) << Int64(min(failuresInRow - 1, 5))
    connectionSince = now
    connectionUntil = now + min(Self.firstBackoff * factor, Self.longestBackoff)
  }

  private mutating func shutResponse(until: Milliseconds, _ now: Milliseconds) {
    if responseUntil <= now { responseSince = now }
    responseUntil = max(responseUntil, until)
  }

  /// What is shut now, and until when; the later of two.
  package func shut(now: Milliseconds) -> (what: Shut, since: Milliseconds, until: Milliseconds)? {
    let latest = max(connectionUntil, responseUntil)
    guard latest > now else { return nil }
    return connectionUntil == latest ? (.connection, connectionSince, latest) : (.response, responseSince, latest)
  }

  /// Anything but deliveries in the window, or a back-off.
  package var hasTrouble: Bool { connectionUntil > 0 || responseUntil > 0 || replies.contains { $0 != 2 } }

  package func isIdle(now: Milliseconds) -> Bool { now - lastUsedAt > Self.memory }

  package var text: String {
    let codes = replies.isEmpty ? "-" : String(decoding: replies.map { $0 + 0x30 }, as: UTF8.self)
    return
      "d1 \(codes) \(failuresInRow) \(connectionSince) \(connectionUntil) \(responseSince) \(responseUntil) \(lastUsedAt)"
  }

  package init?(text: String) {
    guard var reader = StateReader(text, version: "d1"), let codes = reader.word(), let inRow = reader.integer(Int.self),
      let cSince: Milliseconds = reader.integer(), let cUntil: Milliseconds = reader.integer(),
      let rSince: Milliseconds = reader.integer(), let rUntil: Milliseconds = reader.integer(), let used: Milliseconds = reader.integer()
    else { return nil }
    replies = codes == "-" ? [] : codes.utf8.map { $0 &- 0x30 }.suffix(Self.window)
    failuresInRow = inRow
    connectionSince = cSince
    connectionUntil = cUntil
    responseSince = rSince
    responseUntil = rUntil
    lastUsedAt = used
  }
}
