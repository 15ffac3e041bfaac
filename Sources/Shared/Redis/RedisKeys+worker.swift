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
      // Contents are known by the hash of what is in them: who does not have the mail does not know the name.
      "(+hget %R~\(content("*")))",
      "(+hmget %R~\(message("*")))",
      "(+hset %W~\(message("*")) %W~\(journal))",
      "(+xadd %W~\(outcomes(host)))",
    ]
  }
}
