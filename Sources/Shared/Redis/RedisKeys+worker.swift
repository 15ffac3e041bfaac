internal import RedisFunctions

/// What one IP's worker may do at Redis, spelt beside the names that it is about. A Function runs with the rights of who calls
/// it, so each command inside a worker's Functions stands here with the keys that it touches there, and with no others.
extension RedisKeys {
  /// Functions that workers call: settle, and replay and claim when they meet another run of Redis; under the names that this build loads them by.
  package static let workerFunctions = ["mta1_settle", "mta1_replay", "mta1_claim"].map(RedisLibrary.own.function)

  /// Rules of `ACL SETUSER` (Redis 7): the root permissions, then one selector a kind of key.
  /// - Parameters:
  ///   - ip: its stream is the only one that it reads, acknowledges and deletes from.
  ///   - host: where its outcomes go.
  package func workerRules(ip: String, host: String) -> [String] {
    let functions = Self.workerFunctions.map { "+fcall|\($0)" }
    return ["resetkeys", "resetchannels", "-@all", "+ping", "+time", "+info", "+wait"] + functions + ["~\(prefix)"] + [
      "(+xreadgroup +xack +xdel ~\(self.ip(ip)))",
      "(+hget %R~\(content("*")))",
      "(+hmget %R~\(message("*")))",
      "(+hset %W~\(message("*")) %W~\(journal) %W~\(directory))",
      "(+xadd %W~\(outcomes(host)) %W~\(wake))",
      // Replay: a message is taken from wherever it waits, and the directory told.
      "(+zrem %W~\(queue("*")) %W~\(due))",
      "(+zcard +zrange %R~\(queue("*")))",
      "(+hdel %W~\(held) %W~\(directory))",
      "(+hget %R~\(directory))",
      "(+scard %R~\(hosts))",
      "(+incr ~\(sequence))",
    ]
  }
}
