internal import DeliveryPolicy
internal import Foundation
internal import MailModel

extension MTAConfig {
  mutating func readPools(_ reader: inout ConfigReader, _ environment: [String: String]) {
    let ehloNames = upstreamEHLONames(&reader, environment)
    if let pairs = reader.map("pools") {
      for (name, node) in pairs { readPool(&reader, name, node, ehloNames) }
    } else {
      for (name, variable) in [("transactional", "IP_POOLS_TRANSACTIONAL"), ("campaign", "IP_POOLS_CAMPAIGN")] {
        let addresses = (environment[variable] ?? "").split { $0 == "," || $0 == " " }.map(String.init)
        guard !addresses.isEmpty else { continue }
        pools.append((name, []))
        for address in addresses {
          add(&reader, "pools", pool: name, SourceIP(bare: address, ehlo: ehloNames[address] ?? hostname), line: nil)
        }
      }
    }
    if !pools.contains(where: { !$0.ips.isEmpty }) && !reader.problems.contains(where: { $0.key.hasPrefix("pools") }) {
      reader.problem("pools", "needs one pool with an IP")
    }
  }

  private mutating func readPool(
    _ reader: inout ConfigReader, _ name: String, _ node: ConfigNode, _ ehloNames: [String: String]
  ) {
    let path = "pools.\(name)"
    let isName =
      (1...64).contains(name.utf8.count)
      && name.utf8.allSatisfy {
        (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x5F
      }
    if !isName { reader.problem(path, "must be named with letters, digits, - and _", line: node.line) }
    pools.append((name, []))
    reader.item(node, path) { pool in
      for (index, item) in (pool.list("ips") ?? []).enumerated() {
        switch item {
        case .scalar(let address, let line):
          add(&pool, "ips", pool: name, SourceIP(bare: address, ehlo: ehloNames[address] ?? hostname), line: line)
        case .map:
          pool.item(item, "\(path).ips[\(index)]") { entry in
            let address = entry.text("address", "")
            var ip = SourceIP(bare: address, ehlo: entry.text("ehlo", ehloNames[address] ?? hostname).lowercased())
            ip.publicAddress = entry.text("public", address)
            ip.isWarmed = entry.bool("warmed", false)
            if !DomainName.isHostName(ip.ehloName) { entry.problem("ehlo", "must be a host name", line: item.line) }
            if ip.publicAddress != address, IPAddress.canonical(ip.publicAddress) == nil {
              entry.problem("public", "must be an IP address", line: item.line)
            }
            add(&entry, "address", pool: name, ip, line: item.line)
          }
        case .list: pool.problem("ips", "must be a list of addresses", line: item.line)
        }
      }
    }
  }

  /// - Parameter key: where the address stands.
  private mutating func add(_ reader: inout ConfigReader, _ key: String, pool: String, _ ip: SourceIP, line: Int?) {
    guard let address = IPAddress.canonical(ip.address) else {
      return reader.problem(key, "\(ip.address.isEmpty ? "is required and" : ip.address) must be an IP address", line: line)
    }
    if let objection = IPAddress.objectionAsSource(address) { return reader.problem(key, "\(ip.address) \(objection)", line: line) }
    var ip = ip
    ip.publicAddress = ip.publicAddress == ip.address ? address : IPAddress.canonical(ip.publicAddress) ?? ip.publicAddress
    ip.address = address
    if let known = sourceIPs.first(where: { $0.address == address }) {
      if known != ip { reader.problem(key, "\(address) stands in several pools with different settings", line: line) }
    } else {
      sourceIPs.append(ip)
    }
    guard let index = pools.firstIndex(where: { $0.name == pool }) else { return }
    if pools[index].ips.contains(address) {
      reader.problem(key, "\(address) stands in this pool twice", line: line)
    } else {
      pools[index].ips.append(address)
    }
  }

  /// `EHLO_HOSTNAMES`: a JSON object, ip → name.
  private func upstreamEHLONames(_ reader: inout ConfigReader, _ environment: [String: String]) -> [String: String] {
    guard let text = environment["EHLO_HOSTNAMES"], !text.isEmpty else { return [:] }
    guard let names = try? JSONDecoder().decode([String: String].self, from: Data(text.utf8)) else {
      reader.problem("pools", "EHLO_HOSTNAMES must be a JSON object of names by IP")
      return [:]
    }
    return names
  }

  mutating func readProviders(_ reader: inout ConfigReader) {
    for (name, node) in reader.map("providers") ?? [] {
      guard let provider = MailboxProvider(rawValue: name) else {
        reader.problem(
          "providers.\(name)", "must be one of \(MailboxProvider.allCases.map(\.rawValue).joined(separator: ", "))", line: node.line)
        continue
      }
      var profile = providers[provider]
      reader.item(node, "providers.\(name)") { item in
        let rate = 0.001...1_000_000
        profile.defaultRate = item.number("defaultRate", rate, profile.defaultRate)
        profile.ceiling = item.number("ceiling", rate, max(profile.ceiling, profile.defaultRate))
        profile.floor = item.number("floor", rate, min(profile.floor, profile.defaultRate))
        profile.backoffFactor = item.number("backoffFactor", 0.01...0.99, profile.backoffFactor)
        profile.recoveryFactor = item.number("recoveryFactor", 1.0001...100, profile.recoveryFactor)
        profile.maxConnections = item.integer("maxConnections", 1...100, profile.maxConnections)
        profile.maxConnectionsTotal = item.integer("maxConnectionsTotal", 0...10_000, profile.maxConnectionsTotal)
        profile.maxDeliveriesPerConnection = item.integer("maxDeliveriesPerConnection", 1...10_000, profile.maxDeliveriesPerConnection)
        switch item.text("tlsMode", profile.tlsMode == .require ? "require" : "opportunistic") {
        case "opportunistic": profile.tlsMode = .opportunistic
        case "require": profile.tlsMode = .require
        default: item.problem("tlsMode", "must be opportunistic or require", line: node.line)
        }
        profile.mx = item.texts("mx", profile.mx).map { $0.lowercased() }
        if !(profile.floor <= profile.defaultRate && profile.defaultRate <= profile.ceiling) {
          item.problem("defaultRate", "must lie between floor and ceiling", line: node.line)
        }
      }
      providers.profiles[provider] = profile
    }
  }

  mutating func readLimits(_ reader: inout ConfigReader) {
    limits.orgDaily = reader.integer("limits.org_daily", upstreamLimit("ORG_DEFAULT_DAILY_LIMIT"), limits.orgDaily)
    limits.orgHourly = reader.integer("limits.org_hourly", upstreamLimit("ORG_DEFAULT_HOURLY_LIMIT"), limits.orgHourly)
    limits.queueMaxMessages = reader.integer("limits.queue_max_messages", 1...1_000_000_000, limits.queueMaxMessages)
    limits.queueMaxMiB = reader.integer("limits.queue_max_mib", 0...1_048_576, 0)
    // Redis itself takes a few.
    if (1..<8).contains(limits.queueMaxMiB) { reader.problem("limits.queue_max_mib", "must be 0 or at least 8") }
    limits.minFreeMiB = reader.integer("limits.min_free_mib", 0...1_048_576, limits.minFreeMiB)
    limits.apiRatePerKey = reader.integer("limits.api_rate_per_key", 0...1_000_000, 0)
    limits.apiRatePerIP = reader.integer("limits.api_rate_per_ip", 0...1_000_000, 0)
    limits.apiConnections = reader.integer("limits.api_connections", 1...1_000_000, limits.apiConnections)
    limits.apiConnectionsPerIP = reader.integer("limits.api_connections_per_ip", 1...1_000_000, limits.apiConnectionsPerIP)
  }

  private func upstreamLimit(_ name: String) -> (upstream: String, range: ClosedRange<Int>) { (name, 0...1_000_000_000) }

  /// `DKIM_KEYS`: a JSON object, domain → {selector, privateKey}.
  mutating func readSeeds(_ reader: inout ConfigReader, _ environment: [String: String]) {
    struct Seed: Decodable {
      var selector: String
      var privateKey: String
    }
    guard let text = environment["DKIM_KEYS"], !text.isEmpty else { return }
    guard let seeds = try? JSONDecoder().decode([String: Seed].self, from: Data(text.utf8)) else {
      return reader.problem("DKIM_KEYS", "must be a JSON object: domain → {selector, privateKey}")
    }
    dkimSeeds = seeds.sorted { $0.key < $1.key }.map { ($0.key.lowercased(), $0.value.selector, $0.value.privateKey) }
  }

  mutating func readWarming(_ reader: inout ConfigReader) {
    var schedule: [Int: Int] = [:]
    for (day, cap) in reader.map("warming.schedule") ?? [] {
      guard let number = Int(day), (1...365).contains(number), case .scalar(let text, _) = cap, let most = Int(text),
        (1...1_000_000_000).contains(most)
      else {
        reader.problem("warming.schedule", "\(day) must be a day (1 to 365) with its messages (1 to 1000000000)", line: cap.line)
        continue
      }
      schedule[number] = most
    }
    let sample = reader.integer("warming.min_sample", 1...1_000_000, 100)
    let reserve = reader.number("warming.reserve_transactional", 0...1, 0.2)
    warming = WarmingPolicy(
      schedule: schedule.isEmpty ? WarmingPolicy.builtInSchedule : schedule, minSample: sample, reserveTransactional: reserve)
  }

  mutating func readReputation(_ reader: inout ConfigReader, _ environment: [String: String]) {
    dnsbl.interval = reader.duration("dnsbl.interval", 1000...86_400_000, dnsbl.interval)
    if let nodes = reader.list("dnsbl.zones") {
      var rows: [(zone: String, severity: BlocklistZone.Severity)] = []
      for (index, node) in nodes.enumerated() {
        reader.item(node, "dnsbl.zones[\(index)]") { zone in
          let name = zone.text("zone", "").lowercased()
          if !DomainName.isMailDomain(name) { zone.problem("zone", "must be a domain name", line: node.line) }
          switch zone.text("severity", "warning") {
          case "critical": rows.append((name, .critical))
          case "warning": rows.append((name, .warning))
          default: zone.problem("severity", "must be critical or warning", line: node.line)
          }
        }
      }
      dnsbl.zones = BlocklistZone.configured(rows)
    } else {
      dnsbl.zones = BlocklistZone.builtIn(abusixKey: environment["ABUSIX_DNSBL_API_KEY"]) + BlocklistZone.builtInDomains
    }
    requiresIdentity = reader.bool("identity.require", environment["MTA_ALLOW_UNVERIFIED_FCRDNS"] != "true")
  }

  mutating func readBreaker(_ reader: inout ConfigReader) {
    breaker.bounceFast = reader.number("breaker.bounce_fast", 0...1, breaker.bounceFast)
    breaker.bounceSlow = reader.number("breaker.bounce_slow", 0...1, breaker.bounceSlow)
    breaker.complaintFast = reader.number("breaker.complaint_fast", 0...1, breaker.complaintFast)
    breaker.complaintSlow = reader.number("breaker.complaint_slow", 0...1, breaker.complaintSlow)
    breaker.open = reader.duration("breaker.open", 1000...86_400_000, breaker.open)
    breaker.reopen = reader.duration("breaker.reopen", 1000...86_400_000, breaker.reopen)
    breaker.probes = reader.integer("breaker.probes", 1...1000, breaker.probes)
  }

  /// Keys whose features come later: validated, kept nowhere. Two are refused unless empty.
  static func readLater(_ reader: inout ConfigReader) {
    for key in ["fallbacks"] {
      if let nodes = reader.list(key), !nodes.isEmpty { reader.problem(key, "is not supported in this version: leave it empty") }
    }
    let domain = reader.text("tracking.domain", "")
    let opens = reader.bool("tracking.opens", false)
    let clicks = reader.bool("tracking.clicks", false)
    if !domain.isEmpty || opens || clicks { reader.problem("tracking", "is not supported in this version: leave it empty") }
    _ = reader.integer("history.keep_content_days", 0...3650, 0)
  }
}

extension MTAConfig.SourceIP {
  init(bare address: String, ehlo: String) {
    self.init(address: address, publicAddress: address, ehloName: ehlo, isWarmed: false)
  }
}

extension ConfigReader {
  mutating func integer(_ key: String, _ upstream: (upstream: String, range: ClosedRange<Int>), _ fallback: Int) -> Int {
    integer(key, upstream: upstream.upstream, upstream.range, fallback)
  }

  func optionalUpstream(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
}
