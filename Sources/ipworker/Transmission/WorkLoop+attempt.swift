import ControlProtocol
import Journal
import Logging
import MailFormat
import MailModel
import NIOCore
import Observability
import Redis
import SMTPClient

/// What one attempt needs of the worker: whom to speak to, keys, and the journal's lines.
extension WorkLoop {
  func target(host: String, address: String, port: Int, tls: Route.TLSDemand) -> SMTPTarget {
    var target = SMTPTarget(
      hostName: host, address: address, port: port, sourceIP: sourceIP, ehloName: settings.ehloName, tls: tls,
      timeouts: settings.timeouts)
    target.allowsChunking = !hostsWithoutChunking.contains(host)
    return target
  }

  func enterRendering(_ record: MessageRecord) async {
    if record.contentSize > Self.largeContent { await largeRenderings.enter() }
  }

  func leaveRendering(_ record: MessageRecord) {
    if record.contentSize > Self.largeContent { largeRenderings.leave() }
  }

  /// - Parameter entry: the message that is to be signed; without one the supervisor gives no key.
  func signingKeys(domain: String, for entry: WorkEntry) async throws -> [DKIMKey] {
    // Relayed mail of strangers, where none of our domains can sign for it.
    guard !domain.isEmpty else { return [] }
    if let key = keys.known(domain) { return key }
    let result = await withCheckedContinuation { continuation in
      if keys.wait(for: domain, continuation) { control?.send(.needKey(domain: domain, entryID: entry.entryID)) }
    }
    return try result.get()
  }

  func write(_ kind: JournalLine.Kind, _ entry: WorkEntry) throws {
    // Once the end is decided no dot may follow what the journal then says.
    guard !hasFinished, kind != .dot || !forfeited.contains(entry.entryID) else { throw KeyError.supervisorGone }
    try journal.append(JournalLine(kind: kind, number: entry.number, serial: entry.serial, at: now()))
    begun[entry.entryID] = kind == .begin ? entry : nil
    if kind == .dot {
      cuttable[entry.entryID] = nil
      atDot.insert(entry.entryID)
    }
  }

  /// Without a journal nothing may begin: what waits goes back, slowly, until there is space again.
  func journalFailed(_ error: any Error) async {
    if SystemClock.monotonic() - journalFailedAt > 10_000 {
      journalFailedAt = SystemClock.monotonic()
      log.critical("journal cannot be written: nothing is begun", metadata: [LogKey.error: "\(error)"])
    }
    if !isEnding { try? await Task.sleep(for: .seconds(1)) }
  }

  /// A reply that cannot be written down leaves its dot alone: the message will be called uncertain, never sent twice.
  func writeReply(_ result: AttemptResult, _ entry: WorkEntry) {
    begun[entry.entryID] = nil
    guard result.kind != .unbegun, !hasFinished else { return }
    do {
      try journal.append(
        JournalLine(kind: .reply, number: entry.number, serial: entry.serial, at: now(), body: result.encoded()))
    } catch {
      log.critical("journal cannot be written", metadata: [LogKey.error: "\(error)"])
    }
  }
}
