import MailModel
import Redis

/// Sessions of one lane key that all IPs together may have open: this host's part of them, which Redis grants, shared out
/// among its lanes. A lane without a part gets no permit; one that has had its part for long gives it up when others wait.
struct SessionShares {
  /// How long a lane keeps its part while others wait.
  static let turn: Milliseconds = 5000
  /// How long a part that nobody uses or asks for is kept.
  static let rest: Milliseconds = 1000
  /// How long a refused wish rests: what another host gives up tells nobody.
  static let patience: Milliseconds = 500
  /// Redis forgets a host that says nothing for so long, and is told again at that interval.
  static let lease: Milliseconds = 30_000
  static let renewal: Milliseconds = 5000

  private struct Part {
    var count: Int
    var since: Milliseconds
    var idleSince: Milliseconds?
    /// Gets no permit any more; given up when nothing of it is out.
    var isYielding = false
    /// Its lane has mail again: it asks for another part once this one is given up.
    var asksAgain = false
  }

  private struct Share {
    var limit: Int
    var parts: [LaneID: Part] = [:]
    /// Lanes with mail and without a part, first come first.
    var waiting: [LaneID] = []
    var waitingSince: [LaneID: Milliseconds] = [:]
    /// Lanes that could use one session more.
    var growing: [LaneID] = []
    /// How many lanes asked and got nothing.
    var refused = 0
    /// What other hosts ask for and have not got.
    var wantedElsewhere = 0
    /// What of this is not known to Redis yet.
    var isChanged = false
    var toldAt: Milliseconds = 0

    var held: Int { parts.values.reduce(0) { $0 + $1.count } }
  }

  private var shares: [String: Share] = [:]

  var isEmpty: Bool { shares.isEmpty }

  /// Sessions that a lane may have now.
  func granted(_ id: LaneID) -> Int {
    guard let part = shares[id.key]?.parts[id], !part.isYielding else { return 0 }
    return part.count
  }

  func waitingSince(_ id: LaneID) -> Milliseconds? { shares[id.key]?.waitingSince[id] }

  /// A lane with mail has no part, or could use more than it has.
  mutating func want(_ id: LaneID, limit: Int, now: Milliseconds) {
    var share = shares[id.key] ?? Share(limit: limit)
    share.limit = limit
    if let part = share.parts[id] {
      if part.isYielding {
        share.parts[id]?.asksAgain = true
      } else if !share.growing.contains(id) {
        share.growing.append(id)
      }
    } else if share.waitingSince[id] == nil {
      share.waitingSince[id] = now
      share.waiting.append(id)
      share.isChanged = true
    }
    shares[id.key] = share
  }

  /// Sessions that were open before there was a limit: counted, and given up as they end.
  mutating func adopt(_ id: LaneID, sessions: Int, limit: Int, now: Milliseconds) {
    guard shares[id.key]?.parts[id] == nil else { return }
    shares[id.key, default: Share(limit: limit)].parts[id] = Part(count: sessions, since: now, isYielding: true)
    shares[id.key]?.isChanged = true
  }

  /// Another limit; 0 = none any more.
  mutating func setLimit(_ limit: Int, of key: String) {
    if limit == 0 { shares[key] = nil } else { shares[key]?.limit = limit }
  }

  /// Another run of Redis: all is told again.
  mutating func tellAgain() { for key in shares.keys { shares[key]?.isChanged = true } }

