import Foundation
import SMTPServer
import TestSupport
import Testing

/// IPs come, go and start anew while mail flows: nothing lost, nothing twice, and the others notice nothing.
@Suite(.serialized) struct RunningIPTests {
  private func rows(_ mta: MTAFixture) throws -> [String: JSONValue] {
    let list = try JSONValue(try mta.command("ip", "list", "--json").output).list ?? []
    return Dictionary(list.map { ($0["address"]?.text ?? "", $0) }, uniquingKeysWith: { first, _ in first })
  }

  private func isActive(_ mta: MTAFixture, _ address: String) throws -> Bool {
    try rows(mta)[address]?["state"] == .text("active")
  }

  @Test func anIPComesAndAnotherGoesUnderMail() async throws {
    let rig = try await KillTests.Rig()
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let pids = try mta.workerPIDs()
    let messages = rig.messages(400)
    async let sending: Void = mta.sendAll(messages, parallel: 4)
    #expect(try mta.command("ip", "add", "127.0.0.23", "--pool", "transactional", "--warmed", "--ehlo", "three.mta.example").code == 0)
    try await eventually("the new IP sends") { mta.log.all.contains { $0.peer == "127.0.0.23" && $0.ehloName == "three.mta.example" } }
    #expect(try mta.workerPIDs().filter { $0.key != "127.0.0.23" } == pids)
    #expect(try mta.command("ip", "remove", "127.0.0.21").code == 0)
    try await eventually("its worker has ended") { pids["127.0.0.21"].map { !MTAFixture.isAlive($0) } ?? false }
    #expect(try mta.workerPIDs()["127.0.0.22"] == pids["127.0.0.22"])
    let cut = mta.log.all.filter { $0.peer == "127.0.0.21" }.count
    try await sending
    let check = rig.exactness(messages.map(\.id) + (0..<20).map { "warm\($0)" })
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    #expect(mta.receiver.messageIDs("uncertain").isEmpty)
    #expect(mta.log.all.filter { $0.peer == "127.0.0.21" }.count == cut, "nothing leaves by an IP that is gone")

    // Over a restart; and what the file has comes back by its order.
    try await mta.stop()
    try await mta.start()
    #expect(try rows(mta).keys.sorted() == ["127.0.0.22", "127.0.0.23"])
    #expect(try rows(mta)["127.0.0.23"]?["ehlo"] == .text("three.mta.example"))
    #expect(try mta.command("ip", "add", "127.0.0.21", "--pool", "transactional").code == 0)
    try await eventually("it is back") { try isActive(mta, "127.0.0.21") }
    #expect(try String(contentsOfFile: mta.scratch.file("s/operator.json"), encoding: .utf8).contains("127.0.0.21") == false)
    await rig.end()
  }

  @Test func workersStartAnewOneByOne() async throws {
    let rig = try await KillTests.Rig(ips: ["127.0.0.21", "127.0.0.22", "127.0.0.23"])
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await rig.warmUp()
    let before = try mta.workerPIDs()
    let messages = rig.messages(300)
    async let sending: Void = mta.sendAll(messages, parallel: 4)
    let restart = try TestProcess(
      MTAFixture.binaries + "/supervisor", ["worker", "restart", "--all", "--config", mta.config], output: mta.scratch.file("restart"))
    var fewest = 3
    try await eventually("the command ends", within: .seconds(60)) {
      fewest = min(fewest, try rows(mta).values.count { $0["state"] == .text("active") })
      return restart.exitCode != nil
    }
    #expect(restart.exitCode == 0 && fewest == 2, "one at a time: \(fewest)")
    let after = try mta.workerPIDs()
    #expect(after.keys.sorted() == before.keys.sorted() && before.allSatisfy { after[$0.key] != $0.value })
    #expect(before.values.allSatisfy { !MTAFixture.isAlive($0) })
    try await sending
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    #expect(mta.receiver.messageIDs("uncertain").isEmpty)
    // One alone, and what has none.
    #expect(try mta.command("worker", "restart", "127.0.0.22").code == 0)
    #expect(try mta.workerPIDs()["127.0.0.22"] != after["127.0.0.22"])
    #expect(try mta.command("ip", "pull", "127.0.0.22").code == 0)
    try await eventually("it is pulled") { try rows(mta)["127.0.0.22"]?["state"] == .text("pulled") }
    let idle = try mta.command("worker", "restart", "127.0.0.22")
    #expect(idle.code == 1 && idle.errors.hasPrefix("127.0.0.22 has no worker"))
    #expect(try mta.command("worker", "restart").code == 2)
    await rig.end()
  }

