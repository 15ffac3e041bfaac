import SMTPServer
import TestSupport
import Testing

/// What must hold of every message whatever broke: it ended, and no recipient has it twice.
struct Exactness {
  /// Ids in the order of their acceptance.
  let accepted: [String]
  let receiver: WebhookReceiver
  let dots: DotLog

  var ended: Set<String> { Set(["sent", "uncertain", "bounced", "failed"].flatMap(receiver.messageIDs)) }

  func waitUntilEnded(within limit: Duration = .seconds(60)) async throws {
    let wanted = Set(accepted)
    do {
      try await eventually("every message has ended", within: limit) { ended.isSuperset(of: wanted) }
    } catch {
      Issue.record("lost or late: \(wanted.subtracting(ended).sorted().prefix(10)) of \(wanted.count)")
      throw error
    }
  }

  /// - Parameter unseenUncertain: uncertain messages that the sink may not have seen (cut between journal and wire).
  func check(_ sink: [String], unseenUncertain: Int = 0, sourceLocation: SourceLocation = #_sourceLocation) {
    var times: [String: Int] = [:]
    for id in sink { times[id, default: 0] += 1 }
    let twice = times.filter { $0.value > 1 }.keys.sorted()
    #expect(twice.isEmpty, "delivered twice: \(twice.prefix(5)), \(dots.describe(twice.first ?? ""))", sourceLocation: sourceLocation)
    let sent = Set(receiver.messageIDs("sent"))
    let uncertain = Set(receiver.messageIDs("uncertain"))
    #expect(sent.isDisjoint(with: uncertain), sourceLocation: sourceLocation)
    #expect(sent.isSubset(of: Set(sink)), "told sent and never seen", sourceLocation: sourceLocation)
    #expect(uncertain.subtracting(sink).count <= unseenUncertain, "uncertain and never seen", sourceLocation: sourceLocation)
    #expect(Set(sink) == sent.union(uncertain.intersection(sink)), "seen and neither sent nor uncertain", sourceLocation: sourceLocation)
  }
}

/// Remembers every final dot before it answers.
final class DotLog: Sendable {
  private let messages = Locked<[SinkMessage]>([])

  var all: [String] { messages.value.map(\.messageID) }
  func note(_ message: SinkMessage) { messages.change { $0.append(message) } }

  /// Where and when a message was seen, for the text of a failure.
  func describe(_ id: String) -> String {
    messages.value.filter { $0.messageID == id }.map { "\($0.peer) \($0.returnPath) at \($0.receivedAt) session \($0.session)" }
      .joined(separator: "; ")
  }
}
