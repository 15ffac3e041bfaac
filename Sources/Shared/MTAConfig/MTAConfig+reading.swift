internal import DeliveryPolicy
internal import Foundation
internal import MailModel

extension MTAConfig {
  /// Reads a file's text over the defaults, with the environment.
  /// - Parameter readFile: content of a file, nil when it cannot be read (for `…_file` keys).
  package static func read(
    yaml: String, environment: [String: String], hostName: String, readFile: @escaping (String) -> String?
  ) -> ConfigReport {
    let root: ConfigNode
    do { root = try ConfigNode.parse(yaml) } catch { return ConfigReport(config: nil, problems: [error], notices: []) }
    guard case .map = root else {
      return ConfigReport(
        config: nil, problems: [ConfigProblem(key: "", line: root.line, text: "the file must be a mapping")], notices: [])
    }
    var reader = ConfigReader(root: root, environment: environment, readFile: readFile)
    var config = MTAConfig()
    config.readGeneral(&reader, hostName: hostName)
    config.readAPI(&reader)
    config.readRedis(&reader)
    config.readSMTP(&reader)
    config.readBounce(&reader)
    config.readInbound(&reader)
    config.readWebhooks(&reader, environment)
    config.readPools(&reader, environment)
    config.readProviders(&reader)
    config.readLimits(&reader)
    config.readBreaker(&reader)
    config.readWarming(&reader)
    config.readReputation(&reader, environment)
    config.readSeeds(&reader, environment)
    config.readInspectors(&reader)
    readLater(&reader)
    reader.finish()
    let notices = laterKeys.filter { key in reader.present.contains(where: { $0 == key || $0.hasPrefix(key + ".") }) }
      .map { ConfigProblem(key: $0, line: nil, text: "is valid and has no effect yet in this version") }
    let tlsNotice =
      config.redis.url.hasPrefix("rediss://")
      ? [ConfigProblem(key: "redis.url", line: nil, text: "rediss:// is valid and not supported yet: `run` will refuse it")] : []
    // RFC 5321 §4.5.1: whoever takes mail for a domain takes its postmaster's.
    let postmasterNotice =
      !config.bounce.listen.isEmpty && config.bounce.postmaster.isEmpty
      ? [
        ConfigProblem(
          key: "bounce.postmaster", line: nil,
          text: "is not set: mail to postmaster and abuse of our domains is refused, which RFC 5321 does not allow with bounce.listen")
      ] : []
    return ConfigReport(
      config: reader.problems.isEmpty ? config : nil, draft: config, problems: reader.problems,
      notices: notices + tlsNotice + postmasterNotice)
  }

  /// Features of later versions.
  private static let laterKeys = [
    "api.tls", "redis.min_replicas", "redis.ca",
    "history.keep_content_days",
  ]

  private mutating func readGeneral(_ reader: inout ConfigReader, hostName: String) {
    hostname = reader.text("hostname", upstream: "EHLO_HOSTNAME", hostName).lowercased()
    if !DomainName.isHostName(hostname) { reader.problem("hostname", "must be a host name") }
    secret = reader.secret("secret", upstream: "MTA_SECRET")
    if !secret.isEmpty && secret.utf8.count < 32 { reader.problem("secret", "must have at least 32 octets") }
    stateDir = reader.text("state_dir", stateDir)
    runtimeDir = reader.text("runtime_dir", runtimeDir)
    for (key, path) in [("state_dir", stateDir), ("runtime_dir", runtimeDir)] where !path.hasPrefix("/") {
      reader.problem(key, "must be an absolute path")
    }
    // sun_path holds 108 octets; the longest socket name below it is 20.
    if runtimeDir.utf8.count > 80 { reader.problem("runtime_dir", "is too long for a socket's path") }
    dns.servers = reader.texts("dns.servers", [])
    for server in dns.servers where !Self.isServer(server) {
      reader.problem("dns.servers", "\(server) must be an address, or address@port")
    }
    dns.trustAnchors = reader.texts("dns.trust_anchors", [])
    for anchor in dns.trustAnchors {
      if anchor.hasPrefix("/") {
        if reader.content(of: anchor) == nil { reader.problem("dns.trust_anchors", "\(anchor) cannot be read") }
      } else if !anchor.split(whereSeparator: \.isWhitespace).contains(where: { ["DS", "DNSKEY"].contains($0.uppercased()) }) {
        reader.problem("dns.trust_anchors", "\(anchor.prefix(40)) must be a file, or a DS or DNSKEY record")
      }
    }
    historyRetentionDays = reader.integer("history.retention_days", 1...3650, 30)
  }

