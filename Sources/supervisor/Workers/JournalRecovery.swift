import Journal
import Logging
import MailModel
import Observability
import Redis

/// Settles what a worker left behind, from its journal: replies as they were, dots without reply as uncertain, the rest
/// given back. Only whoever holds the journal's lock may do it; ``tell(ip:directory:to:)`` repeats
/// what a running worker wrote and decides nothing.
struct JournalRecovery {
  let store: QueueStore
  let host: String
  let log: Logger

  /// - Parameters:
  ///   - blames: what was begun is marked, since it may have ended the worker.
  ///   - takesOver: the IP becomes this host's, whoever had it. What that host's worker had read and our journal does not know may have been
  ///     delivered: uncertain.
  ///   - run: of the Redis behind `store`.
  /// - Returns: true when a message marked before was under way again: it is to blame for the end, not its IP.
  func run(ip: String, directory: String, blames: Bool, takesOver: Bool = false, on run: String, now: Milliseconds) async throws -> Bool {
    let (attempts, position) = try JournalReader.read(directory: directory)
    // The stream of an IP that has moved is its new host's: what our journal does not know there is that one's mail.
    let isForeign = try await store.owner(ip: ip).map { $0 != host } ?? false
    let entries = !isForeign || takesOver ? try await store.unsettledWork(ip: ip) : []
    let claimed = !isForeign || takesOver ? try await store.claims(ip: ip) : []
    let readElsewhere = isForeign && takesOver ? try await store.entriesRead(ip: ip).union(claimed.map(\.entryID)) : []
    let stored = try await store.journalPosition(ip: ip, host: host) ?? 0
    var settlements: [Settlement] = []
    var decided: [JournalLine] = []
    for entry in entries.map({ HeldEntry(entryID: $0.entryID, number: $0.number, serial: $0.serial) }) + claimed {
      let attempt = attempts[JournalReader.Key(number: entry.number, serial: entry.serial)]
      let isUnknown = attempt == nil && readElsewhere.contains(entry.entryID)
      let outcome = isUnknown ? Self.leftElsewhere(ip, now) : outcome(of: attempt, ip: ip, blames: blames, now: now)
      if isUnknown || attempt?.outcome == nil && attempt?.hasDot == true {
        decided.append(JournalLine(kind: .reply, number: entry.number, serial: entry.serial, at: now, body: outcome))
      }
      settlements.append(
        Settlement(entryID: entry.entryID, number: entry.number, serial: entry.serial, outcome: outcome))
    }
    // What Redis may have lost: lines behind the position that it knows. Within one run it loses nothing, and a journal, which a worker that was
    // taken over can write as it likes, is asked about its own entries alone.
    let isTold = try await store.toldRun(ip: ip, host: host) == run
    let lost = isTold ? [:] : attempts.filter { $0.value.position > stored }
    for (key, attempt) in lost where attempt.outcome == nil && attempt.hasDot {
      decided.append(
        JournalLine(
          kind: .reply, number: key.number, serial: key.serial, at: now, body: outcome(of: attempt, ip: ip, blames: blames, now: now)))
    }
    try write(decided, directory, now)
    try await store.mendOutcomes(ip: ip, host: host, now: SystemClock.wall())
    FailPoint.supervisorBeforeRecovery.pass()
    for start in stride(from: 0, to: settlements.count, by: 128) {
      let slice = Array(settlements[start..<min(start + 128, settlements.count)])
      try await store.settle(ip: ip, host: host, journalPosition: nil, slice)
    }
    FailPoint.supervisorInRecovery.pass()
    let lines = lost.map { key, attempt in
      ReplayedLine(
        number: key.number, serial: key.serial, outcome: outcome(of: attempt, ip: ip, blames: blames, now: now),
        letsGo: attempt.outcome == nil && !attempt.hasDot)
    }
    try await replay(lines, ip)
    try await store.setJournalPosition(ip: ip, host: host, position)
    try await store.setToldRun(ip: ip, host: host, run)
    FailPoint.supervisorAfterRecovery.pass()
    if !settlements.isEmpty || !lines.isEmpty {
      log.notice(
        "journal settled", metadata: [LogKey.sourceIP: "\(ip)", "entries": "\(settlements.count)", "lines": "\(lines.count)"])
    }
    return blames
      && entries.contains { entry in
        entry.crashMarks > 0
          && attempts[JournalReader.Key(number: entry.number, serial: entry.serial)].map { $0.hasBegun && $0.outcome == nil } == true
      }
  }

  /// Tells the journal of a worker that runs to a Redis that has not heard it: every reply, wherever the message is there.
  func tell(ip: String, directory: String, to run: String) async throws {
    let lines = try journal(directory).compactMap { key, attempt in
      attempt.outcome.map { ReplayedLine(number: key.number, serial: key.serial, outcome: $0) }
    }
    try await replay(lines, ip)
    try await store.setToldRun(ip: ip, host: host, run)
  }

  private func replay(_ lines: [ReplayedLine], _ ip: String) async throws {
    for start in stride(from: 0, to: lines.count, by: 256) {
      _ = try await store.replay(ip: ip, host: host, Array(lines[start..<min(start + 256, lines.count)]))
    }
  }

  /// Its worker writes on: a segment that is past its time may go between listing and reading.
  private func journal(_ directory: String) throws -> [JournalReader.Key: JournalReader.Attempt] {
    for _ in 0..<2 {
      if let read = try? JournalReader.read(directory: directory) { return read.attempts }
    }
    return try JournalReader.read(directory: directory).attempts
  }

  private func outcome(of attempt: JournalReader.Attempt?, ip: String, blames: Bool, now: Milliseconds) -> [UInt8] {
    if let known = attempt?.outcome { return known }
    var result = AttemptResult(kind: .unbegun, sourceIP: ip, at: now)
    if attempt?.hasDot == true {
      result.kind = .uncertain
      result.text = "the worker ended between the final dot and its reply"
    } else {
      result.crashed = blames && attempt?.hasBegun == true
    }
    return result.encoded()
  }

  private static func leftElsewhere(_ ip: String, _ now: Milliseconds) -> [UInt8] {
    var result = AttemptResult(kind: .uncertain, sourceIP: ip, at: now)
    result.text = "the IP's host before had it when this one took the IP over"
    return result.encoded()
  }

  /// What was decided is written down before it is told, so that it stands if Redis loses it.
  private func write(_ lines: [JournalLine], _ directory: String, _ now: Milliseconds) throws {
    guard !lines.isEmpty else { return }
    var writer = try JournalWriter(directory: directory, now: now, keepsAll: true)
    for line in lines { try writer.append(line) }
  }
}
