import DeliveryPolicy
import Feedback
import Foundation
import Testing

/// Labelled third-party mails; they lie beside the repository, not in it, and may be absent.
@Suite struct FeedbackCorpusTests {
  private struct Label: Decodable {
    var recipient: String
    var recipient_accept: [String]?
    var action: String?
    var status_accept: [String]?
    var category: String?
    var category_accept: [String]?
  }

  private struct Entry: Decodable {
    var file: String
    var kind: String
    var recipients: [Label]?
    var feedback_type: String?
    var original_message_id: String?
  }

  private struct Count {
    var right = 0
    var missed = 0
    var wrong = 0
    var recall: Double { Double(right) / Double(max(1, right + missed)) }
    var precision: Double { Double(right) / Double(max(1, right + wrong)) }
    mutating func add(_ isRight: Bool) { if isRight { right += 1 } else { missed += 1 } }
  }

  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "../shared/corpus/dev").standardizedFileURL
  private static let isThere = FileManager.default.fileExists(atPath: folder.path)

  private static func entries(_ name: String) throws -> [Entry] {
    try String(contentsOf: folder.appending(path: "\(name).jsonl"), encoding: .utf8).split(separator: "\n")
      .map { try JSONDecoder().decode(Entry.self, from: Data($0.utf8)) }
  }

  /// The file as it is, or with CRLF as it would arrive.
  private static func read(_ entry: Entry, asItArrives: Bool) throws -> Feedback {
    let octets = [UInt8](try Data(contentsOf: folder.appending(path: entry.file)))
    guard asItArrives else { return FeedbackReport.read(octets) }
    var converted: [UInt8] = []
    converted.reserveCapacity(octets.count + octets.count / 16)
    for (index, byte) in octets.enumerated() {
      switch byte {
      case 0x0D: converted += [0x0D, 0x0A]
      case 0x0A: if index == 0 || octets[index - 1] != 0x0D { converted += [0x0D, 0x0A] }
      default: converted.append(byte)
      }
    }
    return FeedbackReport.read(converted)
  }

  @Test(.enabled(if: isThere), arguments: [false, true]) func bouncesAreUnderstood(_ asItArrives: Bool) throws {
    var recipients = Count()
    var statuses = Count()
    var categories = Count()
    var reports = Count()
    for entry in try Self.entries("bounces") {
      let feedback = try Self.read(entry, asItArrives: asItArrives)
      reports.add(feedback.isBounce)
      var left = feedback.recipients
      for label in entry.recipients ?? [] {
        let accepted = Set(([label.recipient] + (label.recipient_accept ?? [])).map { $0.lowercased() })
        let index = left.firstIndex { accepted.contains($0.address.lowercased()) }
        let found = index.map { left.remove(at: $0) }
        recipients.add(found != nil)
        if let codes = label.status_accept, !codes.isEmpty { statuses.add(found?.status.map { codes.contains($0) } ?? false) }
        if let category = label.category {
          let accepted = [category] + (label.category_accept ?? [])
          categories.add(found.map { accepted.contains($0.replyClass.rawValue) } ?? false)
        }
      }
      recipients.wrong += left.count
    }
    #expect(reports.recall >= 0.99)
    #expect(recipients.recall >= 0.975, "\(recipients)")
    #expect(recipients.precision >= 0.985, "\(recipients)")
    #expect(statuses.recall >= 0.98, "\(statuses)")
    #expect(categories.recall >= 0.96, "\(categories)")
  }

  @Test(.enabled(if: isThere), arguments: [false, true]) func nothingElseIsABounce(_ asItArrives: Bool) throws {
    for entry in try Self.entries("not-bounces") {
      let feedback = try Self.read(entry, asItArrives: asItArrives)
      #expect(!feedback.isBounce, "\(entry.file)")
      #expect(feedback.complaint == nil, "\(entry.file)")
      if ["delay", "success_dsn", "dmarc_report", "auto_reply"].contains(entry.kind) {
        #expect(feedback.kind.rawValue == entry.kind, "\(entry.file)")
      }
    }
  }

  @Test(.enabled(if: isThere), arguments: [false, true]) func everyComplaintIsOne(_ asItArrives: Bool) throws {
    for entry in try Self.entries("complaints") {
      let feedback = try Self.read(entry, asItArrives: asItArrives)
      #expect(feedback.kind == .complaint, "\(entry.file)")
      #expect(feedback.complaint?.type == entry.feedback_type, "\(entry.file)")
      if let id = entry.original_message_id {
        let bare = id.trimmingCharacters(in: CharacterSet(charactersIn: "<>"))
        #expect(feedback.returned.messageID?.contains(bare) == true, "\(entry.file)")
      }
    }
  }
}
