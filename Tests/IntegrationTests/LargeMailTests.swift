import Foundation
import Glibc
import SMTPServer
import TestSupport
import Testing

/// Mail of 25 MiB after decoding: twenty at once.
@Suite(.serialized) struct LargeMailTests {
  /// Proportional memory of a process, MiB.
  func pss(_ pid: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix("Pss:") } ?? ""
    return (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) >> 10
  }

  @Test func memoryFollowsWhatIsInFlightAndFallsBack() async throws {
    let dns = try await NameServer(zones: Zones.separate(2))
    defer { dns.stop() }
    var options = MTAFixture.Options()
    options.dns = dns
    let counted = Locked<[String: Int]>([:])
    options.script = { moment in
      if case .message(let message) = moment { counted.change { $0[message.messageID] = message.octets.count } }
      return nil
    }
    options.keepsMail = false
    let mta = try await MTAFixture(options)
    try await mta.start()
    try await mta.registerDKIM("sender.example")
    try await mta.send("warm", to: "u@\(Zones.domain(0))")
    try await eventually("the first is sent") { mta.receiver.messageIDs("sent") == ["warm"] }
    let worker = try #require(try mta.workerPIDs()["127.0.0.21"])
    let before = (supervisor: try pss(mta.pid), worker: try pss(worker))
    // Octets that do not compress.
    var seed: UInt64 = 88_172_645_463_325_252
    var octets = [UInt8](repeating: 0, count: 25 << 20)
    for index in octets.indices {
      seed ^= seed << 13
      seed ^= seed >> 7
      seed ^= seed << 17
      octets[index] = UInt8(truncatingIfNeeded: seed)
    }
    let content = Data(octets).base64EncodedString()
    octets = []
    let peak = Locked((supervisor: 0, worker: 0))
    let watch = Task {
      while !Task.isCancelled {
        let now = (try? pss(mta.pid), try? pss(worker))
        peak.change { $0 = (max($0.supervisor, now.0 ?? 0), max($0.worker, now.1 ?? 0)) }
        try? await Task.sleep(for: .milliseconds(20))
      }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<20 {
        group.addTask {
          // The same content for all, so that Redis holds it once: it is not Redis that is measured.
          let body =
            "{\"messageId\":\"big\(index)\",\"to\":\"u@\(Zones.domain(index % 2))\",\"from\":\"n@sender.example\",\"subject\":\"Big\",\"text\":\"t\","
            + "\"ipPool\":\"transactional\",\"organizationId\":\"acme\",\"dkimDomain\":\"sender.example\",\"attachments\":[{\"filename\":\"a.bin\","
            + "\"contentType\":\"application/octet-stream\",\"content\":\"" + content + "\"}]}"
          let answer = try await mta.call("POST", "/send", body: body)
          #expect(answer.status == 200, "\(answer.body)")
        }
      }
      try await group.waitForAll()
    }
    try await eventually("all twenty are sent", within: .seconds(240)) { Set(mta.receiver.messageIDs("sent")).count == 21 }
    watch.cancel()
    #expect(counted.value.count == 21 && counted.value.filter { $0.key != "warm" }.values.allSatisfy { $0 > 35_000_000 })
    let rise = (supervisor: peak.value.supervisor - before.supervisor, worker: peak.value.worker - before.worker)
    print("20 messages of 25 MiB at once: supervisor +\(rise.supervisor) MiB, worker +\(rise.worker) MiB")
    #expect(rise.supervisor <= 2 * 20 * 25)
    #expect(rise.worker <= 2 * 20 * 25)
    try await eventually("memory falls back", within: .seconds(60)) {
      try pss(mta.pid) - before.supervisor <= 64 && pss(worker) - before.worker <= 64
    }
    await mta.tearDown()
  }
}
