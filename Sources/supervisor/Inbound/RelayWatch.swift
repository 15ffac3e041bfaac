import Logging
import MailModel
import Observability
import Redis

/// Looks after mail to postmaster until it has arrived. What ended otherwise was answered 250 and has nobody else: it is kept among
/// the held mail, counted and told in the log.
actor RelayWatch {
  /// How long neither queue nor history may know a message before it counts as lost: what ended is a moment in neither.
  static let patience: Milliseconds = 600_000

  private let mails: InboundStore
  private let queue: QueueStore
  private let history: HistoryStore
  private let counts: InboundCounts
  private let log: Logger
  private var absentSince: [String: Milliseconds] = [:]

  init(mails: InboundStore, queue: QueueStore, history: HistoryStore, counts: InboundCounts, log: Logger) {
    self.mails = mails
    self.queue = queue
    self.history = history
    self.counts = counts
    self.log = log
  }

  func run() async {
    while !Task.isCancelled {
      // Redis or disk are away: nothing is decided, and it is looked again.
      do { try await look(now: SystemClock.now()) } catch {
        log.debug("relayed mail cannot be looked after now", metadata: [LogKey.error: "\(error)"])
      }
      try? await Task.sleep(for: .seconds(1))
    }
  }

  func look(now: Milliseconds) async throws {
    for mail in try await mails.due(.relaying, route: PostmasterRelay.routeID, now: now, limit: 100) { try await look(at: mail, now) }
  }

  private func look(at mail: InboundStore.Mail, _ now: Milliseconds) async throws {
    let id = PostmasterRelay.messageID(of: mail)
    let isLive = try await isLive(id)
    if let end = try await end(of: id), !(isLive && end.state == DoneRecord.FinalState.uncertain.rawValue) {
      absentSince[mail.id] = nil
      if end.state == DoneRecord.FinalState.delivered.rawValue {
        try await mails.drop(mail.id)
      } else {
        try await fail(mail, end.state, end.reason)
      }
    } else if isLive {
      absentSince[mail.id] = nil
      try await mails.lookAgain(mail.id, at: now + min(60_000, max(1000, (now - mail.receivedAt) / 10)))
    } else if now - (absentSince[mail.id] ?? now) >= Self.patience {
      absentSince[mail.id] = nil
      try await fail(mail, "lost", "the queue does not have it and its end is not known")
    } else {
      if absentSince[mail.id] == nil { absentSince[mail.id] = now }
      try await mails.lookAgain(mail.id, at: now + 2000)
    }
  }

  private func isLive(_ id: String) async throws -> Bool {
    guard let number = try await queue.numbers(messageID: id)[Organisation.postmaster] else { return false }
    return try await queue.snapshot(number) != nil
  }

  /// By this host's history, else by what the host whose worker had it noted.
  private func end(of id: String) async throws -> (state: String, reason: String?)? {
    if let entry = try await history.find(id, organisation: Organisation.postmaster).first { return (entry.state, entry.reason) }
    return try await queue.relayEnd(id).map { ($0, nil) }
  }

  private func fail(_ mail: InboundStore.Mail, _ state: String, _ reason: String?) async throws {
    try await mails.hold(mail.id, reason: state + (reason.map { ": \($0)" } ?? ""))
    counts.add(.relayFailed)
    log.error("mail to postmaster could not be relayed; it is held", metadata: ["inbound.id": "\(mail.id)", "state": "\(state)"])
  }
}
