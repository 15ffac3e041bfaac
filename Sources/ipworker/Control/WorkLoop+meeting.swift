import ControlProtocol
import Logging
import MailModel
import NIOCore
import Observability
import Redis

/// Meeting a run of Redis that may have lost settles, or dispatches before them. What we hold is the supervisor's to judge, since no
/// worker may touch what others wait for, and so is the journal to tell.
extension WorkLoop {
  private static let claimsPerQuestion = 512
  /// As long as the supervisor needs to tell a whole journal.
  private static let answerLimit: TimeAmount = .seconds(30)

  /// Before commands go to a Redis that we have not met: what we hold is claimed, then the journal told; whatever ended before the claim
  /// has its reply there by then.
  func meet(_ session: RedisClient.Session) async throws {
    guard session.runID != metRunID else { return }
    if questions.isClosed {
      standAlone()
    } else {
      if metRunID != nil { try await claim(on: session.runID) }
      FailPoint.workerBeforeReplay.pass()
      guard case .told(_, true) = await ask({ .met(question: $0, runID: session.runID) }) else { throw RedisError.notConnected }
      FailPoint.workerAfterReplay.pass()
      // What is still in our stream and was settled before was given back, and Redis lost that: it is taken up again.
      settled = RecentEntries(capacity: Self.remembered)
    }
    metRunID = session.runID
  }

  private func ask(_ notice: (Int) -> ControlNotice) async -> ControlOrder? {
    guard !questions.isClosed, let control else { return nil }
    let question = questions.next()
    control.send(notice(question))
    let late = eventLoop.scheduleTask(in: Self.answerLimit) { self.assumeIsolated { $0.questions.answer(question, nil) } }
    defer { late.cancel() }
    return await withCheckedContinuation { questions.wait(for: question, $0) }
  }

  /// Without a supervisor nothing can be claimed: what is not at its dot does not come to it, what has not begun is the queue's.
  private func standAlone() {
    isJournalUntold = true
    forfeited.formUnion(underWay)
  }

  /// What is under way stays ours; what has not begun and whose dispatch Redis lost is dropped, since it is dispatched anew.
  private func claim(on run: String) async throws {
    isClaiming = true
    defer { isClaiming = false }
    let pending = settler.entryIDs
    let held = inHand.values.filter { !pending.contains($0.entryID) && !dropped.contains($0.entryID) }
      .map { (entry: $0, stage: stage(of: $0.entryID)) }
    var lost: Set<String> = []
    for start in stride(from: 0, to: held.count, by: Self.claimsPerQuestion) {
      let slice = Array(held[start..<min(start + Self.claimsPerQuestion, held.count)])
      let holdings = slice.map { row in
        ControlHolding(
          entryID: row.entry.entryID, number: row.entry.number.value, serial: row.entry.serial, stage: row.stage)
      }
      guard case .claimed(_, let answers) = await ask({ .claim(question: $0, runID: run, holdings) }), answers.count == slice.count else {
        throw RedisError.notConnected
      }
      for (row, isOurs) in zip(slice, answers) where !isOurs {
        if row.stage != .waiting { forfeited.insert(row.entry.entryID) } else { lost.insert(row.entry.entryID) }
      }
    }
    drop(lost)
  }

  private func stage(of entryID: String) -> HoldingStage {
    guard underWay.contains(entryID) else { return .waiting }
    return atDot.contains(entryID) ? .atDot : .underWay
  }

  private func drop(_ lost: Set<String>) {
    guard !lost.isEmpty else { return }
    for id in lost { inHand[id] = nil }
    var left = lost
    for lane in lanes.values { for entry in lane.takeWaiting(where: { lost.contains($0.entryID) }) { left.remove(entry.entryID) } }
    for entry in quarantine where lost.contains(entry.entryID) { left.remove(entry.entryID) }
    quarantine.removeAll { lost.contains($0.entryID) }
    // Those that wait for their permit.
    dropped.formUnion(left)
    log.notice("dispatches that Redis lost are dropped", metadata: ["count": "\(lost.count)"])
  }
}
