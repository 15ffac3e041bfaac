import Foundation
import TestSupport
import Testing

extension CommandTests {
  /// What more of each there is to see is in `ReloadTests` and `RunningIPTests`.
  func changesAtRunTime(_ mta: MTAFixture, _ asker: CommandAsker) async throws {
    #expect(try asker.ask("reload")["changes"] == .list([]))
    #expect(try asker.ask("ip add", "127.0.0.29", "--pool", "campaign", "--warmed").list?.first?["pool"] == .text("campaign"))
    #expect(try mta.command("ip", "add", "127.0.0.29", "--pool", "campaign").code == 1)
    func state() throws -> JSONValue? { try asker.ask("ip list").list?.first { $0["address"] == .text("127.0.0.29") }?["state"] }
    try await eventually("it is active") { try state() == .text("active") }
    let pid = try mta.workerPIDs()["127.0.0.29"]
    #expect(try asker.ask("worker restart", "127.0.0.29").list?.first?["state"] == .text("active"))
    #expect(try mta.workerPIDs()["127.0.0.29"] != pid)
    try asker.ask("ip drain", "127.0.0.29", "--reason", "a test")
    try await eventually("it is out") { try state() == .text("pulled") }
    #expect(try asker.ask("ip remove", "127.0.0.29").list?.count == 2)
    #expect(try mta.command("ip", "remove", "127.0.0.29").code == 1)
  }
}
