import ControlProtocol
import Logging
import MailModel
import Observability
import Redis

/// A worker that runs meets a run of Redis which may have lost what it did, or what it was given: whose its mail is then is judged
/// here, and its journal told from here. A worker itself reaches nothing but its own streams.
extension WorkerLife {
  /// - Returns: whether each is the worker's; none when it cannot be said now. Once the journal is told to a run nothing is claimed there.
  func judge(_ holdings: [ControlHolding], on run: String) async -> [Bool] {
    guard toldRun != run, settings.store.client.session?.runID == run else { return [] }
    let possible = holdings.filter(Self.canBe)
    let entries = possible.map { holding in
      (entry: HeldEntry(entryID: holding.entryID, number: MessageNumber(holding.number), serial: holding.serial), stage: holding.stage)
    }
    guard let answers = try? await settings.store.claim(ip: address, entries) else { return [] }
    var next = answers.makeIterator()
    return holdings.map { Self.canBe($0) && next.next() == true }
  }

  /// What a worker says that it has is written where others read it.
  static func canBe(_ holding: ControlHolding) -> Bool {
    holding.entryID.utf8.count <= 41 && holding.entryID.wholeMatch(of: /[0-9]+-[0-9]+/) != nil && (1..<(1 << 31)).contains(holding.serial)
  }

  /// One telling at a time; whoever asks meanwhile waits for it.
  /// - Returns: whether this run of Redis knows the journal now.
  func tellJournal(to run: String) async -> Bool {
    if let telling {
      _ = await telling.value
      return toldRun == run
    }
    let task = Task { await tellNow(to: run) }
    telling = task
    defer { telling = nil }
    return await task.value
  }

  private func tellNow(to run: String) async -> Bool {
    guard settings.store.client.session?.runID == run else { return false }
    guard toldRun != run else { return true }
    do { try await recovery.tell(ip: address, directory: directory, to: run) } catch {
      settings.log.warning("journal not told yet", metadata: [LogKey.sourceIP: "\(address)", LogKey.error: "\(error)"])
      return false
    }
    guard settings.store.client.session?.runID == run else { return false }
    toldRun = run
    await settings.replayed(address, run)
    return true
  }
}
