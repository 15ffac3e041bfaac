import DeliveryPolicy
import Foundation
import MTAConfig
import MailModel

/// What is different between two configurations: what may change while the supervisor runs, in words, and what may not.
/// Keys that are not known here as changeable need a restart, so that a new key is never taken over without effect.
struct ConfigDifference: Sendable, Equatable {
  /// Keys that cannot change at run time, as the file spells them.
  private(set) var needsRestart: [String] = []
  /// One line each, without secrets.
  private(set) var changes: [String] = []
  private(set) var added: [String] = []
  private(set) var removed: [String] = []
  /// IPs that stay and whose EHLO name is another: their workers start anew.
  private(set) var renamed: [String] = []
  private(set) var hasOtherPools = false

  init(from old: MTAConfig, to new: MTAConfig) {
    compareScalars(Self.leaves(old), Self.leaves(new))
    compareProviders(old.providers, new.providers)
    if old.warming != new.warming { changes.append("warming: changed") }
    if old.dnsbl.zones != new.dnsbl.zones { changes.append("dnsbl.zones: \(new.dnsbl.zones.count) zones") }
    compareWebhooks(old.webhooks, new.webhooks)
    comparePools(old, new)
  }

  var isEmpty: Bool { needsRestart.isEmpty && changes.isEmpty }

  // MARK: single values

  /// Compared above by their own means.
  private static let structured: Set<String> = ["pools", "source_ips", "providers", "warming", "dnsbl.zones", "webhooks", "dkim_seeds"]

  /// How the line of a change shows a value.
  private enum Kind { case plain, duration, secret }

  private static let changeable: [String: Kind] = [
    "api.master_key": .secret, "api.max_body_mib": .plain, "smtp.max_age": .duration, "smtp.allow_loopback_mx": .plain,
    "retry.delays": .duration, "retry.jitter": .plain, "retry.uncertain": .plain, "limits.org_daily": .plain,
    "limits.org_hourly": .plain, "limits.api_rate_per_key": .plain, "limits.api_rate_per_ip": .plain,
    "limits.queue_max_messages": .plain, "limits.min_free_mib": .plain, "breaker.bounce_fast": .plain, "breaker.bounce_slow": .plain,
    "breaker.complaint_fast": .plain, "breaker.complaint_slow": .plain, "breaker.open": .duration, "breaker.reopen": .duration,
    "breaker.probes": .plain, "dnsbl.interval": .duration, "identity.require": .plain, "history.retention_days": .plain,
  ]

  /// Members whose key has another name.
  private static let names = [
    "requires_identity": "identity.require", "history_retention_days": "history.retention_days", "unsubscribe_url": "unsubscribe.base_url",
    "redis.has_worker_users": "redis.worker_users",
  ]

  /// Every value by its key; members of the sections one by one.
  private static func leaves(_ config: MTAConfig) -> [String: String] {
    var found: [String: String] = [:]
    for case (let label?, let value) in Mirror(reflecting: config).children {
      let name = key(label)
      let mirror = Mirror(reflecting: value)
      if mirror.displayStyle == .struct, !structured.contains(name) {
        for case (let inner?, let value) in mirror.children {
          let member = "\(name).\(key(inner))"
          found[names[member] ?? member] = shown(value, of: member)
        }
      } else {
        found[names[name] ?? name] = shown(value, of: name)
      }
    }
    return found.filter { !structured.contains($0.key) }
  }

  /// As the file spells it.
  private static func shown(_ value: Any, of key: String) -> String {
    guard changeable[key] == .duration else { return "\(value)" }
    if let list = value as? [Milliseconds] { return "[\(list.map(ConfigReader.spell).joined(separator: ", "))]" }
    return (value as? Milliseconds).map(ConfigReader.spell) ?? "\(value)"
  }

