import Journal
import MailFormat
import MailModel
import Observability
import Redis
import SMTPClient
import SMTPProtocol

/// One try at one message: render and sign, transmit, write down, settle. Steps 6 to 8 of a message's way; what comes
/// before is the supervisor's `Dispatcher`.
struct DeliveryAttempt {
  let entry: WorkEntry
  let record: MessageRecord
  let route: Route

  /// - Throws: ``RecordError`` when the entry is not one of ours.
  init(_ entry: WorkEntry) throws {
    self.entry = entry
    record = try MessageRecord(decoding: entry.record)
    route = try Route(decoding: entry.route)
  }

  /// Always ends in a settled result.
  func run(on worker: isolated WorkLoop) async {
    FailPoint.workerBeforeBegin.pass()
    let began = worker.now()
    var result: AttemptResult
    do {
      try worker.write(.begin, entry)
      let message = try await render(on: worker)
      result = await transmit(try await sign(message, on: worker), on: worker)
      if result.kind == .unsupported, message.isEightBit, let plain = SevenBitConversion.convert(message) {
        result = await transmit(try await sign(plain, on: worker), on: worker)
      }
    } catch {
      if error is JournalError { await worker.journalFailed(error) }
      result = failure(error, on: worker)
    }
    result.duration = max(0, worker.now() - began)
    FailPoint.workerAfterReply.pass()
    worker.writeReply(result, entry)
    if route.isShared { await worker.endShared(entry.lane, worker.lane(entry.lane)) }
    FailPoint.workerBeforeSettle.pass()
    worker.settle(entry, result)
  }

  /// Content by hash, fields and body. Large messages are built one at a time: in the making each costs several times its
  /// size.
  private func render(on worker: isolated WorkLoop) async throws -> RenderedMessage {
    await worker.enterRendering(record)
    defer { worker.leaveRendering(record) }
    return try MessageRenderer.render(record, try await worker.contents.content(of: entry))
  }

  /// DKIM signatures in front.
  private func sign(_ message: RenderedMessage, on worker: isolated WorkLoop) async throws -> RenderedMessage {
    let keys = try await worker.signingKeys(domain: record.dkimDomain, for: entry)
    await worker.enterRendering(record)
    defer { worker.leaveRendering(record) }
    var message = message
    message.fields.insert(contentsOf: try DKIMSigner.signatures(of: message, with: keys, now: SystemClock.wall()), at: 0)
    return message
  }

  private func transmit(_ message: RenderedMessage, on worker: isolated WorkLoop) async -> AttemptResult {
    var envelope = SMTPEnvelope(
      returnPath: "\(record.returnPathLocal)@\(record.returnPathHost)", recipient: record.recipient,
      isInternationalised: message.isInternationalised || record.recipient.utf8.contains { $0 >= 0x80 },
      isEightBit: message.isEightBit)
    envelope.envelopeID = record.returnPathLocal
    return await Transmission(
      route: route, lane: worker.lane(entry.lane), laneName: entry.lane, envelope: envelope, octets: message.octets,
      entryID: entry.entryID
    ).run(
      on: worker,
      beforeDot: {
        FailPoint.workerBeforeDot.pass(message: record.messageID)
        try worker.write(.dot, entry)
        FailPoint.workerAfterDotJournal.pass()
      },
      afterDot: { FailPoint.workerAfterDot.pass() })
  }

  private func failure(_ error: any Error, on worker: isolated WorkLoop) -> AttemptResult {
    let kind: AttemptResult.Kind =
      switch error {
      case ContentError.missing, ContentError.damaged: .contentMissing
      case is RedisError, KeyError.supervisorGone, KeyError.refused, is JournalError: .unbegun
      default: .unrenderable
      }
    var result = AttemptResult(kind: kind, sourceIP: worker.sourceIP, at: worker.now())
    result.text = "\(error)"
    return result
  }
}
