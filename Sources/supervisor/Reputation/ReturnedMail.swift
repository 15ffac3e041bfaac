import DeliveryPolicy
import Logging
import MailModel
import Observability
import Redis

/// The one door for what comes back of a message after its server had taken it: complaints, and bounces that arrive as mail. Who
/// receives such mail (the inbound server, a client that reads it elsewhere) proves which message it is about, by the signed
/// token of its return-path or by its own right to it, and hands it in here with the message's number.
///
/// What follows is what follows from a reply: event, suppression, breakers, the campaign's book and, from those who may speak of it, the
/// IP's warming day, written in one Function with the memory that keeps a repeated report from counting twice. A report's own words about whose mail it was
/// count for nothing: recipient, organisation, campaign and IP are the message's.
actor ReturnedMail {
  struct Complaint: Sendable {
    /// For the event, at most 512 characters of it.
    var text: String
    var reportedDomain: String?
    var sourceISP: MailboxProvider?
  }

  /// A report of failure. `Action: delayed` is none and is not to be handed in.
  struct Bounce: Sendable {
    /// As the report has it, with or without type and codes.
    var diagnostic: String
    /// RFC 3463.
    var status: String?
    /// Found by the reader of the report by more than the diagnostic; nil = the diagnostic alone is judged.
    var replyClass: ReplyClass?
  }

  enum News: Sendable {
    case complaint(Complaint)
    case bounce(Bounce)

    fileprivate var kind: String {
      switch self {
      case .complaint: "complaint"
      case .bounce: "bounce"
      }
    }
  }

  enum Answer: String, Sendable, CaseIterable {
    /// Counted and told, durably.
    case taken
    /// The same was told of this message before.
    case repeated
    /// It had ended otherwise: it never arrived, so nothing can come back of it.
    case ended
    /// It is under way, or its end is not on disk yet: to be handed in again later (SMTP: 451).
    case early
    /// Nobody knows it, or it is forgotten.
    case unknown
  }

  struct CountKey: Hashable, Sendable {
    /// complaint, hard, soft
    var kind: String
    var provider: MailboxProvider
  }

  /// A message that was delivered a moment ago is known once its end is on disk.
  static let patience: Milliseconds = 2_000
  /// Longest life of a token that attributes, upstream's included, and a day.
  static let leastMemoryDays = 16

  private let store: QueueStore
  private let host: String
  private let history: HistoryStore
  private let book: PolicyBook
  private let dispatcher: Dispatcher
  private let done: DoneWriter
  private let providers: ProviderTable
  private let memory: Milliseconds
  private let policyIsStale: @Sendable () async -> Void
  private let log: Logger
  private(set) var counts: [CountKey: Int] = [:]
  private(set) var answers: [Answer: Int] = [:]

  /// - Parameters:
  ///   - retentionDays: how long history, and so a message that something may come back of, is kept.
  ///   - policyIsStale: the book is to be read again before it learns more.
  init(
    store: QueueStore, host: String, history: HistoryStore, book: PolicyBook, dispatcher: Dispatcher, done: DoneWriter,
    providers: ProviderTable, retentionDays: Int, log: Logger, policyIsStale: @escaping @Sendable () async -> Void
  ) {
    self.store = store
    self.host = host
    self.history = history
    self.book = book
    self.dispatcher = dispatcher
    self.done = done
    self.providers = providers
    self.log = log
    self.policyIsStale = policyIsStale
    memory = Milliseconds(max(Self.leastMemoryDays, retentionDays + 1)) * UTCDay.length
  }

  /// - Parameter speaksOfIP: whether the IP that the message left by may suffer from it, which others share: not by the word of its own
  ///   organisation, nor of anybody who proves nothing.
  /// - Throws: when Redis is away, or whether it was taken is not known: hand it in again, what was taken is then `repeated`.
  func take(_ news: News, of number: MessageNumber, speaksOfIP: Bool) async throws -> Answer {
    let answer = try await judge(news, number, speaksOfIP)
    answers[answer, default: 0] += 1
    return answer
  }

  private func judge(_ news: News, _ number: MessageNumber, _ speaksOfIP: Bool) async throws -> Answer {
    if try await store.knowsFeedback(number, news.kind) { return .repeated }
    guard let message = try await departed(number) else { return try await store.snapshot(number) == nil ? .unknown : .early }
    switch (news, message.state) {
    case (_, .delivered), (_, .uncertain), (.complaint, .bounced): break
    default: return .ended
    }
    await book.turn.enter()
    defer { book.turn.leave() }
    // Another may have come while this one waited; what is learnt for nothing would have to be forgotten.
    if try await store.knowsFeedback(number, news.kind) { return .repeated }
    return try await learn(news, message, speaksOfIP)
  }

  /// How it ended; waits a little for an end that is on its way to disk.
  func departed(_ number: MessageNumber) async throws -> HistoryStore.Departed? {
    let end = SystemClock.monotonic() + Self.patience
    while true {
      if let message = try await history.departed(number) { return message }
      guard SystemClock.monotonic() < end else { return nil }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  private func learn(_ news: News, _ message: HistoryStore.Departed, _ speaksOfIP: Bool) async throws -> Answer {
    let now = SystemClock.now()
    let provider = message.result.host.map { providers.provider(mx: [$0]) } ?? .other
    let reading = Self.read(news, message, provider, now)
    var row = reading.done
    var learnt = PolicyBook.Learnt(rows: [], changes: .init(), opened: [])
    if !message.isMemberTest {
      learnt = await book.learn(
        LateLesson(
          what: reading.lesson, ip: message.result.sourceIP, provider: provider, organisation: message.record.organisation,
          campaign: message.record.campaignID, speaksOfIP: speaksOfIP && message.state != .bounced,
          deliveredAt: message.state == .delivered ? message.endedAt : nil), now: now)
    }
    for opened in learnt.opened {
      row.events.append(BreakerEvent.opened(opened.organisation, opened.breaker, opened.bounceRate, opened.complaintRate, now: now))
    }
    for (_, alarm) in learnt.alarms { if let event = CampaignEvent.told(alarm, now: now, log: log) { row.events.append(event) } }
    let item = FeedbackItem(
      number: message.number, kind: news.kind, memory: memory, done: row.encoded(), suppression: reading.suppression)
    let id: String?
    do { id = try await store.feedback(host: host, item, policy: learnt.rows) } catch {
      await policyIsStale()
      throw error
    }
    guard let id else {
      // Another host was first: what was learnt here did not happen.
      await policyIsStale()
      return .repeated
    }
    counts[CountKey(kind: reading.count, provider: provider), default: 0] += 1
    await done.append([(id, row)])
    let (current, overtaken) = await book.current(learnt.changes)
    // Written already but for an order that came meanwhile; when it cannot be, it is read again.
    if !overtaken.isEmpty { do { try await store.setPolicy(overtaken) } catch { await policyIsStale() } }
    await dispatcher.apply(current)
    return .taken
  }

  // MARK: what it means

  private struct Reading {
    var done: DoneRecord
    var lesson: LateLesson.What
    var suppression: SuppressionRow?
    var count: String
  }

  private static func read(_ news: News, _ message: HistoryStore.Departed, _ provider: MailboxProvider, _ now: Milliseconds) -> Reading {
    var result = message.result
    var final: DoneRecord.Final?
    let event: DoneRecord.Event
    let lesson: LateLesson.What
    var reason: String?
    let count: String
    switch news {
    case .complaint(let complaint):
      event = ReturnedEvent.complained(message, complaint, now: now)
      lesson = .complained
      reason = "complaint"
      count = "complaint"
    case .bounce(let bounce):
      let verdict = verdict(bounce, provider)
      let isHard = verdict.isPermanent && !verdict.isDeferral
      let text = text(bounce)
      event = ReturnedEvent.bounced(message, isHard: isHard, text, now: now)
      final = DoneRecord.Final(state: .bounced, reason: text)
      // History shows what was said at last in place of the reply that had taken the message.
      result.reply = SMTPReply(code: verdict.isPermanent ? 550 : 450, lines: [text])
      lesson = .bounced(verdict)
      if verdict.suppresses { reason = "hard_bounce" }
      count = isHard ? "hard" : "soft"
    }
    var done = DoneRecord(
      number: message.number, serial: message.serial, at: now, record: message.record.encoded(), outcome: result.encoded(), deferrals: 0)
    done.events = [event]
    done.final = final
    var suppression: SuppressionRow?
    if let reason, !message.isMemberTest, message.record.organisation != Organisation.postmaster,
      let address = EmailAddress(message.record.recipient)
    {
      suppression = SuppressionRow(
        scope: message.record.organisation, address: address.normalised, until: 0, reason: reason, since: now, source: "feedback")
    }
    return Reading(done: done, lesson: lesson, suppression: suppression, count: count)
  }

  private static func verdict(_ bounce: Bounce, _ provider: MailboxProvider) -> ReplyVerdict {
    let verdict = ReplyClassification.verdict(
      diagnostic: bounce.diagnostic, status: bounce.status, providerName: provider == .other ? nil : provider.rawValue)
    guard let found = bounce.replyClass, found != .unknown, found != verdict.replyClass else { return verdict }
    return ReplyClassification.verdict(of: found, isPermanent: verdict.isPermanent || bounce.status?.first != "4")
  }

  private static func text(_ bounce: Bounce) -> String {
    let text = String(String.UnicodeScalarView(bounce.diagnostic.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
    return text.allSatisfy(\.isWhitespace) ? "The message came back" + (bounce.status.map { " (\($0))" } ?? "") : String(text.prefix(512))
  }
}
