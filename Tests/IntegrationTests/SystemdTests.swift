import Foundation
import NIOCore
import TestSupport
import Testing

/// The shipped units under a real systemd: readiness, status, watchdog, restart without a refused request, stop in time.
@Suite(
  .serialized,
  .enabled(if: SystemdRig.obstacle == nil, "real systemd cannot run here: \(SystemdRig.obstacle ?? "")"))
struct SystemdTests {
  private func options(_ dns: NameServer, ips: [String] = ["127.0.0.21", "127.0.0.22"]) -> MTAFixture.Options {
    var options = MTAFixture.Options()
    options.dns = dns
    options.pools = ["transactional": ips]
    return options
  }

  @Test func startsReadyTellsItsStatusAndStopsInTime() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await SystemdRig(options(dns))
    try rig.start()
    // Ready means ready: the first request is served.
    try await rig.mta.registerDKIM("sender.example")
    try await rig.mta.send("first", to: "u@\(Zones.domain(0))")
    try await eventually("delivered") { rig.mta.receiver.messageIDs("sent") == ["first"] }
    do {
      try await eventually("the status tells live figures") {
        let text = try rig.property("StatusText")
        return text.contains("2 of 2 IPs active; Redis connected") && text.contains("queued") && text.contains("attempts/s")
      }
    } catch { Issue.record("\(error): \(try rig.property("StatusText"))\n\(rig.describe())") }
    #expect(try rig.inside("ps", "-o", "user=", "-p", "\(try rig.mainPID())").output.hasPrefix("owlat-m"), "it runs unprivileged")
    let listening = try rig.journal("MTA_API=127.0.0.1:\(rig.mta.port) (passed)")
    #expect(listening.first?["SYSLOG_IDENTIFIER"] == "supervisor" && listening.first?["PRIORITY"] == "5", "\(listening)")
    let before = ContinuousClock().now
    #expect(try rig.inside("systemctl", "stop", "owlat-mta.service").code == 0)
    #expect(ContinuousClock().now - before < .seconds(20))
    #expect(try rig.property("Result") == "success" && rig.property("ExecMainStatus") == "0")
    #expect(try rig.property("ActiveState") == "inactive")
    await rig.end()
  }

  /// The unit's filter lets a worker give up what it gives up elsewhere, and the supervisor set its priority.
  @Test func workersConfineThemselvesUnderTheUnit() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let rig = try await SystemdRig(
      options(dns, ips: ["127.0.0.21"]),
      service: "Environment=OWLAT_LOG_LEVEL=debug OWLAT_FAILPOINT=worker-before-begin@/var/lib/owlat-mta/fail")
    try rig.start()
    try await eventually("the worker is up") { try await rig.mta.get("/v1/ips").body.contains("\"state\":\"active\"") }
    let said = try rig.journal("SYSLOG_IDENTIFIER=ipworker").filter { $0["MESSAGE"]?.hasPrefix("confined ") == true }
    #expect(said.count == 1, "\(rig.describe())")
    #expect(said.first?["MTA_SECCOMP"] == "true" && said.first?["MTA_LIMITS_MISSED"] == "0", "\(said)")
    // As much as this kernel has.
    let own = try run("/usr/bin/env", ["python3", "-c", "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"]).output
    #expect(
      said.first?["MTA_LANDLOCK"] == (own.hasPrefix("-1") ? "0" : own.trimmingCharacters(in: .whitespacesAndNewlines)), "\(said) \(own)")
    let pid = try #require((try await rig.mta.get("/v1/ips").body.firstMatch(of: #/"pid":(\d+)/#)).flatMap { Int($0.1) })
    func nice() throws -> Int? {
      try Int(rig.inside("ps", "-o", "nice=", "-p", "\(pid)").output.trimmingCharacters(in: .whitespacesAndNewlines))
    }
    #expect(try nice() == 2)
    // One that spins makes way, and is itself again when it was only busy.
    try rig.inside("/bin/sh", "-c", "printf spin:4500 >/var/lib/owlat-mta/fail && chown owlat-mta: /var/lib/owlat-mta/fail")
    try await rig.mta.registerDKIM("sender.example")
    try await rig.mta.send("spin", to: "u@\(Zones.domain(0))")
    try await eventually("it makes way", within: .seconds(15)) { try nice() == 19 }
    let told = try rig.journal("SYSLOG_IDENTIFIER=supervisor").first { $0["MESSAGE"]?.contains("its priority is lowered") == true }
    #expect(told.flatMap { Int($0["MTA_THREADS"] ?? "") } ?? 0 > 0)
    // A container may lack the right to give a unit its LimitNICE; then the log says so.
    let mayRaise = try run("/usr/bin/prlimit", ["--nice=20:20", "/bin/true"]).code == 0
    try await eventually("it has its priority back", within: .seconds(15)) {
      if mayRaise { return try nice() == 2 }
      let said = try rig.journal("SYSLOG_IDENTIFIER=supervisor").compactMap { $0["MESSAGE"] }
      return said.contains { $0.hasPrefix("worker keeps the lowest priority") }
    }
    try await eventually("it goes on") { rig.mta.receiver.messageIDs("sent") == ["spin"] }
    await rig.end()
  }

  @Test func theWatchdogEndsAStoppedSupervisorAndACrashIsRecoveredFrom() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await SystemdRig(options(dns), service: "WatchdogSec=2")
    try rig.start()
    try await rig.mta.registerDKIM("sender.example")
    let workersRun = { try rig.property("StatusText").contains("2 of 2 IPs active") }
    try await eventually("workers run", workersRun)
    let first = try rig.mainPID()
    try rig.inside("kill", "-STOP", "\(first)")
    try await eventually("another supervisor runs", within: .seconds(40)) {
      let pid = try rig.mainPID()
      return try pid != 0 && pid != first && rig.property("SubState") == "running"
    }
    #expect(try rig.journal("_PID=1").contains { $0["MESSAGE"]?.contains("Watchdog timeout") == true })
    // The workers outlive the signal that ends their supervisor: they end in order.
    #expect(try !rig.journal("SYSLOG_IDENTIFIER=ipworker", "MTA_SOURCE_IP=127.0.0.21").isEmpty, "\(rig.describe())")
    try await rig.mta.send("after-watchdog", to: "u@\(Zones.domain(0))")
    try await eventually("workers run again", workersRun)
    let second = try rig.mainPID()
    try rig.inside("kill", "-KILL", "\(second)")
    try await eventually("a third one runs", within: .seconds(40)) {
      let pid = try rig.mainPID()
      return try pid != 0 && pid != second && rig.property("SubState") == "running"
    }
    try await rig.mta.send("after-crash", to: "u@\(Zones.domain(1))")
    try await eventually("both are delivered") { Set(rig.mta.receiver.messageIDs("sent")) == ["after-watchdog", "after-crash"] }
    #expect(try rig.property("NRestarts") == "2")
    #expect(Set(rig.mta.log.all.map(\.messageID)) == ["after-watchdog", "after-crash"] && rig.mta.log.count == 2)
    await rig.end()
  }

  /// A supervisor whose dispatcher hangs lives, answers and delivers nothing: systemd gets no life sign of it, and starts another.
  @Test func theWatchdogEndsASupervisorThatHangs() async throws {
    let dns = try await NameServer(zones: Zones.separate(1))
    defer { dns.stop() }
    let rig = try await SystemdRig(
      options(dns, ips: ["127.0.0.21"]),
      service: "WatchdogSec=3\nEnvironment=OWLAT_FAILPOINT=supervisor-before-dispatch@/var/lib/owlat-mta/fail")
    try rig.start()
    try await rig.mta.registerDKIM("sender.example")
    let first = try rig.mainPID()
    try rig.inside("/bin/sh", "-c", "printf hold >/var/lib/owlat-mta/fail && chown owlat-mta: /var/lib/owlat-mta/fail")
    try await rig.mta.send("held", to: "u@\(Zones.domain(0))")
    try await eventually("it hangs") { try rig.inside("test", "-e", "/var/lib/owlat-mta/fail.held").code == 0 }
    #expect(try await rig.mta.get("/health").status == 200)
    try await eventually("another supervisor runs", within: .seconds(60)) {
      let pid = try rig.mainPID()
      return try pid != 0 && pid != first && rig.property("SubState") == "running"
    }
    #expect(try rig.journal("_PID=1").contains { $0["MESSAGE"]?.contains("Watchdog timeout") == true })
    try await eventually("delivered", within: .seconds(20)) { rig.mta.receiver.messageIDs("sent") == ["held"] }
    #expect(rig.mta.log.count == 1)
    await rig.end()
  }

  /// Clients with fresh and with kept connections post all the time, over two restarts; the Redis of the unit stays.
  @Test(arguments: [true, false]) func aRestartRefusesAndLosesNothing(usesRedisUnit: Bool) async throws {
    let dns = try await NameServer(zones: Zones.separate(4))
    defer { dns.stop() }
    let rig = try await SystemdRig(options(dns), usesRedisUnit: usesRedisUnit)
    if usesRedisUnit { #expect(try rig.inside("systemctl", "start", "owlat-mta-redis.service").code == 0, "\(rig.describe())") }
    try rig.start()
    try await rig.mta.registerDKIM("sender.example")
    let redis = try rig.mainPID(of: "owlat-mta-redis.service")
    let accepted = Locked<[String]>([])
    let refused = Locked<[String]>([])
    let isOver = Locked(false)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<6 {
        group.addTask {
          var count = 0
          while !isOver.value {
            let id = "c\(client)-\(count)"
            do {
              let answer = try await rig.mta.call(
                "POST", "/send", body: MTAFixture.body(id, to: "u\(count)@\(Zones.domain(count % 4))"),
                headers: client < 3 ? ["Connection": "close"] : [:])
              if answer.status == 200 { accepted.change { $0.append(id) } } else { refused.change { $0.append("\(id): \(answer)") } }
            } catch { refused.change { $0.append("\(id): \(error)") } }
            count += 1
            try await Task.sleep(for: .milliseconds(8))
          }
        }
      }
      group.addTask {
        defer { isOver.change { $0 = true } }
        for _ in 0..<2 {
          let (pid, count) = (try rig.mainPID(), accepted.value.count)
          try await eventually("requests flow") { accepted.value.count > count + 60 || !refused.value.isEmpty }
          let result = try rig.inside("systemctl", "restart", "owlat-mta.service")
          #expect(try result.code == 0 && rig.mainPID() != pid, "\(result.errors)\(rig.describe())")
        }
        let count = accepted.value.count
        try await eventually("requests flow again") { accepted.value.count > count + 60 || !refused.value.isEmpty }
      }
      try await group.waitForAll()
    }
    #expect(refused.value.isEmpty, "\(refused.value.prefix(3))\n\(rig.describe())")
    let ids = accepted.value
    do {
      try await eventually("all are told", within: .seconds(40)) { Set(rig.mta.receiver.messageIDs("sent")).count == ids.count }
    } catch { Issue.record("\(error)\n\(rig.describe())") }
    let dots = rig.mta.log.all.map(\.messageID)
    #expect(dots.count == ids.count && Set(dots) == Set(ids), "each is delivered once: \(dots.count) of \(ids.count)")
    if usesRedisUnit { #expect(try redis != 0 && rig.mainPID(of: "owlat-mta-redis.service") == redis, "Redis was restarted") }
    await rig.end()
  }

  /// Active once `reload` is a command of the program.
  @Test(
    .enabled(
      if: (try? run(MTAFixture.binaries + "/supervisor", ["reload", "--help"]))?.output.contains("USAGE: supervisor reload") == true,
      "this version has no reload"))
  func aReloadAddsAnIP() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await SystemdRig(options(dns, ips: ["127.0.0.21"]))
    try rig.start()
    let pid = try rig.mainPID()
    try rig.inside(
      "sed", "-i", "s|{address: \"127.0.0.21\"|{address: \"127.0.0.31\", ehlo: e31.mta.example, warmed: true}, &|",
      "/etc/owlat-mta/config.yaml")
    let result = try rig.inside("systemctl", "reload", "owlat-mta.service")
    #expect(result.code == 0, "\(result.errors)\(rig.describe())")
    try await eventually("the new IP works") {
      try rig.inside("/usr/local/bin/owlat-mta", "ip", "list", "--json").output.components(separatedBy: "\"active\"").count == 3
    }
    #expect(try rig.mainPID() == pid)
    await rig.end()
  }

  /// Every problem is told, by the command and by the supervisor; the old configuration works on, and a good one is taken later.
  @Test func aRefusedReloadChangesNothing() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    let rig = try await SystemdRig(options(dns, ips: ["127.0.0.21"]))
    try rig.start()
    try await rig.mta.registerDKIM("sender.example")
    let pid = try rig.mainPID()
    let file = "/etc/owlat-mta/config.yaml"
    try rig.inside("cp", file, file + ".good")
    let isUntouched = {
      let state = try rig.inside("systemctl", "show", "-p", "MainPID,ActiveState,SubState,NRestarts", "owlat-mta.service").output
      #expect(Set(state.split(separator: "\n")) == ["MainPID=\(pid)", "ActiveState=active", "SubState=running", "NRestarts=0"], "\(state)")
    }
    let breaks: [(edit: String, problems: [String])] = [
      (
        "s|^hostname:.*|hostname: \"not a name\"|; s|verp_key: \"[^\"]*\"|verp_key: short|; $a nonsense: 1",
        ["hostname", "bounce.verp_key", "nonsense"]
      ), ("$a ]: not yaml", ["is not YAML"]),
      ("s|^api: .*|api: { listen: \"127.0.0.1:1\", master_key: \(MTAFixture.key) }|", ["api.listen"]),
    ]
    for (number, change) in breaks.enumerated() {
      try rig.inside("cp", file + ".good", file)
      try rig.inside("sed", "-i", change.edit, file)
      func refusals() throws -> [String] {
        try rig.journal("SYSLOG_IDENTIFIER=supervisor", "PRIORITY=3").compactMap { $0["MESSAGE"] }.filter { $0.contains("refused") }
      }
      let before = try refusals().count
      let refused = try rig.inside("systemctl", "reload", "owlat-mta.service")
      #expect(refused.code != 0, "\(change.edit)")
      try isUntouched()
      for problem in change.problems {
        try await eventually("\(problem) is printed and logged") {
          let printed = try rig.journal("SYSLOG_IDENTIFIER=owlat-mta").compactMap { $0["MESSAGE"] }
          return try printed.contains { $0.contains(problem) } && refusals().dropFirst(before).contains { $0.contains(problem) }
        }
      }
      do {
        try await eventually("the status tells it") { try rig.property("StatusText").contains("reload refused (") }
      } catch { Issue.record("\(error), \(change.edit): \(try rig.property("StatusText"))\n\(rig.describe())") }
      try await rig.mta.send("after-\(number)", to: "u@\(Zones.domain(0))")
    }
    // SIGHUP: the same, without a command that waits.
    try rig.inside("systemctl", "kill", "--kill-who=main", "-s", "HUP", "owlat-mta.service")
    try await eventually("refused once more") {
      try rig.journal("SYSLOG_IDENTIFIER=supervisor", "PRIORITY=3").count { $0["MESSAGE"]?.contains("api.listen") == true } == 2
    }
    try await eventually("it is over") { try rig.property("ActiveState") == "active" }
    try isUntouched()

    try rig.inside("cp", file + ".good", file)
    try rig.inside("sed", "-i", "s|org_hourly: 100000000|org_hourly: 99999999|", file)
    let taken = try rig.inside("systemctl", "reload", "owlat-mta.service")
    #expect(taken.code == 0, "\(taken.errors)\(rig.describe())")
    try isUntouched()
    #expect(try rig.journal("SYSLOG_IDENTIFIER=owlat-mta").contains { $0["MESSAGE"]?.contains("org_hourly") == true })
    try await eventually("the status is itself again") {
      let text = try rig.property("StatusText")
      return text.contains("1 of 1 IPs active") && !text.contains("refused")
    }
    try await eventually("all arrived") { Set(rig.mta.receiver.messageIDs("sent")) == ["after-0", "after-1", "after-2"] }
    await rig.end()
  }
}

