import DeliveryPolicy
import MailModel
import Redis

/// Lanes and the sessions that all IPs share.
extension LaneIndex {
  /// A lane that has mail has no session, or too few.
  mutating func wantSessions(_ id: LaneID, now: Milliseconds) {
    guard let lane = lanes[id], lane.sessions != nil else { return }
    sessions.want(id, limit: providers[lane.provider].maxConnectionsTotal, now: now)
  }

  /// What Redis is to be told and asked now; empty where no provider has such a limit.
  mutating func sessionClaims(now: Milliseconds) -> [SessionClaim] {
    guard !sessions.isEmpty else { return [] }
    var shares = sessions
    var lost: [LaneID] = []
    let claims = shares.claims(
      now: now, out: { lanes[$0]?.out ?? 0 }, hasMail: { lanes[$0]?.hasTurns ?? false },
      most: { id in lanes[id].map { providers[$0.provider].maxConnections } ?? 0 }, lost: &lost)
    sessions = shares
    for id in lost { lanes[id]?.sessions = 0 }
    return claims
  }

  mutating func grant(_ claim: SessionClaim, _ answer: SessionGrant, now: Milliseconds) {
    for id in sessions.grant(claim, answer, now: now) {
      lanes[id]?.sessions = sessions.granted(id)
      wake(id)
    }
  }

  /// A profile's limit is another now: sessions that are open without a part of it are counted and end as their mail does.
  mutating func setSessionLimit(_ limit: Int, of id: LaneID, now: Milliseconds) {
    sessions.setLimit(limit, of: id.key)
    guard let lane = lanes[id] else { return }
    if limit > 0, lane.sessions == nil, lane.out > 0 {
      sessions.adopt(id, sessions: min(lane.out, providers[lane.provider].maxConnections), limit: limit, now: now)
    }
    lane.sessions = limit > 0 ? sessions.granted(id) : nil
  }
}
