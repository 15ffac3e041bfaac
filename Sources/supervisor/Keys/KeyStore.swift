import ControlProtocol
import Foundation
import MailFormat
import MailModel
import Observability
import Redis

/// DKIM keys by domain: sealed in Redis, opened here, handed to workers over their control sockets (contract section 11.2).
actor KeyStore {
  struct Row: Codable, Sendable {
    var selector: String
    var sealed: String
    var addedAt: Milliseconds
    var rotatedAt: Milliseconds
    var returnPathHost: String?
    /// The Ed25519 key beside the RSA key: mail then has both signatures.
    var second: Second?
  }

  struct Second: Codable, Sendable {
    var selector: String
    var sealed: String
  }

  struct Listed: Encodable, Sendable {
    var domain: String
    var selector: String
    var addedAt: Milliseconds
    var rotatedAt: Milliseconds
    var ed25519Selector: String?
  }

  /// What makes a key unfit for its domain.
  enum Fault: Error, CustomStringConvertible {
    case needsRSAFirst
    case sameSelector

    var description: String {
      switch self {
      case .needsRSAFirst: "an Ed25519 key stands beside an RSA key: set that first"
      case .sameSelector: "the other key of this domain has this selector"
      }
    }
  }

  /// Other hosts may change a key: what is remembered is looked at again after this.
  private static let memory: Milliseconds = 15_000

  private let store: QueueStore
  private let box: SecretBox
  private var cache: [String: (row: Row?, at: Milliseconds)] = [:]
  private var onChange: @Sendable (String) async -> Void = { _ in }

  init(store: QueueStore, box: SecretBox) {
    self.store = store
    self.box = box
  }

  func setChangeHandler(_ handler: @escaping @Sendable (String) async -> Void) { onChange = handler }

  func row(_ domain: String) async throws -> Row? {
    let now = SystemClock.now()
    if let known = cache[domain], now - known.at < Self.memory { return known.row }
    let row = try await store.dkim(domain: domain).flatMap { try? JSONDecoder().decode(Row.self, from: Data($0.utf8)) }
    if cache.count > 50_000 { cache = [:] }
    cache[domain] = (row, now)
    return row
  }

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

  /// Sets or replaces a domain's key of this kind; the other kind stays.
  /// - Throws: ``RenderError/signing(_:)`` when the key is not usable, ``Fault`` when it does not fit the domain's other key.
  /// - Returns: the DNS record of that key.
  @discardableResult
  func set(domain: String, selector: String, pem: String) async throws -> String {
    let key = try DKIMKey(domain: domain, selector: selector, pem: pem)
    let now = SystemClock.now()
    let before = try await row(domain)
    let sealed = try box.seal(pem, for: domain)
    switch key.algorithm {
    case .rsa:
      guard before?.second?.selector != selector else { throw Fault.sameSelector }
      var row = Row(
        selector: selector, sealed: sealed, addedAt: before?.addedAt ?? now, rotatedAt: now, returnPathHost: before?.returnPathHost)
      row.second = before?.second
      try await write(domain, row)
    case .ed25519:
      guard var row = before else { throw Fault.needsRSAFirst }
      guard row.selector != selector else { throw Fault.sameSelector }
      row.second = Second(selector: selector, sealed: sealed)
      row.rotatedAt = now
      try await write(domain, row)
    }
    return key.dnsRecord
  }

  struct Registration: Sendable {
    var row: Row
    var dnsRecord: String
    var isCreated: Bool
  }

  /// The domain's key, generated when it has none; never replaces one. `returnPathHost`: nil leaves it, `.some(nil)` clears.
  /// - Parameter selector: of a key that is made; nil = by its time.
  func register(domain: String, returnPathHost: String??, selector: String? = nil) async throws -> Registration {
    var isCreated = false
    if try await row(domain) == nil {
      let now = SystemClock.now()
      let pem = try DKIMKey.generate()
      let name = selector ?? "s\(now)"
      // It must be one that can sign.
      _ = try DKIMKey(domain: domain, selector: name, pem: pem)
      let fresh = Row(selector: name, sealed: try box.seal(pem, for: domain), addedAt: now, rotatedAt: now)
      isCreated = try await store.setDKIMIfAbsent(domain: domain, try encode(fresh))
      cache[domain] = nil
    }
    guard var row = try await row(domain) else { throw RedisError.unexpected("the key is gone again") }
    if let host = returnPathHost, host != row.returnPathHost {
      row.returnPathHost = host
      try await write(domain, row)
    }
    let key = try DKIMKey(domain: domain, selector: row.selector, pem: try box.open(row.sealed, for: domain))
    return Registration(row: row, dnsRecord: key.dnsRecord, isCreated: isCreated)
  }

  func remove(domain: String) async throws -> Bool {
    let removed = try await store.removeDKIM(domain: domain)
    cache[domain] = nil
    await onChange(domain)
    return removed
  }

  func list() async throws -> [Listed] {
    try await store.dkimDomains().compactMap { domain, text in
      (try? JSONDecoder().decode(Row.self, from: Data(text.utf8))).map {
        Listed(domain: domain, selector: $0.selector, addedAt: $0.addedAt, rotatedAt: $0.rotatedAt, ed25519Selector: $0.second?.selector)
      }
    }.sorted { $0.domain < $1.domain }
  }

  /// Keys of `DKIM_KEYS`, for domains that have none.
  func seed(_ seeds: [(domain: String, selector: String, privateKey: String)]) async throws {
    for seed in seeds where try await row(seed.domain) == nil {
      try await set(domain: seed.domain, selector: seed.selector, pem: seed.privateKey)
    }
  }

  private func write(_ domain: String, _ row: Row) async throws {
    try await store.setDKIM(domain: domain, try encode(row))
    cache[domain] = (row, SystemClock.now())
    await onChange(domain)
  }

  private func encode(_ row: Row) throws -> String { String(decoding: try JSONEncoder().encode(row), as: UTF8.self) }
}

extension KeyStore {
  /// Hosts of return-paths that differ from the configuration's.
  func returnPathHosts() async throws -> Set<String> {
    Set(
      try await store.dkimDomains().compactMap { _, text in
        (try? JSONDecoder().decode(Row.self, from: Data(text.utf8)))?.returnPathHost
      })
  }
}
