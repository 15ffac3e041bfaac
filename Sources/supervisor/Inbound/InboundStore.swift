import Foundation
import GRDB
import MailModel
import Synchronization

/// Mail of inbound routes and of postmaster that is ours until somebody took it (`inbound.db`): forwards to endpoints that wait for
/// an answer, mail that a route holds, and what the queue relays to the postmaster. Committed before the client is told 250.
///
/// Contents lie in a table of their own: whoever looks at many mails reads none of them.
final class InboundStore: Sendable {
  enum State: String, Sendable { case forwarding, held, relaying }

  struct Mail: Sendable, Equatable {
    /// Derived from envelope and content, so that a client that missed our answer does not make two.
    var id: String
    var state: State
    /// ``InboundRoutes/Route/id``, or ``PostmasterRelay/routeID``.
    var routeID: String
    var from: String
    var recipient: String
    /// At most ``mostSubject`` characters.
    var subject: String
    /// Octets as it came.
    var size: Int
    var receivedAt: Milliseconds
    /// Of a forward: tries so far. Of a relay: how often it was begun anew.
    var tries = 0
    /// Of a forward: when it was tried last, 0 = never, and for how long in all (ms).
    var triedAt: Milliseconds = 0
    var triedFor: Milliseconds = 0
    /// Why it is held, when no route says so.
    var reason: String?
  }

  enum Fault: Error {
    /// The bound of all, or of one route's part of it.
    case full
  }

  static let mostSubject = 256
  /// What a mail costs beside its content.
  private static let overhead = 1024
  /// One route has at most such a part of all, so that none fills it for the others.
  private static let parts = 4

  private let database: DatabaseQueue
  private let most: Int
  // What waits, by route: asked at RCPT by many sessions at once.
  private let octets = Mutex<[String: Int]>([:])

  /// - Parameter most: octets of content that may wait in all (`bounce.inbound_max_mib`).
  init(path: String, most: Int = .max) throws {
    self.most = most
    var configuration = Configuration()
    configuration.prepareDatabase { try EventOutbox.tune($0) }
    database = try DatabaseQueue(path: path, configuration: configuration)
    try database.write { db in
      // Files of the first version have the content in each row.
      let isOld = try db.tableExists("mail") && db.columns(in: "mail").contains { $0.name == "payload" }
      if isOld { try db.execute(sql: "ALTER TABLE mail RENAME TO mail_before") }
      try db.execute(sql: Self.schema)
      if isOld { try db.execute(sql: Self.migration) }
      try db.execute(sql: Self.indexes)
    }
    let rows = try database.read { db in
      try Row.fetchAll(db, sql: "SELECT route, sum(bytes) + count(*) * \(Self.overhead) FROM mail GROUP BY route").map {
        ($0[0] as String, $0[1] as Int)
      }
    }
    octets.withLock { $0 = Dictionary(rows, uniquingKeysWith: { first, _ in first }) }
  }

  /// Octets that wait.
  var size: Int { octets.withLock { $0.values.reduce(0, +) } }

  /// Whether a route may have more.
  func hasRoom(_ route: String, for more: Int = 0) -> Bool { octets.withLock { hasRoom(route, more, $0) } }

  private func hasRoom(_ route: String, _ more: Int, _ octets: [String: Int]) -> Bool {
    let more = more + Self.overhead
    return octets.values.reduce(more, +) <= most && (octets[route] ?? 0) + more <= most / Self.parts
  }

  private func count(_ route: String, _ content: Int, _ sign: Int) {
    octets.withLock { octets in
      let left = (octets[route] ?? 0) + sign * (content + Self.overhead)
      octets[route] = left > 0 ? left : nil
    }
  }

