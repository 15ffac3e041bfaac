import Foundation
import MTAConfig
import MailFormat
import MailModel
import Observability
import Redis

/// Brings an upstream installation's settings into ours: what is ours already stays as it is.
struct UpstreamImport: Sendable {
  struct Report: Encodable, Sendable {
    struct Kind: Encodable, Sendable {
      var kind: String
      var found: Int
      var imported: Int
      /// Ours already, or of no use here.
      var skipped: Int
      /// What could not be understood or used, each with why.
      var faults: [String]
    }

    var applied: Bool
    var kinds: [Kind]
  }

  let source: UpstreamRedis
  let store: QueueStore
  let config: MTAConfig
  /// Our own seal.
  let box: SecretBox
  /// Upstream's: under its `MTA_SECRET`, which may be our secret too.
  let upstreamBox: UpstreamBox
  /// False: only looks.
  let applies: Bool
  /// (address, day): puts an IP on a day of the schedule.
  let setWarming: @Sendable (String, Int) throws -> Void

  func run() async throws -> Report {
    let now = SystemClock.now()
    return Report(
      applied: applies,
      kinds: [try await keys(), try await suppressions(now), try await credentials(now), try await poolRules(), try await warming()])
  }

  private func keys() async throws -> Report.Kind {
    let found = try await source.keys()
    var kind = Report.Kind(kind: "dkim", found: found.rows.count + found.faults.count, imported: 0, skipped: 0, faults: found.faults)
    let keys = KeyStore(store: store, box: box)
    for key in found.rows {
      guard let domain = DomainName.ascii(key.domain), DomainName.isMailDomain(domain) else {
        kind.faults.append("\(key.domain) is no domain name")
        continue
      }
      guard try await keys.row(domain) == nil else {
        kind.skipped += 1
        continue
      }
      guard let pem = key.privateKey.contains("PRIVATE KEY") ? key.privateKey : upstreamBox.open(key.privateKey) else {
        kind.faults.append(
          "the key of \(domain) is sealed with another secret: give upstream's MTA_SECRET with --secret-file, or the key with "
            + "`dkim add \(domain) --key FILE`")
        continue
      }
      do {
        _ = try DKIMKey(domain: domain, selector: key.selector, pem: pem)
        if applies {
          try await keys.set(domain: domain, selector: key.selector, pem: pem)
          if let host = key.returnPathHost, DomainName.isMailDomain(host) {
            _ = try await keys.register(domain: domain, returnPathHost: .some(host.lowercased()))
          }
        }
        kind.imported += 1
      } catch let error as RenderError { kind.faults.append("the key of \(domain) is not usable: \(error)") }
    }
    return kind
  }

  private func suppressions(_ now: Milliseconds) async throws -> Report.Kind {
    let found = try await source.suppressions(now: now)
    var kind = Report.Kind(
      kind: "suppression", found: found.rows.count + found.faults.count, imported: 0, skipped: 0, faults: found.faults)
    let list = Suppressions(store: store)
    var fresh: [Suppressions.Entry] = []
    for entry in found.rows {
      let isOver = entry.expiresAt.map { $0 <= now } ?? false
      let known = try await list.find(entry.email, organisation: nil, now: now)
      if isOver || known != nil {
        kind.skipped += 1
      } else {
        fresh.append(entry)
      }
    }
    if applies { try await list.add(fresh, scope: Suppressions.everybody) }
    kind.imported = fresh.count
    return kind
  }

  private func credentials(_ now: Milliseconds) async throws -> Report.Kind {
    let found = try await source.credentials(now: now)
    var kind = Report.Kind(
      kind: "credentials", found: found.rows.count + found.faults.count, imported: 0, skipped: 0, faults: found.faults)
    let hash = RedisHash(client: store.client, key: store.keys.credentials)
    for (key, row) in found.rows {
      guard Credentials.isWellFormed(key) else {
        kind.faults.append("a key of \(row.organizationId) is not of the form owlat_ and 32 digits")
        continue
      }
      let text = String(decoding: try JSONEncoder().encode(row), as: UTF8.self)
      let isNew =
        applies ? try await hash.setIfAbsent(Credentials.id(key), text) : try await hash.get(Credentials.id(key)) == nil
      if isNew { kind.imported += 1 } else { kind.skipped += 1 }
    }
    return kind
  }

  private func poolRules() async throws -> Report.Kind {
    let found = try await source.poolRules()
    var kind = Report.Kind(kind: "poolRules", found: found.rows.count + found.faults.count, imported: 0, skipped: 0, faults: found.faults)
    let rules = PoolRules(store: store)
    let pools = Set(config.pools.map(\.name))
    let ips = Set(config.sourceIPs.flatMap { [$0.address, $0.publicAddress] })
    for rule in found.rows {
      if let pool = rule.pool, !pools.contains(pool) {
        kind.faults.append("a rule of \(rule.organizationId) names the pool \(pool), which the configuration has not")
      } else if let ip = rule.dedicatedIp, !ips.contains(IPAddress.canonical(ip) ?? ip) {
        kind.faults.append("a rule of \(rule.organizationId) names \(ip), which the configuration has not")
      } else if try await rules.rules(rule.organizationId).contains(where: {
        $0.fromDomain == rule.fromDomain && $0.toDomain == rule.toDomain
      }) {
        kind.skipped += 1
      } else {
        if applies { try await rules.set(rule) }
        kind.imported += 1
      }
    }
    return kind
  }

  private func warming() async throws -> Report.Kind {
    let found = try await source.warming()
    var kind = Report.Kind(kind: "warming", found: found.rows.count + found.faults.count, imported: 0, skipped: 0, faults: found.faults)
    for row in found.rows {
      // Upstream knows an IP by its public address.
      guard let ip = config.sourceIPs.first(where: { $0.address == row.ip || $0.publicAddress == row.ip }) else {
        kind.faults.append("\(row.ip) is not in the configuration")
        continue
      }
      guard !ip.isWarmed else {
        kind.skipped += 1
        continue
      }
      do {
        // From day 30 on an IP is graduated.
        if applies { try setWarming(ip.address, row.isGraduated ? 30 : min(row.day, 29)) }
        kind.imported += 1
      } catch let fault as CommandFault { kind.faults.append("\(ip.address): \(fault.text)") }
    }
    return kind
  }
}
