import DeliveryPolicy
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
      var imported: Int = 0
      /// Ours already, or of no use here.
      var skipped: Int = 0
      /// What could not be understood or used, each with why.
      var faults: [String]

      init<Row>(_ kind: String, _ found: UpstreamRedis.Found<Row>) {
        self.kind = kind
        self.found = found.rows.count + found.faults.count
        faults = found.faults
      }
    }

    /// What upstream has and no import brings over.
    struct Left: Encodable, Sendable {
      var what: String
      var count: Int
    }

    var applied: Bool
    var kinds: [Kind]
    var left: [Left]
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
  /// IPs on the first day of their warming: the others' is ours already.
  let fresh: Set<String>
  let setWarming: @Sendable (String, WarmingHandover) throws -> Void

  func run() async throws -> Report {
    let now = SystemClock.now()
    return Report(
      applied: applies,
      kinds: [try await keys(), try await suppressions(now), try await credentials(now), try await poolRules(), try await warming(now)],
      left: try await source.left())
  }

  private func keys() async throws -> Report.Kind {
    let found = try await source.keys()
    var kind = Report.Kind("dkim", found)
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
      let host = key.returnPathHost.map { $0.lowercased() }.flatMap { DomainName.isMailDomain($0) ? $0 : nil }
      if let written = key.returnPathHost, host == nil {
        kind.faults.append("the returnPathHost of \(domain) is no host name and is left out: \(written)")
      }
      guard let pem = key.privateKey.contains("PRIVATE KEY") ? key.privateKey : upstreamBox.open(key.privateKey) else {
        let owner = key.organisation.map { " --org \($0)" } ?? ""
        kind.faults.append(
          "the key of \(domain) is sealed with another secret: give upstream's MTA_SECRET with --secret-file, or the key with "
            + "`dkim add \(domain) --selector \(key.selector) --key FILE\(owner)`"
            + (host.map { ", and its returnPathHost \($0) with POST /dkim/\(domain)/register" } ?? ""))
        continue
      }
      do {
        guard try DKIMKey(domain: domain, selector: key.selector, pem: pem).algorithm == .rsa else { throw KeyStore.Fault.needsRSAFirst }
        let isNew =
          applies
          ? try await keys.adopt(
            domain: domain, selector: key.selector, pem: pem, returnPathHost: host, organisation: key.organisation) : true
        if isNew { kind.imported += 1 } else { kind.skipped += 1 }
      } catch let error as RenderError { kind.faults.append("the key of \(domain) is not usable: \(error)") } catch let fault
        as KeyStore.Fault
      { kind.faults.append("the key of \(domain) does not fit: \(fault)") }
    }
    return kind
  }

  private func suppressions(_ now: Milliseconds) async throws -> Report.Kind {
    let found = try await source.suppressions(now: now)
    var kind = Report.Kind("suppression", found)
    let list = Suppressions(store: store)
    for start in stride(from: 0, to: found.rows.count, by: UpstreamRedis.slice) {
      // Two spellings of one address are one here.
      let slice = Dictionary(
        found.rows[start..<min(start + UpstreamRedis.slice, found.rows.count)].map { ($0.email, $0) },
        uniquingKeysWith: { ($0.expiresAt ?? .max) < ($1.expiresAt ?? .max) ? $1 : $0 }
      ).values.sorted { $0.email < $1.email }
      let known = try await list.rows(slice.map(\.email), scope: Suppressions.everybody, now: now)
      // Of two, the one that lasts longer: nobody who asked for no mail gets some because we knew less.
      let wanted = zip(slice, known).filter { entry, known in
        guard (entry.expiresAt ?? .max) > now else { return false }
        return known.map { ($0.expiresAt ?? .max) < (entry.expiresAt ?? .max) } ?? true
      }.map(\.0)
      if applies { try await list.add(wanted, scope: Suppressions.everybody) }
      kind.imported += wanted.count
      kind.skipped += slice.count - wanted.count
    }
    return kind
  }

  private func credentials(_ now: Milliseconds) async throws -> Report.Kind {
    let found = try await source.credentials(now: now)
    var kind = Report.Kind("credentials", found)
    let hash = RedisHash(client: store.client, key: store.keys.credentials)
    for (key, row) in found.rows {
      guard Credentials.isWellFormed(key) else {
        kind.faults.append("a key of \(row.organizationId) is not of the form owlat_ and 32 digits")
        continue
      }
      if let objection = Organisation.objection(row.organizationId) {
        kind.faults.append("mta:cred:\(row.prefix)…: organizationId \(objection)")
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
    var kind = Report.Kind("poolRules", found)
    let rules = PoolRules(store: store)
    let pools = Set(config.pools.map(\.name))
    for var rule in found.rows {
      if let pool = rule.pool, !pools.contains(pool) {
        kind.faults.append("a rule of \(rule.organizationId) names the pool \(pool), which the configuration has not")
        continue
      }
      if let named = rule.dedicatedIp {
        guard let ip = ip(named) else {
          kind.faults.append("a rule of \(rule.organizationId) names \(named), which the configuration has not")
          continue
        }
        rule.dedicatedIp = ip.address
      }
      let (from, to) = (rule.fromDomain, rule.toDomain)
      if try await rules.rules(rule.organizationId).contains(where: { $0.fromDomain == from && $0.toDomain == to }) {
        kind.skipped += 1
      } else {
        if applies { try await rules.set(rule) }
        kind.imported += 1
      }
    }
    return kind
  }

  private func warming(_ now: Milliseconds) async throws -> Report.Kind {
    let found = try await source.warming(now: now)
    var kind = Report.Kind("warming", found)
    for (address, found) in found.rows {
      var handover = found
      guard let ip = ip(address) else {
        kind.faults.append("\(address) is not in the configuration")
        continue
      }
      guard !ip.isWarmed, fresh.contains(ip.address), handover.hasBegun(config.warming) else {
        kind.skipped += 1
        continue
      }
      // An IP that is on its first day here may be brought over again: what it sent would count twice.
      if handover.day == 1 { handover.sentToday = 0 }
      do {
        if applies { try setWarming(ip.address, handover) }
        kind.imported += 1
      } catch let fault as CommandFault { kind.faults.append("\(ip.address): \(fault.text)") }
    }
    return kind
  }

  /// Upstream knows an IP by its public address.
  private func ip(_ text: String) -> MTAConfig.SourceIP? {
    let address = IPAddress.canonical(text) ?? text
    return config.sourceIPs.first { $0.address == address || $0.publicAddress == address }
  }
}
