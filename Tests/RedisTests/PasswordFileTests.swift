import NIOPosix
import Observability
import TestSupport
import Testing

@testable import Redis

/// The password that lies beside a socket.
@Suite(.serialized) struct PasswordFileTests {
  /// As when owlat-mta-redis.service gets a password while the supervisor is connected, and then another.
  @Test func itIsReadForEachConnection() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    let endpoint = try #require(RedisEndpoint(url: redis.url, username: "", password: "")?.findingPassword)
    #expect(endpoint.passwordFile == redis.scratch.file("password") && endpoint.currentPassword.isEmpty)
    let client = RedisClient(
      endpoint: endpoint, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), loadsFunctions: false, clock: SystemClock.now)
    let task = Task { await client.run() }
    defer { task.cancel() }
    try await eventually("connected without a password") { client.session != nil }
    for password in ["first", "second"] {
      let before = try #require(client.session?.connection)
      _ = try await client.send(RedisCommand("CONFIG", "SET", "requirepass", password))
      _ = try redis.scratch.write("password", password + "\n")
      // A user that authenticated before is cut off; one without a password is not.
      _ = try? await client.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
      try await eventually("connected with \(password)") { (client.session?.connection ?? before) > before }
      #expect(try redis.cli("PING").hasPrefix("NOAUTH"))
      _ = try await client.send(RedisCommand("PING"))
    }
  }

  /// Credentials that are given stand over the file, and what is not a Unix socket has none.
  @Test func itIsLookedForOnlyWhereNothingIsGiven() throws {
    let socket = try #require(RedisEndpoint(url: "unix:///run/x/redis.sock", username: "", password: "p"))
    #expect(socket.findingPassword == socket && socket.currentPassword == "p")
    let named = try #require(RedisEndpoint(url: "unix:///run/x/redis.sock", username: "u", password: ""))
    #expect(named.findingPassword.passwordFile == nil)
    let remote = try #require(RedisEndpoint(url: "redis://127.0.0.1:6379", username: "", password: ""))
    #expect(remote.findingPassword.passwordFile == nil)
  }

  /// As other clients read a URL; what is not encoded stands for itself.
  @Test(arguments: [
    ("redis://:p%40ss%3Aw%2Frd%25@h:1", "", "p@ss:w/rd%"), ("redis://u:a/b+c==@h:1/0", "u", "a/b+c=="),
    ("redis://u%2B:100%@h:1", "u+", "100%"),
    ("redis://:p@q:r@h:1", "", "p@q:r"), ("redis://:%+1%zz%4@h:1", "", "%+1%zz%4"),
  ])
  func credentialsOfAURL(url: String, user: String, password: String) throws {
    let endpoint = try #require(RedisEndpoint(url: url, username: "x", password: "y"))
    #expect(endpoint.address == .tcp(host: "h", port: 1) && endpoint.username == user && endpoint.password == password)
  }
}