  /// `queueMaxMiB` → `queue_max_mib`.
  static func key(_ member: String) -> String {
    var key = ""
    var before: Character = "_"
    for character in member.replacing("MiB", with: "Mib") {
      if character.isUppercase, before.isLowercase || before.isNumber { key.append("_") }
      key += character.lowercased()
      before = character
    }
    return key
  }

  private mutating func compareScalars(_ old: [String: String], _ new: [String: String]) {
    for name in Set(old.keys).union(new.keys).sorted() where old[name] != new[name] {
      guard let kind = Self.changeable[name] else {
        needsRestart.append(name)
        continue
      }
      changes.append(kind == .secret ? "\(name): changed" : "\(name): \(old[name] ?? "-") → \(new[name] ?? "-")")
    }
  }

  // MARK: lists

  private mutating func compareProviders(_ old: ProviderTable, _ new: ProviderTable) {
    for provider in MailboxProvider.allCases where old[provider] != new[provider] {
      // Which provider a domain belongs to decides where its mail waits.
      if old[provider].mx != new[provider].mx {
        needsRestart.append("providers.\(provider.rawValue).mx")
      } else {
        changes.append("providers.\(provider.rawValue): changed")
      }
    }
  }

  private mutating func compareWebhooks(_ old: [MTAConfig.Webhook], _ new: [MTAConfig.Webhook]) {
    guard old != new else { return }
    let before = Dictionary(old.map { ($0.url, $0) }, uniquingKeysWith: { first, _ in first })
    let after = Dictionary(new.map { ($0.url, $0) }, uniquingKeysWith: { first, _ in first })
    for url in after.keys.sorted() {
      if before[url] == nil { changes.append("webhooks: \(Self.shown(url)) added") }
      if let known = before[url], known != after[url] { changes.append("webhooks: \(Self.shown(url)) changed") }
    }
    for url in before.keys.sorted() where after[url] == nil { changes.append("webhooks: \(Self.shown(url)) removed") }
  }

  /// A URL may carry a secret behind its question mark or before its @.
  private static func shown(_ url: String) -> String {
    let start = url.prefix { $0 != "?" && $0 != "#" }
    guard let at = start.lastIndex(of: "@"), let scheme = start.range(of: "://") else { return String(start) }
    return start[..<scheme.upperBound] + String(start[start.index(after: at)...])
  }

  private mutating func comparePools(_ old: MTAConfig, _ new: MTAConfig) {
    let (before, after) = (old.addressesByPool, new.addressesByPool)
    hasOtherPools = before != after
    for pool in Set(before.keys).union(after.keys).sorted() {
      let (was, now) = (before[pool] ?? [], after[pool] ?? [])
      if before[pool] == nil { changes.append("pools.\(pool): added") }
      for ip in now where !was.contains(ip) { changes.append("pools.\(pool): \(ip) added") }
      for ip in was where !now.contains(ip) { changes.append("pools.\(pool): \(ip) removed") }
      if after[pool] == nil { changes.append("pools.\(pool): removed") }
    }
    let known = Dictionary(old.sourceIPs.map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first })
    for ip in new.sourceIPs {
      guard let before = known[ip.address] else {
        added.append(ip.address)
        continue
      }
      guard before != ip else { continue }
      var settings: [String] = []
      if before.ehloName != ip.ehloName { settings.append("ehlo \(before.ehloName) → \(ip.ehloName)") }
      if before.publicAddress != ip.publicAddress { settings.append("public \(before.publicAddress) → \(ip.publicAddress)") }
      if before.isWarmed != ip.isWarmed { settings.append("warmed \(before.isWarmed) → \(ip.isWarmed)") }
      changes.append("pools: \(ip.address): \(settings.joined(separator: ", "))")
      if before.ehloName != ip.ehloName { renamed.append(ip.address) }
    }
    let kept = Set(new.sourceIPs.map(\.address))
    removed = old.sourceIPs.map(\.address).filter { !kept.contains($0) }
  }
}