  private mutating func readAPI(_ reader: inout ConfigReader) {
    api.listen = reader.text("api.listen", reader.optionalUpstream("PORT").map { "0.0.0.0:\($0)" } ?? api.listen)
    if Self.listenAddress(api.listen) == nil { reader.problem("api.listen", "must be address:port") }
    api.masterKey = reader.secret("api.master_key", upstream: "MTA_API_KEY")
    if api.masterKey.isEmpty {
      reader.problem("api.master_key", "is required")
    } else if !api.masterKey.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
      reader.problem("api.master_key", "must be printable ASCII without spaces")
    }
    api.maxBodyMiB = reader.integer("api.max_body_mib", 1...1024, api.maxBodyMiB)
    api.headerTimeout = reader.duration("api.header_timeout", 100...600_000, api.headerTimeout)
    api.bodyTimeout = reader.duration("api.body_timeout", 100...600_000, api.bodyTimeout)
    api.idleTimeout = reader.duration("api.idle_timeout", 1000...3_600_000, api.idleTimeout)
    _ = reader.text("api.tls.cert", "")
    _ = reader.text("api.tls.key", "")
  }

  private mutating func readRedis(_ reader: inout ConfigReader) {
    redis.url = reader.text("redis.url", upstream: "REDIS_URL", redis.url)
    let schemes = ["redis://", "rediss://", "unix://"]
    if redis.url != "embedded", !schemes.contains(where: redis.url.hasPrefix) {
      reader.problem("redis.url", "must be embedded, redis://, rediss:// or unix://")
    }
    redis.durability = reader.choice("redis.durability", redis.durability)
    redis.prefix = reader.text("redis.prefix", redis.prefix)
    if redis.prefix.isEmpty
      || !redis.prefix.utf8.allSatisfy({ (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x5F })
    {
      reader.problem("redis.prefix", "must be of a-z, 0-9, - and _")
    }
    redis.username = reader.text("redis.username", "")
    redis.password = reader.secret("redis.password")
    redis.hasWorkerUsers = reader.bool("redis.worker_users", true)
    _ = reader.integer("redis.min_replicas", 0...10, 0)
    _ = reader.text("redis.ca", "")
  }

  private mutating func readSMTP(_ reader: inout ConfigReader) {
    smtp.port = reader.integer("smtp.port", 1...65535, smtp.port)
    smtp.connectTimeout = reader.duration("smtp.connect_timeout", 100...600_000, smtp.connectTimeout)
    smtp.commandTimeout = reader.duration("smtp.command_timeout", 100...3_600_000, smtp.commandTimeout)
    smtp.dataTimeout = reader.duration("smtp.data_timeout", 100...7_200_000, smtp.dataTimeout)
    smtp.maxAge = reader.duration("smtp.max_age", 1000...(30 * 86_400_000), smtp.maxAge)
    if let text = reader.optionalUpstream("MAX_MESSAGE_AGE_MS"), !reader.present.contains("smtp.max_age") {
      if let value = Int64(text), (1000...345_600_000).contains(value) {
        smtp.maxAge = value
      } else {
        reader.problem("smtp.max_age", "from MAX_MESSAGE_AGE_MS must be 1000 to 345600000")
      }
    }
    smtp.sandbox = reader.bool("smtp.sandbox", false)
    smtp.allowLoopbackMX = reader.bool("smtp.allow_loopback_mx", false)
    if let nodes = reader.list("retry.delays") {
      let delays = nodes.compactMap { node -> Milliseconds? in
        guard case .scalar(let text, _) = node, let value = ConfigReader.milliseconds(text), (100...86_400_000).contains(value)
        else {
          reader.problem("retry.delays", "must be a list of durations from 100ms to 1d", line: node.line)
          return nil
        }
        return value
      }
      if nodes.isEmpty { reader.problem("retry.delays", "must not be empty") }
      if !delays.isEmpty { retry.delays = delays }
    }
    retry.jitter = reader.number("retry.jitter", 0...0.5, retry.jitter)
    retry.uncertain = reader.choice("retry.uncertain", retry.uncertain)
  }

  private mutating func readBounce(_ reader: inout ConfigReader) {
    bounce.domain = reader.text("bounce.domain", upstream: "RETURN_PATH_DOMAIN", "").lowercased()
    if bounce.domain.isEmpty {
      reader.problem("bounce.domain", "is required")
    } else if !DomainName.isMailDomain(bounce.domain) {
      reader.problem("bounce.domain", "must be a domain name")
    }
    bounce.verpKey = reader.secret("bounce.verp_key", upstream: "BOUNCE_VERP_KEY")
    if bounce.verpKey.isEmpty {
      reader.problem("bounce.verp_key", "is required")
    } else if bounce.verpKey.utf8.count < 32 {
      reader.problem("bounce.verp_key", "must have at least 32 octets")
    }
    bounce.postmaster = reader.text("bounce.postmaster", "")
    if !bounce.postmaster.isEmpty, EmailAddress(bounce.postmaster) == nil { reader.problem("bounce.postmaster", "must be an address") }
    // A route may have a quarter: one mail of the largest size at least.
    bounce.inboundMaxMiB = reader.integer("bounce.inbound_max_mib", 64...1_048_576, 1024)
    let base = reader.text("unsubscribe.base_url", "")
    if !base.isEmpty, URL(string: base)?.scheme != "https" || base.utf8.count > 200 || base.contains(where: { $0 == "?" || $0 == "#" }) {
      reader.problem("unsubscribe.base_url", "must be an https URL of at most 200 octets without ? and #")
    }
    unsubscribeURL = base.hasSuffix("/") ? String(base.dropLast()) : base
  }

  private mutating func readWebhooks(_ reader: inout ConfigReader, _ environment: [String: String]) {
    let known = Set(Self.eventNames)
    if let nodes = reader.list("webhooks") {
      for (index, node) in nodes.enumerated() {
        reader.item(node, "webhooks[\(index)]") { item in
          let webhook = Webhook(
            url: item.text("url", ""), secret: item.secret("secret"), events: item.texts("events", []))
          let url = URL(string: webhook.url)
          if url?.host == nil || !["http", "https"].contains(url?.scheme ?? "") {
            item.problem("url", "must be an http or https URL", line: node.line)
          }
          if webhook.secret.isEmpty { item.problem("secret", "is required", line: node.line) }
          for event in webhook.events where !known.contains(event) {
            item.problem("events", "\(event) is no event", line: node.line)
          }
          webhooks.append(webhook)
        }
      }
    } else if let site = environment["CONVEX_SITE_URL"], !site.isEmpty {
      let secret = environment["MTA_WEBHOOK_SECRET"] ?? ""
      if secret.isEmpty { reader.problem("webhooks", "MTA_WEBHOOK_SECRET is required with CONVEX_SITE_URL") }
      let base = site.hasSuffix("/") ? String(site.dropLast()) : site
      webhooks.append(
        Webhook(
          url: base + "/webhooks/mta", secret: secret,
          events: Self.eventNames.filter { !Self.additiveEvents.contains($0) }, ratePerSecond: 50))
    }
  }

  package static let additiveEvents: Set<String> = ["deferred", "uncertain", "opened", "clicked", "unsubscribed"]
  package static let eventNames = [
    "sent", "bounced", "failed", "smtp.classified", "complained", "org.circuit_breaker", "campaign.complaint_rate",
    "ip.blocklisted", "ip.delisted", "ip.warming_complete", "all_ips_blocked", "postmaster.authorize_domain",
    "postmaster.stats", "postmaster.compliance", "dkim.rotated", "inbound.received", "inbound.mailbox.received",
    "routing.reentry", "ip.readiness_regressed", "deliverability.probe_observed", "deferred", "uncertain", "opened",
    "clicked", "unsubscribed",
  ]

  /// `address:port` or `[address]:port`.
  package static func listenAddress(_ text: String) -> (host: String, port: Int)? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65535).contains(port)
    else { return nil }
    var host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return host.isEmpty ? nil : (host, port)
  }

  private static func isServer(_ text: String) -> Bool {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), IPAddress.canonical(String(parts[0])) != nil else { return false }
    return parts.count == 1 || Int(parts[1]).map { (1...65535).contains($0) } ?? false
  }
}
