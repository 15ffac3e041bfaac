import DeliveryPolicy
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
    /// Whose mail alone it signs; nil = anybody's.
    var organisation: String?
  }

  /// What was found of one kind, and what of it could not be understood.
  struct Found<Row: Sendable>: Sendable {
    var rows: [Row] = []
    var faults: [String] = []
  }

  let client: RedisClient

  /// Addresses asked for at once.
  static let slice = 500

  func keys() async throws -> Found<Key> {
    var found = Found<Key>()
    let names = try await names(Self.key + "*").filter { !$0.hasPrefix(Self.pending) && !$0.hasPrefix(Self.rotation) }
    for name in names {
      let domain = String(name.dropFirst(Self.key.count))
      // Upstream looks for lower case alone: another spelling signs nothing.
      guard domain == domain.lowercased() || !names.contains(Self.key + domain.lowercased()) else { continue }
      let fields = try await fields(name)
      if let selector = fields["selector"], let key = fields["privateKey"] ?? fields["private_key"] ?? fields["key"] {
        found.rows.append(
          Key(
            domain: domain, selector: selector, privateKey: key, returnPathHost: fields["returnPathHost"],
            organisation: fields["organizationId"].flatMap { $0.isEmpty ? nil : $0 }))
      } else {
        found.faults.append("\(name) has no selector and privateKey")
      }
    }
    return found
  }

  func suppressions(now: Milliseconds) async throws -> Found<Suppressions.Entry> {
    var found = Found<Suppressions.Entry>()
    let emails = try await members("mta:suppressed")
    let ends = try await scores("mta:suppressed-expiring")
    for start in stride(from: 0, to: emails.count, by: Self.slice) {
      let slice = emails[start..<min(start + Self.slice, emails.count)]
      var command = RedisCommand("MGET")
      for email in slice { command.add("mta:suppressed-meta:\(email)") }
      let texts = (try await client.send(command).array ?? []).map(\.string)
      for (email, text) in zip(slice, texts) {
        guard let address = EmailAddress(email) else {
          found.faults.append("mta:suppressed: \(email) is no address")
          continue
        }
        let meta = text.flatMap { Self.json($0).first } ?? [:]
        let reason = meta["reason"] ?? "manual"
        found.rows.append(
          Suppressions.Entry(
            email: address.normalised, reason: Suppressions.reasons.contains(reason) ? reason : "manual",
            source: meta["source"] ?? "upstream", suppressedAt: Self.time(meta["suppressedAt"]) ?? now,
            expiresAt: Self.time(meta["expiresAt"]) ?? (text == nil ? ends[email] : nil)))
      }
    }
    return found
  }

  /// Key → row; upstream keeps its API keys in clear, as names.
  func credentials(now: Milliseconds) async throws -> Found<(key: String, row: Credentials.Row)> {
    var found = Found<(key: String, row: Credentials.Row)>()
    for name in try await names("mta:cred:*") {
      let key = String(name.dropFirst("mta:cred:".count))
      let fields = try await fields(name)
      guard let organisation = fields["organizationId"] ?? fields["orgId"] ?? fields[""], !organisation.isEmpty else {
        found.faults.append("mta:cred:\(key.prefix(10))… has no organizationId")
        continue
      }
      var row = Credentials.Row(
        organizationId: organisation, name: fields["name"] ?? "", createdAt: Self.time(fields["createdAt"]) ?? now, lastUsedAt: nil,
        prefix: String(key.prefix(10)))
      if let listed = fields["allowedDomains"] {
        let names = listed.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        let domains = names.compactMap { DomainName.ascii($0) }.filter { DomainName.isMailDomain($0) }
        guard domains.count == names.count, domains.count <= Credentials.mostDomains else {
          // None is to reach further than it did.
          found.faults.append("mta:cred:\(key.prefix(10))… has allowedDomains that are not understood: make another key")
          continue
        }
        row.allowedDomains = domains
      }
      found.rows.append((key, row))
    }
    return found
  }

  func poolRules() async throws -> Found<PoolRules.Rule> {
    var found = Found<PoolRules.Rule>()
    for name in try await names("mta:pool-rules:*") {
      let scope = String(name.dropFirst("mta:pool-rules:".count))
      let rules = try await objects(name).compactMap { fields -> PoolRules.Rule? in
        guard fields["pool"] != nil || fields["dedicatedIp"] != nil else { return nil }
        // The key names the organisation, and after colons the domains, which the fields repeat. Without an author's domain it does
        // not name the recipient's, and upstream looks at none.
        let from = fields["fromDomain"]
        let to = from == nil ? nil : fields["toDomain"]
        let domains = [from, to].compactMap { $0 }.map { ":" + $0 }.joined()
        let owner = scope.hasSuffix(domains) ? String(scope.dropLast(domains.count)) : scope
        return PoolRules.Rule(
          organizationId: fields["organizationId"] ?? owner, pool: fields["pool"], dedicatedIp: fields["dedicatedIp"],
          fromDomain: from.map(Self.domain), toDomain: to.map(Self.domain))
      }
      if rules.isEmpty { found.faults.append("\(name) has no rule with a pool or a dedicatedIp") }
      found.rows += rules
    }
    return found
  }

  /// IP → where it stands.
  func warming(now: Milliseconds) async throws -> Found<(ip: String, state: WarmingHandover)> {
    var found = Found<(ip: String, state: WarmingHandover)>()
    let names = try await names(Self.warming + "*")
    var seen: Set<String> = []
    // Both forms of its releases; where one IP has both, upstream reads the newer, which has braces.
    for (start, end) in [(Self.warming + "{warming:", "}:state"), (Self.warming, "")] {
      for name in names where name.hasPrefix(start) && name.hasSuffix(end) {
        guard let ip = IPAddress.canonical(String(name.dropFirst(start.count).dropLast(end.count))) else {
          if !end.isEmpty { found.faults.append("\(name) names no IP") }
          continue
        }
        guard seen.insert(ip).inserted else { continue }
        let fields = try await fields(name)
        let isGraduated = fields["phase"] == "graduated"
        let day = fields["currentDay"].flatMap { Int($0) }
        guard let day = day ?? (isGraduated ? 30 : nil), isGraduated || (1...365).contains(day) else {
          found.faults.append("\(name) has no day")
          continue
        }
        let today = Timestamp.rfc3339(now).prefix(10)
        found.rows.append(
          (
            ip,
            WarmingHandover(
              day: day, cap: fields["dailyCap"].flatMap { Int($0) }, isHalted: fields["phase"] == "plateau", isGraduated: isGraduated,
              multipliers: try await multipliers(
                &found.faults, start + String(name.dropFirst(start.count).dropLast(end.count)) + "}:provider:", names),
              sentToday: fields["sentTodayReset"].map { $0 == today } == true ? fields["sentToday"].flatMap { Int($0) } ?? 0 : 0)
          ))
      }
    }
    return found
  }

  /// Provider → thousandths of the cap, of the names `START provider :state`.
  private func multipliers(_ faults: inout [String], _ start: String, _ names: [String]) async throws -> [String: Int] {
    var multipliers: [String: Int] = [:]
    for name in names where name.hasPrefix(start) && name.hasSuffix(":state") {
      // Upstream writes it with a provider's first decision; until then it is the whole.
      guard let text = try await fields(name)["capMultiplier"] else { continue }
      guard let share = Double(text), (0...1).contains(share) else {
        faults.append("the capMultiplier of \(name) is not from 0 to 1: \(text.prefix(40))")
        continue
      }
      multipliers[String(name.dropFirst(start.count).dropLast(":state".count))] = Int(share * 1000)
    }
    return multipliers
  }

  /// What upstream has beside what is brought over.
  func left() async throws -> [UpstreamImport.Report.Left] {
    var left: [UpstreamImport.Report.Left] = []
    for (pattern, what) in [
      (Self.pending + "*", "DKIM keys that wait to become active"), ("mta:org-config:*", "organisation limits"),
      ("mta:isp-profile:*", "provider profiles"), ("mta:inbound-routes:*", "inbound routes"),
    ] {
      let count = try await names(pattern).count
      if count > 0 { left.append(.init(what: what, count: count)) }
    }
    for (key, what) in [("mta:outbound-tls:overrides", "TLS demands by domain"), ("mta:screening:url-blocklist", "blocked URLs")] {
      let count = try await members(key).count
      if count > 0 { left.append(.init(what: what, count: count)) }
    }
    return left
  }

  private static let key = "mta:dkim:"
  private static let pending = "mta:dkim:pending:"
  private static let rotation = "mta:dkim:rotation:"
  private static let warming = "mta:warming:"

  private static func domain(_ text: String) -> String { DomainName.ascii(text) ?? text.lowercased() }

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

  /// Member → score, of a sorted set.
  private func scores(_ key: String) async throws -> [String: Milliseconds] {
    let values = try await client.send(RedisCommand("ZRANGE", key, "0", "-1", "WITHSCORES"), timeLimit: .seconds(120)).array ?? []
    var scores: [String: Milliseconds] = [:]
    for index in stride(from: 0, to: values.count - 1, by: 2) {
      if let name = values[index].string, let score = values[index + 1].string.flatMap({ Double($0) }) {
        scores[name] = Int64(exactly: score.rounded())
      }
    }
    return scores
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
        if value is NSNull { return nil }
        // What is of another form must not look as if it were not there.
        return (value as? NSNumber).map { "\($0)" } ?? "?"
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
