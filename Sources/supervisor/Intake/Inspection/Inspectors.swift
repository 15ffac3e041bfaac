import DequeModule
import Logging
import MTAConfig
import MailFormat
import MailModel
import NIOCore
import Observability

/// Shows mail to the configured inspectors before it is accepted: as it will be sent, but for the token of its own return-path
/// and the signature, which come later. One content is shown once, however many recipients share it.
///
/// What they reject is accepted and told as `failed` CONTENT_SCREENED, like all that ``ContentScreen`` objects to. An inspector
/// that does not answer lets mail pass (`fail: open`) or shuts intake with 503 (`closed`); one that is dead is asked by one
/// message at a time, so that the others need not wait for it.
actor Inspectors {
  /// Messages that are shown at once, and those that may wait for their turn.
  static let most = 16
  static let mostWaiting = 256
  /// So many failures in a row, and it is left alone for a while.
  static let patience = 3
  static let rest: Milliseconds = 5_000
  /// A verdict is remembered so long, of so many contents.
  static let memoryLife: Milliseconds = 300_000
  static let memorySize = 2_048
  static let logSpacing: Milliseconds = 10_000

  static let unavailable = APIError(
    status: 503, text: "Service temporarily unavailable: the content cannot be inspected", retryAfterSeconds: 30)

  enum Result: String, Sendable, CaseIterable { case clean, rejected, error }

  struct CountKey: Hashable, Sendable {
    var kind: MTAConfig.Inspector.Kind
    var result: Result
  }

  private enum Finding: Sendable, Equatable {
    case clean
    case rejected(String)
    /// Not seen by all, and it may go all the same.
    case unseen
    case unavailable
  }

  private struct Health {
    var failures = 0
    var restsUntil: Int64 = 0
    var loggedAt: Int64 = .min / 2
    var unlogged = 0
  }

  nonisolated let inspectors: [MTAConfig.Inspector]
  private let bounceDomain: String
  private let group: any EventLoopGroup
  private let log: Logger
  private var health: [Health]
  private var memory: [String: (finding: Finding, until: Int64)] = [:]
  private var running: [String: Task<Finding, Never>] = [:]
  private var free = most
  private var waiting = Deque<(id: Int, continuation: CheckedContinuation<Bool, Never>)>()
  private var nextID = 0
  private(set) var counts: [CountKey: Int] = [:]

  init(_ inspectors: [MTAConfig.Inspector], bounceDomain: String, group: any EventLoopGroup, log: Logger) {
    self.inspectors = inspectors
    self.bounceDomain = bounceDomain
    self.group = group
    self.log = log
    health = Array(repeating: Health(), count: inspectors.count)
  }

  nonisolated var isEmpty: Bool { inspectors.isEmpty }

  /// - Returns: why it may not go; nil when it may.
  /// - Throws: ``unavailable`` when an inspector that must see it did not.
  func objection(to ready: Intake.Ready) async throws(APIError) -> String? {
    guard !inspectors.isEmpty else { return nil }
    switch await finding(ready) {
    case .clean, .unseen: return nil
    case .rejected(let text): return text
    case .unavailable: throw Self.unavailable
    }
  }

  /// The same for a slice of a batch: those whose content was objected to or not seen, by place.
  nonisolated func examine(_ slice: [Intake.Ready]) async -> [Int: Swift.Result<String, APIError>] {
    guard !inspectors.isEmpty else { return [:] }
    return await withTaskGroup(of: (Int, Swift.Result<String, APIError>?).self) { group in
      var next = 0
      func add() {
        guard next < slice.count else { return }
        let (index, ready) = (next, slice[next])
        next += 1
        group.addTask {
          guard ready.submission.objection == nil else { return (index, nil) }
          do throws(APIError) {
            return (index, try await self.objection(to: ready).map { .success($0) })
          } catch { return (index, .failure(error)) }
        }
      }
      // Half of the places: a batch must leave some to others.
      for _ in 0..<Self.most / 2 { add() }
      var found: [Int: Swift.Result<String, APIError>] = [:]
      while let (index, result) = await group.next() {
        found[index] = result
        add()
      }
      return found
    }
  }

  // MARK: one content

  private func finding(_ ready: Intake.Ready) async -> Finding {
    let key = Self.key(ready)
    if let known = memory[key], known.until > SystemClock.monotonic() { return known.finding }
    if let task = running[key] { return await task.value }
    let task = Task { await self.ask(ready) }
    running[key] = task
    let finding = await task.value
    running[key] = nil
    if finding == .clean || isRejection(finding) { remember(key, finding) }
    return finding
  }

  private func isRejection(_ finding: Finding) -> Bool { if case .rejected = finding { true } else { false } }

  /// The content and what its names stand for: what recipients share.
  private static func key(_ ready: Intake.Ready) -> String {
    guard !ready.submission.values.isEmpty else { return ready.hash }
    var octets: [UInt8] = []
    for value in ready.submission.values {
      octets += Array("\(value.name.utf8.count):\(value.name)\(value.value.utf8.count):\(value.value)".utf8)
    }
    return ready.hash + Digest.hex(Digest.sha256(octets))
  }

  private func remember(_ key: String, _ finding: Finding) {
    let now = SystemClock.monotonic()
    if memory.count >= Self.memorySize {
      memory = memory.filter { $0.value.until > now }
      if memory.count >= Self.memorySize { memory = [:] }
    }
    memory[key] = (finding, now + Self.memoryLife)
  }

  private func ask(_ ready: Intake.Ready) async -> Finding {
    let deadline = SystemClock.monotonic() + (inspectors.map(\.timeout).max() ?? 0)
    guard await enter(until: deadline) else {
      for inspector in inspectors { count(inspector, .error) }
      return inspectors.contains { $0.failure == .closed } ? .unavailable : .unseen
    }
    defer { leave() }
    // What cannot be rendered never leaves: the worker says so.
    guard let mail = try? mail(ready) else { return .unseen }
    let verdicts = await withTaskGroup(of: (Int, InspectorDialect.Verdict?).self) { group in
      for index in inspectors.indices { group.addTask { (index, await self.verdict(index, mail, deadline)) } }
      var verdicts: [Int: InspectorDialect.Verdict] = [:]
      for await (index, verdict) in group { verdicts[index] = verdict }
      return verdicts
    }
    for index in inspectors.indices { if case .rejected(let text)? = verdicts[index] { return .rejected(text) } }
    let missing = inspectors.indices.filter { verdicts[$0] == nil }
    if missing.contains(where: { inspectors[$0].failure == .closed }) { return .unavailable }
    return missing.isEmpty ? .clean : .unseen
  }

  private func mail(_ ready: Intake.Ready) throws -> InspectedMail {
    let submission = ready.submission
    let host = ready.returnPathHost ?? bounceDomain
    let now = SystemClock.now()
    var record = MessageRecord(
      messageID: submission.messageID, workAttemptID: nil, organisation: submission.organisation,
      recipient: submission.recipient.description, pool: submission.pool, dkimDomain: submission.dkimDomain,
      returnPathLocal: VERPSigner.prefix + "inspection", returnPathHost: host, acceptedAt: now, expiresAt: now,
      deliveryDomain: submission.deliveryDomain, contentSize: ready.size)
    record.messageIDField = submission.messageIDField
    record.values = submission.values
    return InspectedMail(
      returnPath: "\(record.returnPathLocal)@\(host)", recipient: record.recipient, organisation: record.organisation,
      messageID: record.messageID, octets: try MessageRenderer.render(record, submission.content).octets)
  }

  // MARK: one inspector

  /// Nil when it said nothing that can be used.
  private func verdict(_ index: Int, _ mail: InspectedMail, _ deadline: Int64) async -> InspectorDialect.Verdict? {
    let inspector = inspectors[index]
    let now = SystemClock.monotonic()
    if health[index].failures >= Self.patience {
      guard now >= health[index].restsUntil else {
        count(inspector, .error)
        return nil
      }
      // This one tries; the others go on without.
      health[index].restsUntil = now + Self.rest
    }
    do {
      let kind = inspector.kind
      let answer = try await InspectorWire.exchange(
        inspector.address, InspectorDialect.question(inspector, mail), within: min(inspector.timeout, deadline - now), group: group,
        isComplete: { InspectorDialect.isComplete(kind, $0) })
      let verdict = try InspectorDialect.verdict(inspector, answer)
      health[index].failures = 0
      count(inspector, verdict == .clean ? .clean : .rejected)
      return verdict
    } catch {
      failed(index, error)
      return nil
    }
  }

  private func failed(_ index: Int, _ error: any Error) {
    let now = SystemClock.monotonic()
    let inspector = inspectors[index]
    count(inspector, .error)
    health[index].failures += 1
    if health[index].failures >= Self.patience { health[index].restsUntil = now + Self.rest }
    health[index].unlogged += 1
    guard now - health[index].loggedAt >= Self.logSpacing else { return }
    log.warning(
      "\(inspector.kind.rawValue) could not be asked; \(inspector.failure == .open ? "mail passes without it" : "no mail is accepted")",
      metadata: [LogKey.error: "\(error)", "failures": "\(health[index].unlogged)"])
    health[index].loggedAt = now
    health[index].unlogged = 0
  }

  private func count(_ inspector: MTAConfig.Inspector, _ result: Result) {
    counts[CountKey(kind: inspector.kind, result: result), default: 0] += 1
  }

  // MARK: places

  /// - Returns: false when none became free in time, or too many wait already.
  private func enter(until deadline: Int64) async -> Bool {
    if free > 0 {
      free -= 1
      return true
    }
    guard waiting.count < Self.mostWaiting else { return false }
    let id = nextID
    nextID += 1
    let limit = max(0, deadline - SystemClock.monotonic())
    let timer = Task {
      try? await Task.sleep(for: .milliseconds(limit))
      self.giveUp(id)
    }
    let hasPlace = await withCheckedContinuation { waiting.append((id, $0)) }
    timer.cancel()
    return hasPlace
  }

  private func leave() {
    // Whoever leaves hands over: the place stays taken.
    if let next = waiting.popFirst() { next.continuation.resume(returning: true) } else { free += 1 }
  }

  private func giveUp(_ id: Int) {
    guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
    waiting.remove(at: index).continuation.resume(returning: false)
  }
}
