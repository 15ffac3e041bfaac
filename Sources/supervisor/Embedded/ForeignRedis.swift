import Logging
import MTAConfig
import Observability
import Redis

/// A Redis that others start and set up. What it lacks to keep accepted mail is said once for each of its runs; where nobody mends
/// its append-only file (``AppendOnlyFile``), that is written anew. No fault here keeps the connection from opening.
actor ForeignRedis {
  private let durability: MTAConfig.RedisServer.Durability
  private let log: Logger
  private var knownRun: String?

  init(durability: MTAConfig.RedisServer.Durability, log: Logger) {
    self.durability = durability
    self.log = log
  }

  /// On a fresh connection, before it is open to others.
  func meet(_ session: RedisClient.Session, _ sender: RedisClient.Sender) async {
    guard session.runID != knownRun, let state = try? await sender.send(RedisCommand("INFO", "persistence")).string,
      let memory = try? await sender.send(RedisCommand("INFO", "memory")).string
    else { return }
    knownRun = session.runID
    if let policy = RedisInfo.word("maxmemory_policy", in: memory), policy != "noeviction" {
      log.critical("Redis may throw accepted mail away when it is full: set maxmemory-policy noeviction", metadata: ["policy": "\(policy)"])
    }
    guard RedisInfo.figure("aof_enabled", in: state) == 1 else {
      log.critical("Redis has no append-only file, accepted mail is lost when it ends: set appendonly yes")
      return
    }
    let answer = (try? await sender.send(RedisCommand("CONFIG", "GET", "appendfsync")))?.array ?? []
    if durability == .always, answer.count == 2, let fsync = answer[1].string, fsync != "always" {
      log.warning(
        "Redis answers before what it took is on disk, a power failure loses that: set appendfsync always",
        metadata: ["appendfsync": "\(fsync)"])
    }
    await renew(state, sender)
  }

  /// Half of a step that an earlier end of Redis left in the file would be done at its next start but one. Memory has no half
  /// steps, so neither has a file written anew from it: once in each run is enough.
  private func renew(_ state: String, _ sender: RedisClient.Sender) async {
    guard ["aof_rewrites", "aof_rewrite_in_progress", "aof_rewrite_scheduled"].allSatisfy({ RedisInfo.figure($0, in: state) == 0 }) else {
      return
    }
    do {
      _ = try await sender.send(RedisCommand("BGREWRITEAOF"))
      log.info("Redis writes its append-only file anew")
    } catch {
      log.warning(
        "Redis does not write its append-only file anew for us: have it mended before each start, see owlat-mta mend-aof --help",
        metadata: [LogKey.error: "\(error)"])
    }
  }
}
