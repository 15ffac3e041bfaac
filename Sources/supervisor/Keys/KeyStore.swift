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
  }

  struct Listed: Encodable, Sendable {
    var domain: String
    var selector: String
    var addedAt: Milliseconds
    var rotatedAt: Milliseconds
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

  /// Unsealed, for a worker; nil when the domain has none or it cannot be opened.
  func signingKey(_ domain: String) async -> SigningKey? {
    guard let row = try? await row(domain), let pem = try? box.open(row.sealed, for: domain) else { return nil }
    return SigningKey(domain: domain, selector: row.selector, privateKeyPEM: pem)
  }

  /// Sets or replaces a domain's key.
  /// - Throws: ``RenderError/signing(_:)`` when the key is no usable RSA key.
  func set(domain: String, selector: String, pem: String) async throws {
    _ = try DKIMKey(domain: domain, selector: selector, pem: pem)
    let now = SystemClock.now()
    let before = try await row(domain)
    let row = Row(
      selector: selector, sealed: try box.seal(pem, for: domain), addedAt: before?.addedAt ?? now, rotatedAt: now,
      returnPathHost: before?.returnPathHost)
    try await write(domain, row)
  }

  struct Registration: Sendable {
    var row: Row
    var dnsRecord: String
    var isCreated: Bool
  }

  /// The domain's key, generated when it has none; never replaces one. `returnPathHost`: nil leaves it, `.some(nil)` clears.
  func register(domain: String, returnPathHost: String??) async throws -> Registration {
    var isCreated = false
    if try await row(domain) == nil {
      let now = SystemClock.now()
      let pem = try DKIMKey.generate()
      let fresh = Row(selector: "s\(now)", sealed: try box.seal(pem, for: domain), addedAt: now, rotatedAt: now)
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
        Listed(domain: domain, selector: $0.selector, addedAt: $0.addedAt, rotatedAt: $0.rotatedAt)
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