  /// What Redis is to be told and asked now.
  /// - Parameters:
  ///   - out: messages of a lane that are out at its worker; a lane without any has no session open.
  ///   - hasMail: false for a lane that waits and has nothing left to send.
  ///   - most: sessions that one lane may have.
  ///   - lost: filled with lanes that must get no permit from now on: their part is given up, or is to be.
  mutating func claims(
    now: Milliseconds, out: (LaneID) -> Int, hasMail: (LaneID) -> Bool, most: (LaneID) -> Int, lost: inout [LaneID]
  ) -> [SessionClaim] {
    var claims: [SessionClaim] = []
    for key in shares.keys.sorted() {
      guard var share = shares[key] else { continue }
      for id in share.waiting where !hasMail(id) {
        share.waitingSince[id] = nil
        share.isChanged = true
      }
      share.waiting.removeAll { share.waitingSince[$0] == nil }
      lost += giveUp(&share, now, out, hasMail)
      lost += chooseYielding(&share, now)
      share.growing.removeAll { (share.parts[$0]?.count ?? .max) >= most($0) || share.parts[$0]?.isYielding != false }
      let wanted = share.waiting.isEmpty ? min(share.growing.count, 1) : share.waiting.count
      let isDue = share.isChanged || now - share.toldAt >= (wanted > 0 ? Self.patience : Self.renewal)
      if isDue { claims.append(SessionClaim(key: key, limit: share.limit, held: share.held, wanted: wanted)) }
      shares[key] = share
    }
    return claims
  }

  /// Parts of which nothing is out, once they are to be given up or have rested.
  private func giveUp(
    _ share: inout Share, _ now: Milliseconds, _ out: (LaneID) -> Int, _ hasMail: (LaneID) -> Bool
  ) -> [LaneID] {
    var lost: [LaneID] = []
    for (id, part) in share.parts.sorted(by: { $0.key.ip < $1.key.ip }) {
      guard out(id) == 0 else {
        share.parts[id]?.idleSince = nil
        continue
      }
      let idleSince = part.idleSince ?? now
      share.parts[id]?.idleSince = idleSince
      let isWanted = !share.waiting.isEmpty || share.wantedElsewhere > 0
      guard part.isYielding || now - idleSince >= (isWanted ? 50 : Self.rest) else { continue }
      share.parts[id] = nil
      share.isChanged = true
      lost.append(id)
      guard part.asksAgain, hasMail(id) else { continue }
      share.waitingSince[id] = now
      share.waiting.append(id)
    }
    return lost
  }

  /// As many as wait, whoever has had its part longest first; whatever is above the limit at once.
  private func chooseYielding(_ share: inout Share, _ now: Milliseconds) -> [LaneID] {
    var chosen: [LaneID] = []
    let leaving = share.parts.values.reduce(0) { $0 + ($1.isYielding ? $1.count : 0) }
    var excess = share.held - leaving - share.limit
    var asked = min(share.refused, share.waiting.count) + share.wantedElsewhere - leaving
    for (id, part) in share.parts.sorted(by: { ($0.value.since, $0.key.ip) < ($1.value.since, $1.key.ip) }) where !part.isYielding {
      guard excess > 0 || asked > 0 && now - part.since >= Self.turn else { continue }
      share.parts[id]?.isYielding = true
      chosen.append(id)
      excess -= part.count
      asked -= part.count
    }
    return chosen
  }

  /// What Redis answered to a claim.
  /// - Returns: lanes that have a session more now.
  mutating func grant(_ claim: SessionClaim, _ answer: SessionGrant, now: Milliseconds) -> [LaneID] {
    guard var share = shares[claim.key] else { return [] }
    share.isChanged = false
    share.toldAt = now
    share.wantedElsewhere = answer.wantedElsewhere
    var lanes: [LaneID] = []
    for _ in 0..<answer.granted {
      if !share.waiting.isEmpty {
        let id = share.waiting.removeFirst()
        share.waitingSince[id] = nil
        share.parts[id] = Part(count: 1, since: now)
        lanes.append(id)
      } else if !share.growing.isEmpty {
        let id = share.growing.removeFirst()
        share.parts[id]?.count += 1
        lanes.append(id)
      } else {
        // Nobody is left to take it.
        share.isChanged = true
      }
    }
    share.refused = share.waiting.count
    let isOver = share.parts.isEmpty && share.waiting.isEmpty
    shares[claim.key] = isOver && !share.isChanged ? nil : share
    return lanes
  }
}
