import Foundation
import MailFormat
import MailModel
import NIOCore
import Redis

/// Reads the settings of an upstream installation from its Redis, by the names of its keys (contract section 13.3), in the forms of
/// its releases: hashes for DKIM keys, pool rules and warming, JSON texts for API keys and suppressions. What cannot be
/// understood is told, never guessed.
struct UpstreamRedis: Sendable {
  struct Key: Sendable {
    var domain: String
    var selector: String
    var privateKey: String
    var returnPathHost: String?
  }

  struct Warming: Sendable {
    var ip: String
    var day: Int
    var isGraduated: Bool
  }

  /// What was found of one kind, and what of it could not be understood.
  struct Found<Row: Sendable>: Sendable {
    var rows: [Row] = []
    var faults: [String] = []
  }

  let client: RedisClient

  func keys() async throws -> Found<Key> {
    var found = Found<Key>()
    for name in try await names("mta:dkim:*") where !name.hasPrefix("mta:dkim:pending:") && !name.hasPrefix("mta:dkim:rotation:") {
      let domain = String(name.dropFirst("mta:dkim:".count))
      let fields = try await fields(name)
      if let selector = fields["selector"], let key = fields["privateKey"] ?? fields["private_key"] ?? fields["key"] {
        found.rows.append(Key(domain: domain, selector: selector, privateKey: key, returnPathHost: fields["returnPathHost"]))
      } else {
        found.faults.append("\(name) has no selector and privateKey")
      }
    }
    return found
  }

  func suppressions(now: Milliseconds) async throws -> Found<Suppressions.Entry> {
    var found = Found<Suppressions.Entry>()
    for email in try await members("mta:suppressed") {
      guard let address = EmailAddress(email) else {
        found.faults.append("mta:suppressed: \(email) is no address")
        continue
      }
      let meta = try await fields("mta:suppressed-meta:\(email)")
      let reason = meta["reason"] ?? "manual"
      found.rows.append(
        Suppressions.Entry(
          email: address.normalised, reason: Suppressions.reasons.contains(reason) ? reason : "manual",
          source: meta["source"] ?? "upstream", suppressedAt: Self.time(meta["suppressedAt"]) ?? now,
          expiresAt: Self.time(meta["expiresAt"])))
    }
    return found
  }

  /// Key → row; upstream keeps its API keys in clear, as names.
  func credentials(now: Milliseconds) async throws -> Found<(key: String, row: Credentials.Row)> {
    var found = Found<(key: String, row: Credentials.Row)>()
    for name in try await names("mta:cred:*") {
      let key = String(name.dropFirst("mta:cred:".count))
      let fields = try await fields(name)
      if let domains = fields["allowedDomains"] {
        // Ours know no such limit, and none is to reach further than it did.
        found.faults.append("mta:cred:\(key.prefix(10))… may send from \(domains.isEmpty ? "no domain" : domains) only: make another key")
      } else if let organisation = fields["organizationId"] ?? fields["orgId"] ?? fields[""], !organisation.isEmpty {
        let row = Credentials.Row(
          organizationId: organisation, name: fields["name"] ?? "", createdAt: Self.time(fields["createdAt"]) ?? now, lastUsedAt: nil,
          prefix: String(key.prefix(10)))
        found.rows.append((key, row))
      } else {
        found.faults.append("mta:cred:\(key.prefix(10))… has no organizationId")
      }
    }
    return found
  }

  func poolRules() async throws -> Found<PoolRules.Rule> {
    var found = Found<PoolRules.Rule>()
    for name in try await names("mta:pool-rules:*") {
      let scope = String(name.dropFirst("mta:pool-rules:".count))
      let rules = try await objects(name).compactMap { fields -> PoolRules.Rule? in
        guard fields["pool"] != nil || fields["dedicatedIp"] != nil else { return nil }
        // The key names the organisation, and after colons the domains, which the fields repeat.
        let domains = [fields["fromDomain"], fields["toDomain"]].compactMap { $0 }.map { ":" + $0 }.joined()
        let owner = scope.hasSuffix(domains) ? String(scope.dropLast(domains.count)) : scope
        return PoolRules.Rule(
          organizationId: fields["organizationId"] ?? owner, pool: fields["pool"], dedicatedIp: fields["dedicatedIp"],
          fromDomain: fields["fromDomain"]?.lowercased(), toDomain: fields["toDomain"]?.lowercased())
      }
      if rules.isEmpty { found.faults.append("\(name) has no rule with a pool or a dedicatedIp") }
      found.rows += rules
    }
    return found
  }

