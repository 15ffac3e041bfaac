import ControlProtocol
import Foundation
import MailFormat
import MailModel
import Observability
import Redis

/// DKIM keys by domain: sealed in Redis, opened here, handed to workers over their control sockets (contract section 11.2).
actor KeyStore {
  struct Row: Codable, Sendable, Equatable {
    var selector: String
    var sealed: String
    var addedAt: Milliseconds
    var rotatedAt: Milliseconds
    var returnPathHost: String?
    /// The Ed25519 key beside the RSA key: mail then has both signatures.
    var second: Second?
    /// Whose mail alone it signs; nil = that of whoever owns the domain above, else of all.
    var organizationId: String?
  }

  struct Second: Codable, Sendable, Equatable {
    var selector: String
    var sealed: String
  }

  struct Listed: Encodable, Sendable {
    var domain: String
    var selector: String
    var addedAt: Milliseconds
    var rotatedAt: Milliseconds
    var ed25519Selector: String?
    var organizationId: String?
  }

  /// What makes a key unfit for its domain.
  enum Fault: Error, Equatable, CustomStringConvertible {
    case needsRSAFirst
    case sameSelector
    /// It has a key with this selector, and another was asked for.
    case hasSelector(String)
    /// Its key signs for another organisation; who means to give it away takes the owner off first.
    case isAnothers

    var description: String {
      switch self {
      case .needsRSAFirst: "an Ed25519 key stands beside an RSA key: set that first"
      case .sameSelector: "the other key of this domain has this selector"
      case .hasSelector(let selector): "the domain has a key already, with selector \(selector)"
      case .isAnothers: "the domain is registered to another organization: take that off first (organizationId null)"
      }
    }
  }

  /// Other hosts may change a key: what is remembered is looked at again after this.
  private static let memory: Milliseconds = 15_000

  private let hash: RedisHash
  private let box: SecretBox
  private var cache: [String: (row: Row?, at: Milliseconds)] = [:]
  private var onChange: @Sendable (String) async -> Void = { _ in }

  init(store: QueueStore, box: SecretBox) {
    hash = RedisHash(client: store.client, key: store.keys.dkim)
    self.box = box
  }

  func setChangeHandler(_ handler: @escaping @Sendable (String) async -> Void) { onChange = handler }

  func row(_ domain: String) async throws -> Row? { try await rows([domain])[0] }

  /// In the order of the domains; one question for all that are not remembered.
  private func rows(_ domains: [String]) async throws -> [Row?] {
    let now = SystemClock.now()
    if cache.count > 50_000 { cache = [:] }
    let unknown = domains.filter { domain in cache[domain].map { now - $0.at >= Self.memory } ?? true }
    var found = Dictionary(domains.map { ($0, cache[$0]?.row) }, uniquingKeysWith: { first, _ in first })
    for (domain, text) in zip(unknown, try await hash.get(unknown)) {
      let row = text.flatMap(Self.decode)
      found[domain] = .some(row)
      cache[domain] = (row, now)
    }
    return domains.map { found[$0] ?? nil }
  }

  /// The keys of a domain and of those above it, nearest first.
  private func lineage(_ domain: String) async throws -> [(domain: String, row: Row)] {
    var domains: [String] = []
    var rest = domain[...]
    while DomainName.isMailDomain(rest) {
      domains.append(String(rest))
      guard let dot = rest.firstIndex(of: ".") else { break }
      rest = rest[rest.index(after: dot)...]
    }
    return zip(domains, try await rows(domains)).compactMap { domain, row in row.map { (domain, $0) } }
  }

  /// The key of a domain, or of the nearest one above it that has one.
  func nearest(_ domain: String) async throws -> (domain: String, row: Row)? { try await lineage(domain).first }

  /// Whose a domain is: the owner of its key, or of the nearest one above it whose key has one; nil = anybody's.
  func owner(of domain: String) async throws -> String? { try await lineage(domain).lazy.compactMap(\.row.organizationId).first }

  /// Unsealed, for a worker; none when the domain has none or it cannot be opened.
  /// - Throws: ``RedisError`` while nobody can say.
  func signingKeys(_ domain: String) async throws -> [SigningKey] {
    // Whoever accepted the mail saw a key: that there was none is not believed of memory.
    if let known = cache[domain], known.row == nil { cache[domain] = nil }
    guard let row = try await row(domain), let pem = try? box.open(row.sealed, for: domain) else { return [] }
    var keys = [SigningKey(domain: domain, selector: row.selector, privateKeyPEM: pem)]
    if let second = row.second, let pem = try? box.open(second.sealed, for: domain) {
      keys.append(SigningKey(domain: domain, selector: second.selector, privateKeyPEM: pem))
    }
    return keys
  }

  /// Sets or replaces a domain's key of this kind; the other kind stays. `organisation`: nil leaves the owner, `.some(nil)` clears.
  /// - Throws: ``RenderError/signing(_:)`` when the key is not usable, ``Fault`` when it does not fit what the domain has.
  /// - Returns: the DNS record of that key.
  @discardableResult
  func set(domain: String, selector: String, pem: String, organisation: String?? = nil) async throws -> String {
    let key = try DKIMKey(domain: domain, selector: selector, pem: pem)
    let sealed = try box.seal(pem, for: domain)
    _ = try await change(domain) { before in
      let now = SystemClock.now()
      var row: Row
      switch key.algorithm {
      case .rsa:
        guard before?.second?.selector != selector else { throw Fault.sameSelector }
        row = Row(selector: selector, sealed: sealed, addedAt: before?.addedAt ?? now, rotatedAt: now)
        (row.returnPathHost, row.second, row.organizationId) = (before?.returnPathHost, before?.second, before?.organizationId)
      case .ed25519:
        guard let before else { throw Fault.needsRSAFirst }
        guard before.selector != selector else { throw Fault.sameSelector }
        row = before
        row.second = Second(selector: selector, sealed: sealed)
        row.rotatedAt = now
      }
      try row.give(to: organisation)
      return row
    }
    return key.dnsRecord
  }

  struct Registration: Sendable {
    var row: Row
    var dnsRecord: String
    var isCreated: Bool
  }

  /// The domain's key, generated when it has none; never replaces one. `returnPathHost` and `organisation`: nil leaves it,
  /// `.some(nil)` clears.
  /// - Parameter selector: that the key must have; nil = any, and by its time for one that is made.
  func register(domain: String, returnPathHost: String?? = nil, organisation: String?? = nil, selector: String? = nil) async throws
    -> Registration
  {
    var fresh: Row?
    if try await hash.get(domain) == nil {
      let now = SystemClock.now()
      let pem = try DKIMKey.generate()
      let name = selector ?? "s\(now)"
      // It must be one that can sign.
      _ = try DKIMKey(domain: domain, selector: name, pem: pem)
      fresh = Row(selector: name, sealed: try box.seal(pem, for: domain), addedAt: now, rotatedAt: now)
    }
    let (row, isCreated) = try await change(domain) { before in
      guard var row = before ?? fresh else { throw RedisError.unexpected("the key is gone again") }
      if let selector, row.selector != selector { throw Fault.hasSelector(row.selector) }
      row.returnPathHost = returnPathHost ?? row.returnPathHost
      try row.give(to: organisation)
      return row
    }
    let key = try DKIMKey(domain: domain, selector: row.selector, pem: try box.open(row.sealed, for: domain))
    return Registration(row: row, dnsRecord: key.dnsRecord, isCreated: isCreated)
  }

  /// A key that was another installation's, whole; false when the domain has one here.
  func adopt(domain: String, selector: String, pem: String, returnPathHost: String?, organisation: String?) async throws -> Bool {
    let now = SystemClock.now()
    var row = Row(selector: selector, sealed: try box.seal(pem, for: domain), addedAt: now, rotatedAt: now, returnPathHost: returnPathHost)
    row.organizationId = organisation
    cache[domain] = nil
    return try await hash.setIfAbsent(domain, try Self.encode(row))
  }

  func remove(domain: String) async throws -> Bool {
    let removed = try await hash.remove(domain)
    cache[domain] = nil
    await onChange(domain)
    return removed
  }

  func list() async throws -> [Listed] {
    try await hash.all().compactMap { domain, text in
      Self.decode(text).map {
        Listed(
          domain: domain, selector: $0.selector, addedAt: $0.addedAt, rotatedAt: $0.rotatedAt, ed25519Selector: $0.second?.selector,
          organizationId: $0.organizationId)
      }
    }.sorted { $0.domain < $1.domain }
  }

  /// Keys of `DKIM_KEYS`, for domains that have none.
  func seed(_ seeds: [(domain: String, selector: String, privateKey: String)]) async throws {
    for seed in seeds where try await row(seed.domain) == nil {
      try await set(domain: seed.domain, selector: seed.selector, pem: seed.privateKey)
    }
  }

  /// From what Redis has, not from what is remembered here: another host, or another request, may have changed it.
  /// - Parameter step: the row before → the row after.
  /// - Returns: the row as it is now, and whether there was none.
  private func change(_ domain: String, _ step: (Row?) throws -> Row) async throws -> (row: Row, isCreated: Bool) {
    let (row, isCreated, isChanged) = try await hash.change(domain) { text in
      let before = text.flatMap(Self.decode)
      let row = try step(before)
      return (row == before ? text : try Self.encode(row), (row, text == nil, row != before))
    }
    cache[domain] = (row, SystemClock.now())
    if isChanged { await onChange(domain) }
    return (row, isCreated)
  }

  private static func encode(_ row: Row) throws -> String { String(decoding: try JSONEncoder().encode(row), as: UTF8.self) }
  private static func decode(_ text: String) -> Row? { try? JSONDecoder().decode(Row.self, from: Data(text.utf8)) }
}

extension KeyStore.Row {
  /// Nil leaves the owner, `.some(nil)` clears.
  fileprivate mutating func give(to organisation: String??) throws {
    guard let organisation else { return }
    if let organisation, let organizationId, organisation != organizationId { throw KeyStore.Fault.isAnothers }
    organizationId = organisation
  }
}

extension KeyStore {
  /// Hosts of return-paths that differ from the configuration's.
  func returnPathHosts() async throws -> Set<String> {
    Set(
      try await hash.all().compactMap { _, text in Self.decode(text)?.returnPathHost })
  }
}
