import Foundation
import TestSupport
import Testing

/// Who reaches the Redis of owlat-mta-redis.service, under a real systemd.
@Suite(
  .serialized,
  .enabled(if: SystemdRig.obstacle == nil, "real systemd cannot run here: \(SystemdRig.obstacle ?? "")"))
struct SystemdRedisTests {
  private static let folder = "/run/owlat-mta-redis"
  private static let nobody = "65534"

  /// redis-cli as a user and a group, with a password or without.
  private func ask(_ rig: SystemdRig, user: String, group: String, password: String = "", _ words: String...) throws -> String {
    let client = ["redis-cli", "-s", Self.folder + "/redis.sock"] + words
    let who = ["--reuid=\(user)", "--regid=\(group)", "--clear-groups", "env"] + (password.isEmpty ? [] : ["REDISCLI_AUTH=\(password)"])
    let result = try rig.inside(["setpriv"] + who + client)
    return (result.output + result.errors).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test(arguments: [true, false]) func onlyTheSupervisorReadsTheQueue(hasWorkerUsers: Bool) async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let rig = try await SystemdRig(
      options, service: hasWorkerUsers ? "" : "Environment=OWLAT_REDIS_WORKER_USERS=false", usesRedisUnit: true)
    #expect(try rig.inside("systemctl", "start", "owlat-mta-redis.service").code == 0, "\(rig.describe())")
    try rig.start()
    try await rig.mta.registerDKIM("sender.example")
    try await rig.mta.send("first", to: "u@\(Zones.domain(0))")
    try await eventually("delivered") { rig.mta.receiver.messageIDs("sent") == ["first"] }
    let password = try rig.inside("cat", Self.folder + "/password").output.trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(password.count == 64)
    #expect(
      try rig.inside("stat", "-c", "%a %U", Self.folder + "/password", Self.folder + "/auth.conf").output
        == "600 owlat-mta\n600 owlat-mta\n")
    let user = try rig.inside("id", "-u", "owlat-mta").output.trimmingCharacters(in: .whitespacesAndNewlines)
    let group = try rig.inside("id", "-g", "owlat-mta").output.trimmingCharacters(in: .whitespacesAndNewlines)

    // Another user, in our group too and knowing the password: not even the socket.
    for theirs in [Self.nobody, group] {
      let answer = try ask(rig, user: Self.nobody, group: theirs, password: password, "PING")
      #expect(answer.contains("Permission denied"), "group \(theirs): \(answer)")
      let read = try rig.inside(
        "setpriv", "--reuid=\(Self.nobody)", "--regid=\(theirs)", "--clear-groups", "cat", Self.folder + "/password")
      #expect(read.code != 0 && read.errors.contains("Permission denied"), "\(read)")
    }
    // Our own user, as a worker is: nothing without the password.
    #expect(try ask(rig, user: user, group: group, "KEYS", "*").hasPrefix("NOAUTH"))
    #expect(try ask(rig, user: user, group: group, password: password, "PING") == "PONG")
    #expect(try ask(rig, user: user, group: group, password: password, "CONFIG", "GET", "port").hasSuffix("\n0"))
    let users = try ask(rig, user: user, group: group, password: password, "ACL", "USERS").split(separator: "\n")
    #expect(users.count == (hasWorkerUsers ? 2 : 1), "\(users)")

    // Its restart leaves the password as it is, and everybody comes back.
    #expect(try rig.inside("systemctl", "restart", "owlat-mta-redis.service").code == 0)
    #expect(try rig.inside("cat", Self.folder + "/password").output.hasPrefix(password))
    try await eventually("mail flows again", within: .seconds(30)) {
      try await rig.mta.call("POST", "/send", body: MTAFixture.body("second", to: "u@\(Zones.domain(1))")).status == 200
    }
    do {
      try await eventually("delivered", within: .seconds(30)) { Set(rig.mta.receiver.messageIDs("sent")) == ["first", "second"] }
    } catch { Issue.record("\(error): \(rig.mta.receiver.messageIDs("sent"))\n\(rig.describe())") }
    #expect(rig.mta.log.all.map(\.messageID) == ["first", "second"], "each once")
    let archive = "/var/lib/owlat-mta/backup.tar"
    let saved = try rig.inside("/usr/local/bin/owlat-mta", "backup", archive)
    #expect(saved.code == 0, "\(saved.errors)")
    await rig.end()
  }
}