  func warming() async throws -> Found<Warming> {
    var found = Found<Warming>()
    let (start, end) = ("mta:warming:{warming:", "}:state")
    for name in try await names("mta:warming:*") where name.hasPrefix(start) && name.hasSuffix(end) {
      let fields = try await fields(name)
      let phase = fields["phase"]
      guard let ip = IPAddress.canonical(String(name.dropFirst(start.count).dropLast(end.count))),
        let day = (fields["day"] ?? fields["currentDay"]).flatMap({ Int($0) }), (1...365).contains(day) || phase == "graduated"
      else {
        found.faults.append("\(name) has no day")
        continue
      }
      found.rows.append(Warming(ip: ip, day: min(max(day, 1), 365), isGraduated: phase == "graduated"))
    }
    return found
  }

  // MARK: values

  private func names(_ pattern: String) async throws -> [String] {
    var names: Set<String> = []
    var cursor = "0"
    repeat {
      let answer = try await client.send(RedisCommand("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")).array ?? []
      guard answer.count == 2, let next = answer[0].string else { throw RedisError.unexpected("SCAN") }
      names.formUnion((answer[1].array ?? []).compactMap(\.string))
      cursor = next
    } while cursor != "0"
    return names.sorted()
  }

  private func members(_ key: String) async throws -> [String] {
    let command: RedisCommand
    switch try await client.send(RedisCommand("TYPE", key)).string {
    case "set": command = RedisCommand("SMEMBERS", key)
    case "zset": command = RedisCommand("ZRANGE", key, "0", "-1")
    case "hash": command = RedisCommand("HKEYS", key)
    default: return []
    }
    return (try await client.send(command, timeLimit: .seconds(120)).array ?? []).compactMap(\.string).sorted()
  }

  /// One value as fields: a hash, or a JSON object; another text stands under the empty name.
  private func fields(_ key: String) async throws -> [String: String] {
    switch try await client.send(RedisCommand("TYPE", key)).string {
    case "hash": return try await hash(key)
    case "string":
      let text = try await client.send(RedisCommand("GET", key)).string ?? ""
      return Self.json(text).first ?? ["": text]
    default: return [:]
    }
  }

  /// One value as a list of objects: JSON, or a hash that is one or whose fields hold some.
  private func objects(_ key: String) async throws -> [[String: String]] {
    switch try await client.send(RedisCommand("TYPE", key)).string {
    case "hash":
      let hash = try await hash(key)
      return hash["pool"] != nil || hash["dedicatedIp"] != nil ? [hash] : hash.sorted { $0.key < $1.key }.flatMap { Self.json($0.value) }
    case "string": return Self.json(try await client.send(RedisCommand("GET", key)).string ?? "")
    case "set": return try await members(key).flatMap(Self.json)
    default: return []
    }
  }

  private func hash(_ key: String) async throws -> [String: String] {
    let values = try await client.send(RedisCommand("HGETALL", key)).array ?? []
    var fields: [String: String] = [:]
    for index in stride(from: 0, to: values.count - 1, by: 2) {
      if let name = values[index].string, let value = values[index + 1].string { fields[name] = value }
    }
    return fields
  }

  /// The objects of a JSON text; texts, numbers and lists of texts of each, the rest left out.
  private static func json(_ text: String) -> [[String: String]] {
    let value = try? JSONSerialization.jsonObject(with: Data(text.utf8))
    let objects = (value as? [[String: Any]]) ?? (value as? [String: Any]).map { [$0] } ?? []
    return objects.map { object in
      object.compactMapValues { value in
        if let text = value as? String { return text }
        if let list = value as? [String] { return list.joined(separator: ", ") }
        return (value as? NSNumber).map { "\($0)" }
      }
    }
  }

  /// Unix milliseconds, or RFC 3339.
  private static func time(_ text: String?) -> Milliseconds? {
    guard let text, !text.isEmpty else { return nil }
    if let number = Int64(text) { return number }
    let formatter = ISO8601DateFormatter()
    for options: ISO8601DateFormatter.Options in [[.withInternetDateTime, .withFractionalSeconds], [.withInternetDateTime]] {
      formatter.formatOptions = options
      if let date = formatter.date(from: text) { return Int64(date.timeIntervalSince1970 * 1000) }
    }
    return nil
  }
}