/// The units as files: what systemd says of them without running them.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-analyze"), "systemd is not installed"))
struct UnitFileTests {
  @Test func theUnitsAreCleanAndHardened() throws {
    let folder = try Scratch()
    defer { folder.remove() }
    let installed = try run(
      "/usr/bin/make", ["install", "BIN=\(MTAFixture.binaries)", "DESTDIR=\(folder.path)", "PREFIX=\(folder.path)/usr"])
    #expect(installed.code == 0, "\(installed.errors)")
    let root = folder.path + folder.path + "/usr"
    let units = try FileManager.default.contentsOfDirectory(atPath: root + "/lib/systemd/system").sorted()
    #expect(
      [
        "owlat-mta-api.socket", "owlat-mta-smtp.socket", "owlat-mta-submission.socket", "owlat-mta-redis.service", "owlat-mta.service",
      ].allSatisfy(units.contains))
    // Where the units say that the programs are.
    try FileManager.default.createSymbolicLink(atPath: folder.path + "/usr", withDestinationPath: root)
    let verified = try run("/usr/bin/systemd-analyze", ["verify", "--man=no"] + units.map { "\(root)/lib/systemd/system/\($0)" })
    #expect(verified.code == 0 && verified.errors.isEmpty, "\(verified.errors)")
    for unit in units where unit.hasSuffix(".service") {
      let path = "\(root)/lib/systemd/system/\(unit)"
      // In tenths: 20 is 2.0.
      let judged = try run("/usr/bin/systemd-analyze", ["security", "--offline=true", "--threshold=20", path])
      #expect(judged.code == 0, "\(judged.output.suffix(120))")
    }
    let removed = try run("/usr/bin/make", ["uninstall", "DESTDIR=\(folder.path)", "PREFIX=\(folder.path)/usr"])
    #expect(removed.code == 0 && !FileManager.default.fileExists(atPath: root + "/lib/owlat-mta"))
  }
}