  private static let schema = """
    CREATE TABLE IF NOT EXISTS mail(id TEXT PRIMARY KEY, state TEXT NOT NULL, route TEXT NOT NULL, sender TEXT NOT NULL,
      recipient TEXT NOT NULL, subject TEXT NOT NULL, size INTEGER NOT NULL, bytes INTEGER NOT NULL, received_at INTEGER NOT NULL,
      due_at INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, tried_at INTEGER NOT NULL DEFAULT 0,
      tried_for INTEGER NOT NULL DEFAULT 0, reason TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS content(id TEXT PRIMARY KEY, octets BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS seen(id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    """

  private static let migration = """
    INSERT INTO content(id, octets) SELECT id, CAST(payload AS BLOB) FROM mail_before;
    INSERT INTO mail(id, state, route, sender, recipient, subject, size, bytes, received_at, due_at, tries)
      SELECT id, state, route, sender, recipient, substr(subject, 1, 256), size, length(CAST(payload AS BLOB)), received_at, due_at, tries
      FROM mail_before;
    DROP TABLE mail_before;
    """

  private static let indexes = """
    CREATE INDEX IF NOT EXISTS mail_by_route ON mail(state, route, due_at, received_at);
    CREATE INDEX IF NOT EXISTS mail_by_time ON mail(state, received_at);
    CREATE INDEX IF NOT EXISTS seen_by_time ON seen(at);
    """

  /// Durable when it returns. What was stored before, even if it has left since, is not stored again.
  /// - Parameter isNew: known to be: stored whatever is remembered.
  /// - Throws: ``Fault/full``.
  func store(_ mail: Mail, content: [UInt8], isNew: Bool = false) async throws {
    // Before it is written: many may come at once.
    try octets.withLock { octets in
      guard hasRoom(mail.routeID, content.count, octets) else { throw Fault.full }
      octets[mail.routeID, default: 0] += content.count + Self.overhead
    }
    var isStored = false
    defer { if !isStored { count(mail.routeID, content.count, -1) } }
    isStored = try await write(mail, content, isNew)
  }

