import Logging
import MTAConfig
import MailFormat
import Observability
import Redis

/// Whom a process is at Redis; an empty name is the default user.
struct RedisAccess: Sendable, Equatable {
  var username: String
  var password: String
}

/// A Redis user for each worker of this host, that may touch its own stream and call its own Functions
/// (``RedisKeys/workerRules(ip:host:)``). Passwords are random, live in memory, change with every start of a worker, and reach
/// it over its control socket. Redis forgets users when it restarts: they are made again before anything else is asked of it.
actor WorkerAccounts {
  private let isWanted: Bool
  private let store: QueueStore
  private let host: String
  private let prefix: String
  private let supervisor: RedisEndpoint
  /// The embedded server may be an adopted one, older than its password.
  private let setsOwnPassword: Bool
  private let log: Logger
  private let configured: [String]
  private var passwords: [String: String] = [:]
  private var isRefused = false

  init(config: MTAConfig, store: QueueStore, host: String, own: RedisEndpoint, log: Logger) {
    isWanted = config.redis.hasWorkerUsers
    setsOwnPassword = config.redis.url == "embedded"
    self.store = store
    configured = config.sourceIPs.map(\.address)
    self.host = host
    prefix = config.redis.prefix + "-worker-"
    supervisor = own
    self.log = log
  }

  private var own: RedisAccess { RedisAccess(username: supervisor.username, password: supervisor.currentPassword) }

  /// Unique among installations and hosts that share a Redis.
  func name(_ ip: String) -> String { prefix + ip + "@" + host }

  /// A fresh password for the worker that is about to start; the supervisor's own where users cannot be made.
  /// - Throws: ``RedisError`` when Redis is away.
  func admit(_ ip: String) async throws -> RedisAccess {
    guard isWanted, !isRefused else { return own }
    let password = Digest.hex(Digest.randomBytes(24))
    let client = store.client
    guard try await make(ip, password, { try await client.send($0) }) else { return own }
    passwords[ip] = password
    return RedisAccess(username: name(ip), password: password)
  }

  /// The worker has ended for now: so does its user, and whatever connection is left of it.
  func withdraw(_ ip: String) async {
    guard passwords.removeValue(forKey: ip) != nil else { return }
    _ = try? await store.client.send(RedisCommand("ACL", "DELUSER", name(ip)))
  }

  /// On a fresh connection: the users of running workers again, those of addresses that are no more away.
  func meet(_ sender: RedisClient.Sender) async throws {
    if setsOwnPassword { _ = try await sender.send(RedisCommand("CONFIG", "SET", "requirepass", own.password)) }
    guard isWanted, !isRefused else { return }
    for (ip, password) in passwords { _ = try await make(ip, password, { try await sender.send($0) }) }
    // A worker of an earlier life may still settle what it had under way: its user stays until its successor's replaces it.
    let known = Set((configured + passwords.keys).map(name))
    let users = (try? await sender.send(RedisCommand("ACL", "USERS")))?.array ?? []
    for user in users.compactMap(\.string) where user.hasPrefix(prefix) && user.hasSuffix("@" + host) && !known.contains(user) {
      _ = try? await sender.send(RedisCommand("ACL", "DELUSER", user))
    }
  }

  /// False when Redis does not let us make users.
  private func make(_ ip: String, _ password: String, _ send: (RedisCommand) async throws -> RESPValue) async throws -> Bool {
    var command = RedisCommand("ACL", "SETUSER", name(ip), "reset", "on", capacity: 1024)
    command.add(">" + password)
    for rule in store.keys.workerRules(ip: ip, host: host) { command.add(rule) }
    do {
      _ = try await send(command)
      return true
    } catch let error as RedisError {
      // Not for a moment (busy, loading, full), but for good.
      guard case .refused(let text) = error, text.hasPrefix("NOPERM") || text.hasPrefix("ERR unknown") else { throw error }
      if !isRefused {
        isRefused = true
        log.warning(
          "Redis does not let us make users: workers are who the supervisor is there (redis.worker_users: false accepts that)",
          metadata: [LogKey.error: "\(text)"])
      }
      return false
    }
  }
}
