import Foundation
import MTAConfig
import Redis

extension MTAConfig {
  /// The Redis that the configuration names, as the supervisor uses it; for commands that talk to it themselves. The private
  /// one has its password in a file that only its user reads.
  var redisAccess: RedisEndpoint? {
    guard redis.url == "embedded" else {
      return RedisEndpoint(url: redis.url, username: redis.username, password: redis.password)?.findingPassword
    }
    let directory = stateDir + "/redis"
    let password = (try? String(contentsOfFile: directory + "/password", encoding: .utf8)) ?? ""
    return RedisEndpoint(
      url: "unix://\(directory)/redis.sock", username: "", password: password.trimmingCharacters(in: .whitespacesAndNewlines))
  }
}