  /// - Returns: false when nothing was added.
  private func write(_ mail: Mail, _ content: [UInt8], _ isNew: Bool) async throws -> Bool {
    try await database.write { db in
      try db.execute(sql: "INSERT OR IGNORE INTO seen(id, at) VALUES (?, ?)", arguments: [mail.id, mail.receivedAt])
      guard isNew || db.changesCount > 0 else { return false }
      let isThere = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM mail WHERE id = ?)", arguments: [mail.id]) ?? false
      try db.execute(sql: "INSERT OR REPLACE INTO content(id, octets) VALUES (?, ?)", arguments: [mail.id, Data(content)])
      try db.execute(
        sql: """
          INSERT OR REPLACE INTO mail(id, state, route, sender, recipient, subject, size, bytes, received_at, tries, reason)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          mail.id, mail.state.rawValue, mail.routeID, mail.from, mail.recipient, String(mail.subject.prefix(Self.mostSubject)), mail.size,
          content.count, mail.receivedAt, mail.tries, mail.reason,
        ])
      return !isThere
    }
  }

  /// - Parameter route: nil = of all.
  func due(_ state: State, route: String? = nil, now: Milliseconds, limit: Int) async throws -> [Mail] {
    guard let route else {
      return try await rows("state = ? AND due_at <= ? ORDER BY due_at, received_at LIMIT ?", [state.rawValue, now, limit])
    }
    return try await rows(
      "state = ? AND route = ? AND due_at <= ? ORDER BY due_at, received_at LIMIT ?", [state.rawValue, route, now, limit])
  }

  func held(limit: Int, offset: Int) async throws -> [Mail] {
    try await rows("state = 'held' ORDER BY received_at LIMIT ? OFFSET ?", [limit, offset])
  }

  func heldMail(_ id: String) async throws -> Mail? { try await rows("state = 'held' AND id = ?", [id]).first }

  /// Of a forward or of what a route holds: JSON as it will be posted or told. Of a relay: the mail. Nil when it has left.
  func content(_ id: String) async throws -> [UInt8]? {
    try await database.read { db in
      try Data.fetchOne(db, sql: "SELECT octets FROM content WHERE id = ?", arguments: [id]).map { [UInt8]($0) }
    }
  }

  /// Routes that have mail in this state, by name. Looks once at each, however much mail it has.
  func routes(_ state: State) async throws -> [String] {
    try await database.read { db in
      try String.fetchAll(
        db,
        sql: """
          WITH RECURSIVE found(route) AS (SELECT min(route) FROM mail WHERE state = ?1 UNION ALL
            SELECT (SELECT min(route) FROM mail WHERE state = ?1 AND route > found.route) FROM found WHERE found.route IS NOT NULL)
          SELECT route FROM found WHERE route IS NOT NULL
          """, arguments: [state.rawValue])
    }
  }

  /// One try that did not end it; tried again then.
  func refused(_ id: String, at now: Milliseconds, triedFor: Milliseconds, until: Milliseconds) async throws {
    try await change(
      "UPDATE mail SET due_at = ?, tries = tries + 1, tried_at = ?, tried_for = ? WHERE id = ?", [until, now, triedFor, id])
  }

  /// Looked at again then; that was no try.
  func lookAgain(_ id: String, at due: Milliseconds) async throws {
    try await change("UPDATE mail SET due_at = ? WHERE id = ?", [due, id])
  }

  /// Refused for good or too long: kept, shown among the held, and no longer tried.
  func hold(_ id: String, reason: String) async throws {
    try await change("UPDATE mail SET state = 'held', reason = ? WHERE id = ?", [String(reason.prefix(512)), id])
  }

  /// What was held is on its way again.
  func resume(_ id: String, as state: State, tries: Int) async throws {
    try await change(
      "UPDATE mail SET state = ?, tries = ?, due_at = 0, tried_at = 0, tried_for = 0, reason = NULL WHERE id = ? AND state = 'held'",
      [state.rawValue, tries, id])
  }

  /// Taken, or told, or dropped by an operator. False when it was not there.
  @discardableResult
  func drop(_ id: String) async throws -> Bool {
    let gone = try await database.write { db -> (route: String, content: Int)? in
      guard let row = try Row.fetchOne(db, sql: "SELECT route, bytes FROM mail WHERE id = ?", arguments: [id]) else { return nil }
      try db.execute(sql: "DELETE FROM mail WHERE id = ?", arguments: [id])
      try db.execute(sql: "DELETE FROM content WHERE id = ?", arguments: [id])
      return (row[0], row[1])
    }
    guard let gone else { return false }
    count(gone.route, gone.content, -1)
    return true
  }

  /// Forgets whom it has seen; what waits stays.
  func prune(before limit: Milliseconds) async throws { try await change("DELETE FROM seen WHERE at < ?", [limit]) }

  func counts() async throws -> [State: Int] {
    try await database.read { db in
      let rows = try Row.fetchAll(db, sql: "SELECT state, count(*) FROM mail GROUP BY state")
      return Dictionary(rows.compactMap { row in State(rawValue: row[0]).map { ($0, row[1]) } }, uniquingKeysWith: { first, _ in first })
    }
  }

  @discardableResult
  private func change(_ sql: String, _ arguments: StatementArguments) async throws -> Bool {
    try await database.write { db in
      try db.execute(sql: sql, arguments: arguments)
      return db.changesCount > 0
    }
  }

  private func rows(_ condition: String, _ arguments: StatementArguments) async throws -> [Mail] {
    try await database.read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM mail WHERE " + condition, arguments: arguments).map { row in
        Mail(
          id: row["id"], state: State(rawValue: row["state"]) ?? .held, routeID: row["route"], from: row["sender"],
          recipient: row["recipient"], subject: row["subject"], size: row["size"], receivedAt: row["received_at"], tries: row["tries"],
          triedAt: row["tried_at"], triedFor: row["tried_for"], reason: row["reason"])
      }
    }
  }
}
