import Foundation
import GRDB
import MailModel
import TestSupport
import Testing

@testable import supervisor

/// `inbound.db`: mail that was answered 250 and is ours.
@Suite struct InboundStoreTests {
  static func mail(_ id: String, _ state: InboundStore.State = .held, route: String = "in.example:hold", at: Milliseconds = 1)
    -> InboundStore.Mail
  {
    InboundStore.Mail(
      id: id, state: state, routeID: route, from: "a@remote.example", recipient: "hold@in.example", subject: "s", size: 3, receivedAt: at)
  }

  /// A listing of much mail reads none of it.
  @Test func aListingReadsNoContent() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let store = try InboundStore(path: scratch.file("inbound.db"))
    for index in 0..<16 {
      try await store.store(Self.mail("in-\(index)", at: Milliseconds(index)), content: [UInt8](repeating: 0x41, count: 8 << 20))
    }
    try "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
    let before = try Self.status("VmRSS")
    #expect(try await store.held(limit: 10, offset: 4).map(\.id) == (4..<14).map { "in-\($0)" })
    #expect(try Self.status("VmHWM") - before < 24 << 10, "KiB")
    #expect(try await store.content("in-3")?.count == 8 << 20)
    #expect(try await store.drop("in-3"))
    #expect(try await store.content("in-3") == nil)
  }

  private static func status(_ name: String) throws -> Int {
    let line = try String(contentsOfFile: "/proc/self/status", encoding: .utf8).split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return Int(line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first ?? "") ?? 0
  }

  /// What waits is bounded, in all and by route, and counted anew from the file.
  @Test func whatWaitsIsBounded() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let path = scratch.file("inbound.db")
    var store = try InboundStore(path: path, most: 40_000)
    let content = [UInt8](repeating: 0, count: 8000)
    func put(_ id: String, _ route: String) async throws -> Bool {
      do { try await store.store(Self.mail(id, route: route), content: content) } catch InboundStore.Fault.full { return false }
      return true
    }
    // The same again takes no more room; a second of the route is more than its quarter.
    #expect(try await [put("a-1", "a"), put("a-1", "a"), put("a-2", "a"), put("b-1", "b")] == [true, false, false, true])
    #expect(!store.hasRoom("a", for: 8000) && store.hasRoom("c", for: 8000) && store.size == 2 * 9024)
    #expect(try await [put("c-1", "c"), put("d-1", "d"), put("e-1", "e")] == [true, true, false])
    store = try InboundStore(path: path, most: 40_000)
    #expect(store.size == 4 * 9024)
    #expect(try await put("e-1", "e") == false)
    #expect(try await store.drop("a-1"))
    #expect(try await put("e-1", "e"))
    #expect(try await put("a-1", "a") == false)
    #expect(store.size == 4 * 9024)
  }

  /// Mail of a file of the first version is there still.
  @Test func aFileOfTheFirstVersionIsReadOn() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    try await DatabaseQueue(path: scratch.file("inbound.db")).write { db in
      try db.execute(
        sql: """
          CREATE TABLE mail(id TEXT PRIMARY KEY, state TEXT NOT NULL, route TEXT NOT NULL, sender TEXT NOT NULL,
            recipient TEXT NOT NULL, subject TEXT NOT NULL, payload TEXT NOT NULL, size INTEGER NOT NULL, received_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
          CREATE INDEX mail_by_due ON mail(state, due_at);
          CREATE TABLE seen(id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
          CREATE INDEX seen_by_time ON seen(at);
          INSERT INTO mail VALUES ('in-1', 'forwarding', 'in.example:a', 'x@y.example', 'a@in.example', 'Grüße', '{"ü":1}', 9, 5, 0, 2);
          INSERT INTO seen VALUES ('in-1', 5);
          """)
    }
    for _ in 0..<2 {
      let store = try InboundStore(path: scratch.file("inbound.db"))
      let mail = try #require(try await store.due(.forwarding, now: 10, limit: 5).first)
      #expect(mail.id == "in-1" && mail.subject == "Grüße" && mail.tries == 2 && mail.size == 9 && mail.receivedAt == 5)
      #expect(try await store.content("in-1") == Array("{\"ü\":1}".utf8))
    }
  }
}