  @Test func sendingPausesShortlyOverARestart() async throws {
    let rig = try await KillTests.Rig(replyAfter: 100)
    let mta = rig.mta
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await rig.warmUp()
    // More than leaves before the end.
    let messages = rig.messages(1500)
    try await mta.sendAll(messages, parallel: 64)
    let left = mta.log.count
    #expect(left < 1500, "mail waits when it ends")
    let clock = ContinuousClock()
    let began = clock.now
    #expect(try await mta.stop() == 0)
    try await mta.start()
    let start = clock.now - began
    try await eventually("all are sent", within: .seconds(90)) { mta.log.count == 1520 }
    let times = mta.log.all.map(\.receivedAt).sorted()
    let pause = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? 0
    #expect(pause <= 15_000, "sending paused for \(pause) ms; the restart took \(start)")
    let check = rig.exactness(messages.map(\.id))
    try await check.waitUntilEnded()
    check.check(rig.dots.all)
    await rig.end()
  }

  @Test func ipsByRoute() async throws {
    let mta = try await MTAFixture()
    try await mta.start()
    for (body, error) in [
      ("{x", "Invalid JSON body"), ("{}", "address is required"), ("{\"address\":\"127.0.0.23\"}", "pool is required"),
      ("{\"address\":\"x\",\"pool\":\"transactional\"}", "address must be an IP address"),
      ("{\"address\":\"127.0.0.23\",\"pool\":\"none\"}", "pool must be one of: transactional"),
      ("{\"address\":\"127.0.0.23\",\"pool\":\"transactional\",\"ehlo\":\"a b\"}", "ehlo must be a host name"),
      ("{\"address\":\"127.0.0.23\",\"pool\":\"transactional\",\"warmed\":1}", "warmed must be true or false"),
    ] {
      let answer = try await mta.call("POST", "/v1/ips", body: body)
      #expect(answer.status == 400 && answer.json["error"] as? String == error, "\(body): \(answer.body)")
    }
    let last = try await mta.call("DELETE", "/v1/ips/127.0.0.21", body: nil)
    #expect(last.status == 409 && last.json["error"] as? String == "127.0.0.21 is the last IP: add another first")
    #expect(try rows(mta).count == 1, "nothing changed")

    let body = "{\"address\":\"127.0.0.23\",\"pool\":\"transactional\",\"warmed\":true}"
    let added = try JSONValue(try await mta.call("POST", "/v1/ips", body: body).body)
    #expect(added["success"] == .bool(true) && added["ip"]?["address"] == .text("127.0.0.23"))
    #expect(try await mta.call("POST", "/v1/ips", body: body).status == 409)
    func state() async throws -> JSONValue? {
      let list = try JSONValue(try await mta.get("/v1/ips").body)["ips"]?.list ?? []
      return list.first { $0["address"] == .text("127.0.0.23") }?["state"]
    }
    try await eventually("it is active") { try await state() == .text("active") }
    // Idle, it is empty at once.
    #expect(try await mta.call("POST", "/v1/ips/127.0.0.23/drain", body: nil).status == 200)
    try await eventually("it is pulled") { try await state() == .text("pulled") }
    #expect(try await mta.call("POST", "/v1/ips/127.0.0.23/restore", body: nil).status == 200)
    try await eventually("it is active again") { try await state() == .text("active") }
    #expect(try await mta.call("POST", "/v1/ips/127.0.0.23/pull", body: "{\"reason\":\"a test\"}").status == 200)
    try await eventually("it is pulled again") { try await state() == .text("pulled") }
    #expect(try rows(mta)["127.0.0.23"]?["reason"] == .text("a test"))
    #expect(try await mta.call("DELETE", "/v1/ips/127.0.0.23", body: nil).body == "{\"success\":true}")
    #expect(try await state() == nil)
    for (method, path) in [("DELETE", "/v1/ips/127.0.0.23"), ("POST", "/v1/ips/127.0.0.23/pull")] {
      #expect(try await mta.call(method, path, body: nil).status == 404)
    }
    await mta.tearDown()
  }
}
