import Foundation
import Logging
import TestSupport
import Testing

@testable import supervisor

@Suite struct AuditLogTests {
  @Test func linesAreWholeModesNarrowAndFilesBounded() async throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let path = scratch.file("audit.jsonl")
    let audit = AuditLog(path: path, fileLimit: 1000, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let key = "owlat_0123456789abcdef0123456789abcdef"
    for index in 0..<60 {
      await audit.note(
        who: "uid 0", from: nil, what: "dkim add",
        details: ["domain": "d\(index).example", "pem": "PRIVATE", "apiKey": key, "long": String(repeating: "x", count: 900)],
        outcome: "done")
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
    #expect(names.filter { $0.hasPrefix("audit.jsonl.") } == (1...AuditLog.kept).map { "audit.jsonl.\($0)" })
    for name in names {
      let text = try String(contentsOfFile: scratch.file(name), encoding: .utf8)
      #expect(!text.contains("PRIVATE") && !text.contains(key) && text.utf8.count < 1600)
      for line in text.split(separator: "\n") {
        let entry = try JSONDecoder().decode(AuditLog.Entry.self, from: Data(line.utf8))
        #expect(entry.details["long"]?.count == 200 && entry.details["apiKey"]?.hasPrefix("key ") == true)
      }
      #expect(try FileManager.default.attributesOfItem(atPath: scratch.file(name))[.posixPermissions] as? Int == 0o600)
    }
    let newest = try String(contentsOfFile: path + ".1", encoding: .utf8)
    #expect(newest.contains("d59.example") || (try? String(contentsOfFile: path, encoding: .utf8))?.contains("d59.example") == true)
  }

  @Test(arguments: [
    ("ip pull", true), ("ip list", false), ("queue preview", false), ("queue cancel", true), ("status", false), ("send", false),
    ("dkim add", true), ("reload", true), ("message resend", true), ("message show", false),
  ])
  func looksAreNoActions(command: String, isAction: Bool) { #expect(AuditLog.isAction(command) == isAction) }
}
