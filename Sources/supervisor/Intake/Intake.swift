import DequeModule
import Foundation
import Logging
import MTAConfig
import MailFormat
import MailModel
import Observability
import Redis

/// What became of one submission.
enum IntakeAnswer: Sendable, Equatable {
  case accepted(messageID: String)
  case duplicate(messageID: String)
  case refused(APIError)
}

/// Accept with group commit: requests that arrive while one durable write is under way share the next. A message is told
/// accepted only after that write.
actor Intake {
  /// A write waits this long at most for requests that are being read.
  static let gatherLimit: Duration = .milliseconds(4)
  static let slice = 500
  /// So many requests within 100 ms are a burst: its writes begin at least so many ms apart. A client that sends one at a
  /// time never waits.
  static let burstSize = 24
  static let burstSpacing: Int64 = 16
  /// How long the fate of an accept may be unknown before the client is told so.
  static let patience: Milliseconds = 6_000
  static let receiptLife: Milliseconds = 4 * 86_400_000

  /// A submission with its content as it is stored.
  struct Ready: Sendable {
    var submission: Submission
    var hash: String
    /// Compressed; empty = it goes with another of its slice, or Redis has it.
    var packed: [UInt8]
    /// Octets before compression.
    var size: Int
    /// Nil = the configuration's.
    var returnPathHost: String?
    var warnings: [IntakeWarning] = []
  }

  private struct Waiting {
    var ready: Ready
    var continuation: CheckedContinuation<IntakeAnswer, Never>
  }

  /// Content by hash and compressed: what many messages share is stored once.
  static func pack(_ content: MessageContent) -> (hash: String, octets: [UInt8], size: Int) {
    let octets = content.encoded()
    return (Digest.hex(Digest.sha256(octets)), Compression.compress(octets), octets.count)
  }

  private let store: QueueStore
  private let host: String
  private let config: ConfigInForce
  private let numbers: MessageNumbers
  private let verp: VERPSigner
  private let links: FeedbackLinks
  private let pauses: Pauses
  private let admission: Admission
  private let heads: @Sendable ([QueueHead]) async -> Void
  private let log: Logger
  private var waiting = Deque<Waiting>()
  /// Requests whose body is being read or judged: they may join the next write.
  private var arriving = 0
  private var isRunning = false
  private var isGathering = false
  private var gathered: CheckedContinuation<Void, Never>?
  private var burstSince: Int64 = 0
  private var burst = 0
  private var lastWrite: Int64 = 0
  private(set) var writes = 0
  private(set) var accepted = 0
  private(set) var duplicates = 0

  init(
    store: QueueStore, host: String, config: ConfigInForce, numbers: MessageNumbers, verp: VERPSigner, pauses: Pauses,
    admission: Admission, log: Logger,
    heads: @escaping @Sendable ([QueueHead]) async -> Void
  ) {
    self.store = store
    self.host = host
    self.config = config
    self.numbers = numbers
    self.verp = verp
    links = FeedbackLinks(config: config.current, signer: verp)
    self.pauses = pauses
    self.admission = admission
    self.heads = heads
    self.log = log
  }

  /// A request has begun; pair it with ``submit(_:returnPathHost:)`` or ``left()``.
  func arrived() {
    arriving += 1
    let now = SystemClock.monotonic()
    if now - burstSince > 100 {
      burstSince = now
      burst = 0
    }
    burst += 1
  }

  /// It ended without a submission.
  func left() {
    arriving -= 1
    endGatheringIfComplete()
  }

  /// Accepts one message; returns after the durable write, or with the reason why there was none.
  func submit(_ ready: Ready) async -> IntakeAnswer {
    arriving -= 1
    return await withCheckedContinuation { continuation in
      waiting.append(Waiting(ready: ready, continuation: continuation))
      endGatheringIfComplete()
      if !isRunning {
        isRunning = true
        Task { await self.work() }
      }
    }
  }

  /// Accepts at most ``slice`` messages of a batch in one write of their own.
  /// - Parameter sharedContent: what all of them use; its octets go along only when Redis does not have them.
  func submit(slice batch: [Ready], sharedContent: [UInt8]?) async -> [IntakeAnswer] {
    guard !batch.isEmpty else { return [] }
    let answers = await write(batch)
    guard let sharedContent, answers.contains(Self.needsContent) else { return answers }
    var withOctets = batch
    withOctets[0].packed = sharedContent
    return await write(withOctets)
  }

  private func endGatheringIfComplete() {
    guard arriving <= 0, let gathered else { return }
    self.gathered = nil
    gathered.resume()
  }

  private func work() async {
    while !waiting.isEmpty {
      if arriving > 0 { await gather() }
      let pause = lastWrite + Self.burstSpacing - SystemClock.monotonic()
      if burst >= Self.burstSize, pause > 0 { try? await Task.sleep(for: .milliseconds(pause)) }
      lastWrite = SystemClock.monotonic()
      let count = min(waiting.count, Self.slice)
      let batch = Array(waiting.prefix(count))
      waiting.removeFirst(count)
      let answers = await write(batch.map(\.ready))
      for (item, answer) in zip(batch, answers) { item.continuation.resume(returning: answer) }
    }
    isRunning = false
  }

  /// Waits until every request under way has come this far, or the limit is over.
  private func gather() async {
    let timer = Task {
      try? await Task.sleep(for: Self.gatherLimit)
      self.endGathering()
    }
    await withCheckedContinuation { gathered = $0 }
    timer.cancel()
  }

  private func endGathering() {
    gathered?.resume()
    gathered = nil
  }

  // MARK: one write

  private func write(_ batch: [Ready]) async -> [IntakeAnswer] {
    if let refusal = admission.admit(messages: batch.count, octets: batch.reduce(0) { $0 + $1.packed.count }) {
      return batch.map { _ in .refused(refusal) }
    }
    let answers = await writeOnce(batch)
    // Redis found the deadline passed at once: one of the two clocks was set. Nothing was done, so once more by what it is now.
    guard answers.contains(.refused(Self.late)), (try? await store.client.measureClock()) != nil else { return answers }
    return await writeOnce(batch)
  }

  private func writeOnce(_ batch: [Ready]) async -> [IntakeAnswer] {
    let now = SystemClock.now()
    guard let session = store.client.session, let taken = try? await numbers.take(batch.count) else {
      return batch.map { _ in .refused(Self.away) }
    }
    let items = zip(batch, taken).map { item($0, number: $1, now: now) }
    var contents: [String: [UInt8]] = [:]
    for ready in batch where !ready.packed.isEmpty { contents[ready.hash] = ready.packed }
    let nonce = String(taken[0].value, radix: 36) + "-" + String(UInt32.random(in: .min ... .max), radix: 36)
    let deadline = now + session.clockOffset + Self.patience
    FailPoint.supervisorBeforeAccept.pass()
    writes += 1
    do {
      let answers = try await acceptUntilKnown(items, contents, nonce: nonce, now: now, deadline: deadline)
      FailPoint.supervisorAfterAccept.pass()
      accepted += answers.count { $0.status == .accepted }
      duplicates += answers.count { $0.status == .duplicate }
      return zip(batch, answers).map { answer($1, $0) }
    } catch RedisError.notConnected {
      return batch.map { _ in .refused(Self.away) }
    } catch let error as RedisError where error.isOutOfMemory {
      return batch.map { _ in .refused(Self.redisFull) }
    } catch RedisError.lost {
      return batch.map { _ in .refused(Self.pending) }
    } catch {
      log.error("accept failed", metadata: [LogKey.error: "\(error)"])
      return batch.map { _ in .refused(APIError(status: 500, text: "Failed to queue email")) }
    }
  }

  /// The same accept again while nobody knows whether it ran: its nonce tells its own receipts from others', and after the
  /// deadline it does nothing, so the last answer is the truth about all of them.
  private func acceptUntilKnown(
    _ items: [AcceptItem], _ contents: [String: [UInt8]], nonce: String, now: Milliseconds, deadline: Milliseconds
  ) async throws -> [AcceptAnswer] {
    var wasWritten = false
    let giveUp = SystemClock.monotonic() + Self.patience + 4_000
    while true {
      do {
        let (answers, heads) = try await store.accept(
          host: host, now: now, deadline: deadline, nonce: nonce, maxMessages: config.limits.queueMaxMessages,
          suppressedOutcome: Dispatcher.outcome(.suppressed, now), contents: contents, items: items)
        await self.heads(heads)
        return answers
      } catch let error as RedisError where error == .lost || wasWritten {
        // Once an answer was lost, no refusal of a repeat says that the first was not done.
        wasWritten = true
        guard SystemClock.monotonic() < giveUp else { throw RedisError.lost }
        try? await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  private func item(_ ready: Ready, number: MessageNumber, now: Milliseconds) -> AcceptItem {
    let submission = ready.submission
    let start = submission.sendAt ?? now
    let expires = min(start + config.smtp.maxAge, submission.deliverBy ?? .max)
    var record = MessageRecord(
      messageID: submission.messageID, workAttemptID: submission.workAttemptID, organisation: submission.organisation,
      recipient: submission.recipient.description, pool: submission.pool, dkimDomain: submission.dkimDomain,
      returnPathLocal: VERPSigner.prefix + verp.token(number), returnPathHost: ready.returnPathHost ?? config.bounce.domain,
      acceptedAt: now,
      expiresAt: expires, deliveryDomain: submission.deliveryDomain, contentSize: ready.size)
    record.messageIDField = submission.messageIDField
    record.campaignID = submission.campaignID
    record.tags = submission.tags
    record.author =
      submission.content.authorName.map { "\($0) <\(submission.content.authorAddress)>" } ?? submission.content.authorAddress
    record.values = submission.values
    record.isSealed = submission.content.sealed != nil
    links.add(to: &record, submission, number: number)
    var item = AcceptItem(
      number: number, record: record, identity: submission.workAttemptID ?? submission.messageID,
      group: Group(set: submission.ipSet.description, domain: submission.recipient.domain),
      score: submission.band.score(acceptedAt: start), due: submission.sendAt, contentHash: ready.hash,
      receiptUntil: max(start + Self.receiptLife, expires),
      // No suppression names nobody.
      address: submission.organisation == Organisation.postmaster ? "" : submission.recipient.normalised)
    item.list = submission.list
    if let objection = submission.objection { item.outcome = Dispatcher.outcome(.screened, now, detail: objection) }
    item.heldFor = pauses.reason(campaign: submission.campaignID, tags: submission.tags)
    return item
  }

  private func answer(_ answer: AcceptAnswer, _ ready: Ready) -> IntakeAnswer {
    switch answer.status {
    case .accepted: .accepted(messageID: ready.submission.messageID)
    case .duplicate: .duplicate(messageID: answer.messageID)
    case .queueFull: .refused(Self.full)
    case .needsContent: Self.needsContent
    case .late: .refused(Self.late)
    }
  }

  /// Nothing was done: the same once more, with the content's octets. Told to a client (who may try again) only if they were
  /// with it, which cannot be.
  private static let needsContent = IntakeAnswer.refused(
    APIError(status: 503, text: "Service temporarily unavailable: content is missing", retryAfterSeconds: 1))
  static let away = APIError(status: 503, text: "Service temporarily unavailable: queue is not reachable", retryAfterSeconds: 5)
  private static let late = APIError(status: 503, text: "Service temporarily unavailable: the queue was too slow", retryAfterSeconds: 5)
  static let full = APIError(status: 429, text: "Queue is full", retryAfterSeconds: 30)
  static let redisFull = APIError(status: 503, text: "Service temporarily unavailable: Redis is full", retryAfterSeconds: 30)
  static let pending = APIError(
    status: 409, text: "Intake reservation is still pending", code: "INTAKE_PENDING", retryAfterSeconds: 1)
}
