import Foundation
import Glibc
import Journal
import MTAConfig
import MailModel
import NIOCore
import NIOPosix
import Observability
import Redis
import Synchronization

/// Brings a backup into an empty state directory. The queue may hold messages that left after the backup was taken: unless
/// nothing ran then, every organisation that has mail in it starts paused, so that nothing is sent twice unseen.
struct Restore {
  struct Result {
    var manifest: Backup.Manifest
    var messages: Int
    var paused: [String]
  }

  /// Numbers given out after the backup are never given out again: event ids and journal lines are known by them.
  private static let numberGap = 1 << 32

  let config: MTAConfig
  let stateDir: String
  let redisDir: String
  /// Nothing is paused: the operator knows that no message left after the backup.
  let releases: Bool

  /// Refuses a directory that holds anything.
  static func requireEmpty(_ path: String, but lock: String? = nil) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    guard names.allSatisfy({ $0 == "lost+found" || $0 == lock }) else {
      throw SetupError("\(path) is not empty: a backup is restored into an empty directory")
    }
  }

  private static func isSame(_ one: String, _ other: String) -> Bool {
    let paths = [one, other].map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().standardizedFileURL.path }
    return paths[0] == paths[1]
  }

  /// - Parameter unpack: brings the backup's content into the state directory.
  func run(unpack: (String) async throws -> Void) async throws -> Result {
    try Self.requireEmpty(stateDir)
    try Self.requireEmpty(redisDir)
    let owner = Self.owner(stateDir)
    let files = FileManager.default
    try files.createDirectory(atPath: stateDir, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    // Whoever starts meanwhile, by a request at a socket unit, finds another one at work and ends.
    let lock: JournalLock
    switch JournalLock.take(directory: stateDir) {
    case .success(let own): lock = own
    case .failure(.held): throw SetupError("\(stateDir) is in use: stop the supervisor and its socket units first")
    case .failure(let error): throw SetupError("\(stateDir): \(error)")
    }
    defer { withExtendedLifetime(lock) {} }
    // Another may have been at work, and have ended, since we looked.
    try Self.requireEmpty(stateDir, but: "lock")
    try Self.requireEmpty(redisDir, but: Self.isSame(stateDir, redisDir) ? "lock" : nil)
    do {
      try await unpack(stateDir)
      try Task.checkCancellation()
      let path = stateDir + "/" + Backup.Manifest.name
      guard let data = files.contents(atPath: path) else { throw SetupError("this is no backup: it has no \(Backup.Manifest.name)") }
      let manifest = try Backup.Manifest(reading: data)
      guard !config.secret.isEmpty || files.fileExists(atPath: stateDir + "/secret") else {
        throw SetupError("this backup has no secret, and the configuration has none: its keys could not be opened")
      }
      guard manifest.prefix == config.redis.prefix else {
        throw SetupError("this backup is of redis.prefix \(manifest.prefix), the configuration says \(config.redis.prefix)")
      }
      let (messages, paused) = try await restoreRedis(manifest)
      try files.removeItem(atPath: path)
      if let owner { Self.give([stateDir, redisDir], to: owner) }
      return Result(manifest: manifest, messages: messages, paused: paused)
    } catch {
      // It was empty: it is again.
      for directory in [stateDir, redisDir] {
        for name in (try? files.contentsOfDirectory(atPath: directory)) ?? [] where name != "lost+found" {
          try? files.removeItem(atPath: directory + "/" + name)
        }
      }
      throw error
    }
  }

  // MARK: Redis

  /// A server of our own reads the data, is told what changes, writes an append-only file, and ends.
  private func restoreRedis(_ manifest: Backup.Manifest) async throws -> (messages: Int, paused: [String]) {
    let files = FileManager.default
    try files.createDirectory(atPath: redisDir, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let isSnapshot = files.fileExists(atPath: stateDir + "/redis.rdb")
    if isSnapshot {
      try files.moveItem(atPath: stateDir + "/redis.rdb", toPath: redisDir + "/dump.rdb")
    } else {
      for name in Backup.redisFolders where !Self.isSame(redisDir, stateDir + "/redis") {
        try files.moveItem(atPath: "\(stateDir)/redis/\(name)", toPath: "\(redisDir)/\(name)")
      }
    }
    if !isSnapshot { _ = try AppendOnlyFile.mend(redisDir + "/appendonlydir") }
    let socket = redisDir + "/restore.sock"
    guard socket.utf8.count < 108 else { throw SetupError("\(redisDir) is too long for a socket's path") }
    guard let program = EmbeddedRedis.find() else { throw SetupError("redis-server is not installed (Debian: redis-server)") }
    let server = try ChildProcess.spawn(
      program,
      [
        "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", redisDir, "--save", "", "--dbfilename", "dump.rdb",
        "--appendonly", isSnapshot ? "no" : "yes", "--logfile", redisDir + "/restore.log",
      ], environment: ["PATH=/usr/bin:/bin"], control: nil)
    let hasEnded = StopFlag()
    let end = Task {
      _ = await server.exit()
      hasEnded.set()
    }
    let client = RedisClient(
      endpoint: RedisEndpoint(address: .unix(path: socket)), eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
      loadsFunctions: true, clock: SystemClock.now)
    let keys = RedisKeys(prefix: config.redis.prefix)
    let unreadable = Mutex<QueueFormat.Unreadable?>(nil)
    let connection = Task {
      await client.run { _, sender in
        do { try await QueueFormat.check(keys, sender) } catch let error as QueueFormat.Unreadable {
          unreadable.withLock { $0 = error }
          throw error
        }
      }
    }
    defer { connection.cancel() }
    do {
      try await wait("redis-server reads the data", atMost: 3_600_000) {
        guard !hasEnded.isSet else { throw SetupError("redis-server cannot read the backup's data: it is damaged") }
        if let error = unreadable.withLock({ $0 }) { throw error }
        return client.session != nil
      }
      let result = try await edit(QueueStore(client: client, keys: keys), manifest)
      if isSnapshot { try await writeAppendOnly(client) }
      connection.cancel()
      server.send(signal: SIGTERM)
      await end.value
      for name in ["dump.rdb", "restore.sock", "restore.log"] { try? files.removeItem(atPath: redisDir + "/" + name) }
      return result
    } catch {
      server.send(signal: SIGKILL)
      await end.value
      throw error
    }
  }

  private func edit(_ store: QueueStore, _ manifest: Backup.Manifest) async throws -> (messages: Int, paused: [String]) {
    _ = try await store.reserveNumbers(Self.numberGap)
    let messages = try await store.liveCount()
    guard !manifest.isFinal, !releases else { return (messages, []) }
    let organisations = try await Self.organisations(store)
    let row = Pauses.Row(
      since: SystemClock.now(),
      reason: "restored from a backup of \(Timestamp.rfc3339(manifest.at)): what left after it would go a second time")
    let text = String(decoding: try JSONEncoder().encode(row), as: UTF8.self)
    try await RedisHash(client: store.client, key: store.keys.pauses).set(
      organisations.map { (Pauses.Key(scope: .organisation, name: $0).description, text) })
    return (messages, organisations)
  }

  /// Of every message that has not ended; the server is ours alone, so one long script does no harm.
  private static func organisations(_ store: QueueStore) async throws -> [String] {
    let script = """
      local found, list, cursor = {}, {}, '0'
      repeat
        local answer = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
        cursor = answer[1]
        for _, key in ipairs(answer[2]) do
          local org = redis.call('HGET', key, 'o')
          if org and not found[org] then
            found[org] = true
            list[#list + 1] = org
          end
        end
      until cursor == '0'
      return list
      """
    let answer = try await store.client.send(RedisCommand("EVAL", script, "0", store.keys.prefix + ":r:*"), timeLimit: .hours(1))
    return (answer.array ?? []).compactMap(\.string).sorted()
  }

  private func writeAppendOnly(_ client: RedisClient) async throws {
    _ = try await client.send(RedisCommand("CONFIG", "SET", "appendonly", "yes"), timeLimit: .hours(1))
    try await wait("redis-server writes its append-only file", atMost: 3_600_000) {
      let info = try await client.send(RedisCommand("INFO", "persistence")).string ?? ""
      return info.contains("aof_enabled:1") && info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
        && info.contains("aof_last_bgrewrite_status:ok")
    }
  }

  private func wait(_ what: String, atMost limit: Int64, _ condition: () async throws -> Bool) async throws {
    let deadline = SystemClock.monotonic() + limit
    while try await !condition() {
      guard SystemClock.monotonic() < deadline else { throw SetupError("\(what): not within \(limit / 1000) s") }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  // MARK: owners

  /// Whose the state directory is; root restores for the product's own user.
  private static func owner(_ path: String) -> (uid: uid_t, gid: gid_t)? {
    guard geteuid() == 0 else { return nil }
    if let attributes = try? FileManager.default.attributesOfItem(atPath: path), let uid = attributes[.ownerAccountID] as? Int, uid != 0,
      let gid = attributes[.groupOwnerAccountID] as? Int
    {
      return (uid_t(uid), gid_t(gid))
    }
    return getpwnam("owlat-mta").map { ($0.pointee.pw_uid, $0.pointee.pw_gid) }
  }

  private static func give(_ roots: [String], to owner: (uid: uid_t, gid: gid_t)) {
    for root in roots {
      chown(root, owner.uid, owner.gid)
      for name in FileManager.default.subpaths(atPath: root) ?? [] { lchown(root + "/" + name, owner.uid, owner.gid) }
    }
  }
}
