import Foundation
import MTAConfig
import MailModel
import Observability
import Redis

/// `GET /health` in upstream's shape (contract section 1.5), from what is measured; what this version does not measure says
/// so in upstream's own words.
struct HealthReport: Sendable {
  let config: ConfigInForce
  let host: String
  let startedAt: Milliseconds
  let store: QueueStore
  let fleet: Fleet
  let lastOutcomeTurn: @Sendable () async -> Int64
  let dnsWorks: @Sendable () async -> Bool?
  let reach: OutboundReach
  /// What the world thinks of one IP.
  struct Standing: Sendable {
    /// Members of its row.
    var members: [(String, JSONObject.Value)]
    /// False when its PTR, forward match or EHLO name is known to be wrong and that counts.
    var isIdentified: Bool
  }

  let standing: @Sendable () async -> [String: Standing]

  func json() async -> String {
    let now = SystemClock.now()
    let isConnected = store.client.session != nil
    let rows = await fleet.list()
    let standing = await standing()
    let alive = rows.filter { $0.state == .active || $0.state == .warming || $0.state == .probation }
    let turn = await lastOutcomeTurn()
    let silence = max(0, (SystemClock.monotonic() - turn) / 1000)
    let dns = await dnsWorks()
    let isWorkerAlive = silence < 120 && !alive.isEmpty
    // An IP without a good identity degrades the whole, as upstream's clients expect.
    let isIdentified = standing.values.allSatisfy { $0.isIdentified }
    let outbound = outbound(rows, now)
    let isOK = outbound.isOK && isConnected && isWorkerAlive && dns != false && isIdentified
    let object = JSONObject([
      ("status", .text(isOK ? "ok" : "degraded")),
      ("uptime", .number((now - startedAt) / 1000)),
      ("redis", .text(isConnected ? "connected" : "disconnected")),
      ("serverId", .text(host)),
      ("ips", .raw("[" + rows.map { row($0, standing[$0.address]?.members ?? []) }.joined(separator: ",") + "]")),
      ("emergency", .raw(JSONObject([("allIpsBlocked", .bool(alive.isEmpty))]).string)),
      (
        "worker",
        .raw(
          JSONObject([
            ("alive", .bool(isWorkerAlive)), ("lastHeartbeat", .number(now - silence * 1000)), ("secondsSinceHeartbeat", .number(silence)),
          ]).string)
      ),
      ("dns", .text(dns == false ? "unreachable" : "ok")),
      ("smtpOutbound", .raw(outbound.json)),
      (
        "smtpTls",
        .raw(
          JSONObject([
            ("status", .text("fail")), ("hostname", .text(config.hostname)), ("isHostnameMatched", .bool(false)),
            ("reason", .text("certificate-not-configured")), ("checkedAt", .number(now)),
          ]).string)
      ),
    ])
    return object.string
  }

  private func row(_ ip: Fleet.Row, _ standing: [(String, JSONObject.Value)]) -> String {
    let isActive = ip.state == .active || ip.state == .warming || ip.state == .probation
    var object = JSONObject([("ip", .text(ip.address)), ("pool", .text(ip.pool)), ("active", .bool(isActive))])
    object.fields += standing
    object.fields += [("state", .text(ip.state.rawValue)), ("reason", .raw(ip.reason.map(JSONText.quoted) ?? "null"))]
    return object.string
  }

  /// By what each IP's latest attempts came to; where there are none, an address that its worker could bind counts.
  private func outbound(_ rows: [Fleet.Row], _ now: Milliseconds) -> (isOK: Bool, json: String) {
    var checkedAt: Milliseconds = 0
    var working = 0
    let ips = rows.map { ip in
      let seen = ip.pid == nil ? nil : reach.row(ip.address, now: now)
      let works = seen?.works ?? (ip.pid != nil)
      if works { working += 1 }
      checkedAt = max(checkedAt, seen?.at ?? 0)
      var fields: [(String, JSONObject.Value)] = [
        ("ip", .text(ip.address)), ("status", .text(works ? "ok" : "failed")), ("connectMs", .number(0)),
      ]
      if !works { fields.append(("reason", .text(seen?.reason ?? "source_ip_unavailable"))) }
      return JSONObject(fields).string
    }
    let json = JSONObject([
      ("status", .text(working > 0 ? "ok" : "degraded")), ("checkedAt", .number(checkedAt > 0 ? checkedAt : now)),
      ("targetDomain", .text(config.hostname)), ("mxResolutionMs", .number(0)), ("ips", .raw("[" + ips.joined(separator: ",") + "]")),
    ]).string
    return (working > 0, json)
  }
}
