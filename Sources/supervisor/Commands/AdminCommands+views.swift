import ControlProtocol
import Foundation
import MTAConfig
import MailModel
import Observability
import Redis

/// What operators look at: the live table, the state of the whole, the queues.
extension AdminCommands {
  // MARK: top

  struct Top: Encodable, Sendable {
    struct IP: Encodable, Sendable {
      var address: String
      var state: String
      var delivered: Int
      var deferred: Int
      var bounced: Int
      var transactions: Int
      var connections: Int
    }

    struct LaneRow: Encodable, Sendable {
      var lane: String
      var out: Int
      var window: Int
      var ratePerMinute: Double
      var gate: String?
      var until: String?
    }

    var at: String
    var queued: Int
    var out: Int
    var ips: [IP]
    var lanes: [LaneRow]
  }

  func top() async -> Top {
    let figures = await dispatcher.figures()
    let ips = await fleet.statuses().map { row in
      Top.IP(
        address: row.address, state: row.state.rawValue, delivered: row.status.delivered, deferred: row.status.deferred,
        bounced: row.status.bounced, transactions: row.status.transactions, connections: row.status.connections)
    }
    let lanes = await dispatcher.busyLanes(limit: 50).map { row in
      Top.LaneRow(
        lane: row.id.description, out: row.out, window: row.window, ratePerMinute: row.ratePerMinute, gate: row.gate?.reason.rawValue,
        until: row.gate?.until.map(Timestamp.rfc3339))
    }
    return Top(at: Timestamp.rfc3339(SystemClock.now()), queued: figures.queued, out: figures.out, ips: ips, lanes: lanes)
  }

  struct Status: Codable, Sendable {
    var version: String
    var host: String
    var pid: Int32
    var uptimeSeconds: Int64
    var redis: String
    var queued: Int
    var groups: Int
    var dispatched: Int
    var accepted: Int
    var webhooksPending: Int
    var webhooksDead: Int
    var ips: [String: Int]
    var sandbox: Bool
  }

  func status() async throws -> Status {
    let figures = await dispatcher.figures()
    let counts = try await outbox.counts()
    var states: [String: Int] = [:]
    for row in await fleet.list() { states[row.state.rawValue, default: 0] += 1 }
    return Status(
      version: APIServer.version, host: host, pid: ProcessInfo.processInfo.processIdentifier,
      uptimeSeconds: (SystemClock.now() - startedAt) / 1000,
      redis: store.client.session != nil ? "connected" : "disconnected: \(store.client.lastFault ?? "starting")",
      queued: (try? await store.liveCount()) ?? figures.queued, groups: figures.groups, dispatched: figures.dispatched,
      accepted: await send.intake.accepted, webhooksPending: counts.pending, webhooksDead: counts.dead, ips: states,
      sandbox: config.smtp.sandbox)
  }

  struct QueueRow: Encodable, Sendable {
    var domain: String
    var pool: String
    var organization: String
    var messages: Int
    var oldest: String
    var gates: [Explanation.Shut]
  }

  /// The largest parts first. Reads the directory: for an operator, not for the dispatcher.
  func queueRows(limit: Int) async throws -> [QueueRow] {
    var heads: [QueueHead] = []
    try await store.readDirectory { heads += $0 }
    heads.sort { $0.count > $1.count }
    var rows: [QueueRow] = []
    for head in heads.prefix(max(1, limit)) {
      // A score is acceptance and the hours of its band: the time itself is in the record.
      let next = try await store.peek(try await store.queued(head.part, from: 0, limit: 1)).first
      rows.append(
        QueueRow(
          domain: head.part.group.domain, pool: head.part.group.set, organization: head.part.organisation, messages: head.count,
          oldest: Timestamp.rfc3339(next?.record.acceptedAt ?? head.score),
          gates: await dispatcher.gates(of: head.part).map(Explanation.Shut.init)))
    }
    return rows
  }
}
