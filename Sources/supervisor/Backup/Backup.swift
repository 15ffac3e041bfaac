import Foundation
import GRDB
import Glibc
import Journal
import MTAConfig
import MailModel
import Observability
import Redis

/// A backup of one installation: a folder laid out like its state directory, with `redis.rdb` for Redis and `backup.json`.
struct Backup {
  struct Manifest: Codable {
    static let name = "backup.json"
    static let version = 1

    var version = Self.version
    var at: Milliseconds
    /// Taken while nothing ran, no worker of this host nor another host on the same Redis: no message can have left after it.
    var isFinal: Bool
    var prefix: String

    init(at: Milliseconds, isFinal: Bool, prefix: String) { (self.at, self.isFinal, self.prefix) = (at, isFinal, prefix) }

    /// - Throws: `SetupError` for another form, whatever else is in it, and for what is none.
    init(reading data: Data) throws {
      struct Form: Decodable { var version: Int }
      let decoder = JSONDecoder()
      if let form = try? decoder.decode(Form.self, from: data), form.version != Self.version {
        throw SetupError("this backup has form \(form.version), this version reads form \(Self.version)")
      }
      do { self = try decoder.decode(Self.self, from: data) } catch { throw SetupError("this is no backup: its \(Self.name) is damaged") }
    }
  }

  /// Of the state directory, beside SQLite files and the journals. Configuration and credentials are the operator's.
  private static func isKept(_ name: String) -> Bool {
    name.hasSuffix(".json") || name.hasSuffix(".jsonl") || ["secret", "host-id"].contains(name)
  }

  static let redisFolders = ["appendonlydir"]

  let config: MTAConfig

  /// Writes into an empty folder. The order matters: what Redis lets go of is on disk by then (events and history are
  /// committed before Redis forgets them), and the journals, read last, know what was delivered after the moment of Redis.
  func write(to folder: String) throws -> Manifest {
    // The lock keeps a supervisor from starting meanwhile; held by one that runs.
    let lock: JournalLock?
    switch JournalLock.take(directory: config.stateDir) {
    case .success(let own): lock = own
    case .failure(.held): lock = nil
    case .failure(let error): throw SetupError("\(config.stateDir): \(error)")
    }
    let journalLocks = lock == nil ? nil : idleJournals()
    let isAlone = try config.redis.url == "embedded" || hosts() <= 1
    let manifest = Manifest(at: SystemClock.now(), isFinal: journalLocks != nil && isAlone, prefix: config.redis.prefix)
    try redis(to: folder, isRunning: lock == nil)
    let files = FileManager.default
    let names = try files.contentsOfDirectory(atPath: config.stateDir)
    for name in names where name.hasSuffix(".db") { try Self.copyDatabase(config.stateDir + "/" + name, to: folder + "/" + name) }
    for name in names where Self.isKept(name) { try files.copyItem(atPath: config.stateDir + "/" + name, toPath: folder + "/" + name) }
    try journals(to: folder)
    try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: folder + "/" + Manifest.name))
    return withExtendedLifetime((lock, journalLocks)) { manifest }
  }

  /// The locks of all journals; nil when a worker has one, as may be for a while after its supervisor was killed. A folder without a lock
  /// never had a worker.
  private func idleJournals() -> [JournalLock]? {
    let root = config.stateDir + "/journal"
    var locks: [JournalLock] = []
    for ip in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    where FileManager.default.fileExists(atPath: "\(root)/\(ip)/lock") {
      guard case .success(let lock) = JournalLock.take(directory: "\(root)/\(ip)") else { return nil }
      locks.append(lock)
    }
    return locks
  }

  /// That ever shared this queue.
  private func hosts() throws -> Int {
    guard let endpoint = config.redisAccess else { return 0 }
    return try RedisSnapshot.members(of: RedisKeys(prefix: config.redis.prefix).hosts, endpoint)
  }

  private func redis(to folder: String, isRunning: Bool) throws {
    let isEmbedded = config.redis.url == "embedded"
    let directory = config.stateDir + "/redis"
    guard let endpoint = config.redisAccess else { throw SetupError("redis.url \(config.redis.url) cannot be read from") }
    do { _ = try RedisSnapshot.save(endpoint, to: folder + "/redis.rdb") } catch {
      // A private server that has ended with its supervisor has left its files, and nobody writes them.
      guard isEmbedded, !isRunning else { throw error }
      unlink(folder + "/redis.rdb")
      for name in Self.redisFolders {
        try FileManager.default.createDirectory(atPath: folder + "/redis", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "\(directory)/\(name)", toPath: "\(folder)/redis/\(name)")
      }
    }
    // What Redis made for us and does not need.
    if isEmbedded { unlink(directory + "/dump.rdb") }
  }

  private static func copyDatabase(_ path: String, to copy: String) throws {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(30)
    let source = try DatabaseQueue(path: path, configuration: configuration)
    let target = try DatabaseQueue(path: copy)
    try source.backup(to: target)
    try target.close()
    try source.close()
  }

  private func journals(to folder: String) throws {
    let files = FileManager.default
    let root = config.stateDir + "/journal"
    for ip in (try? files.contentsOfDirectory(atPath: root)) ?? [] {
      let segments = ((try? files.contentsOfDirectory(atPath: "\(root)/\(ip)")) ?? []).filter { $0.hasSuffix(".journal") }
      try files.createDirectory(atPath: "\(folder)/journal/\(ip)", withIntermediateDirectories: true)
      // A segment that went meanwhile is past its time.
      for name in segments where files.fileExists(atPath: "\(root)/\(ip)/\(name)") {
        try files.copyItem(atPath: "\(root)/\(ip)/\(name)", toPath: "\(folder)/journal/\(ip)/\(name)")
      }
    }
  }

  /// Everything in a folder: how many files, how many octets.
  static func size(_ folder: String) -> (files: Int, octets: Int) {
    var (count, octets) = (0, 0)
    for name in FileManager.default.subpaths(atPath: folder) ?? [] {
      guard let attributes = try? FileManager.default.attributesOfItem(atPath: folder + "/" + name),
        attributes[.type] as? FileAttributeType == .typeRegular
      else { continue }
      count += 1
      octets += attributes[.size] as? Int ?? 0
    }
    return (count, octets)
  }
}
