package import MailModel
internal import NIOCore

/// Streams: work of an IP, outcomes to a host, wake rows and `done` rows.
extension QueueStore {
  /// Makes the worker's stream and its consumer group, when absent.
  package func prepareStream(ip: String) async throws {
    do {
      _ = try await client.send(RedisCommand("XGROUP", "CREATE", keys.ip(ip), "w", "0", "MKSTREAM"))
    } catch RedisError.refused(let text) where text.hasPrefix("BUSYGROUP") {}
  }

  /// Waits for new entries of one IP. Needs a connection of its own.
  package func readWork(ip: String, limit: Int, block: Int) async throws -> [WorkEntry] {
    var command = RedisCommand("XREADGROUP", "GROUP", "w", "w", "COUNT")
    command.add(limit)
    command.add("BLOCK")
    command.add(block)
    for word in ["STREAMS", keys.ip(ip), ">"] { command.add(word) }
    let reply = try await client.send(command, timeLimit: .milliseconds(Int64(block) + 8000))
    return Self.entries(of: reply).compactMap { Self.workEntry($0.id, $0.fields) }
  }

  /// Entries that were given to this IP's worker and are not settled: what a connection that broke may have swallowed.
  package func readUnsettled(ip: String, after id: String, limit: Int) async throws -> [WorkEntry] {
    var command = RedisCommand("XREADGROUP", "GROUP", "w", "w", "COUNT")
    command.add(limit)
    for word in ["STREAMS", keys.ip(ip), id] { command.add(word) }
    return Self.entries(of: try await client.send(command)).compactMap { Self.workEntry($0.id, $0.fields) }
  }

  /// Every entry of one IP's stream that is not settled, read by a worker or not.
  package func unsettledWork(ip: String) async throws -> [WorkEntry] {
    var all: [WorkEntry] = []
    var from = "-"
    while true {
      let reply = try await client.send(RedisCommand("XRANGE", keys.ip(ip), from, "+", "COUNT", "256"))
      let entries = Self.entryList(reply)
      all += entries.compactMap { Self.workEntry($0.id, $0.fields) }
      guard let last = entries.last, entries.count == 256 else { return all }
      from = "(" + last.id
    }
  }

  /// Entries of an IP's stream that a worker has read and not settled.
  package func entriesRead(ip: String) async throws -> Set<String> {
    // Made where there is none: its group is asked.
    try await prepareStream(ip: ip)
    var found: Set<String> = []
    var from = "-"
    while true {
      let rows = try await client.send(RedisCommand("XPENDING", keys.ip(ip), "w", from, "+", "256")).array ?? []
      found.formUnion(rows.compactMap { $0.array?.first?.string })
      guard rows.count == 256, let last = rows.last?.array?.first?.string else { return found }
      from = "(" + last
    }
  }

  /// An empty outcomes stream whose last id is so far ahead that none could follow, as a worker may write it, begins anew. For whoever holds the
  /// IP's journal: nobody writes to the stream meanwhile.
  package func mendOutcomes(ip: String, host: String, now: Milliseconds) async throws {
    let stream = keys.outcomes(host, ip: ip)
    guard try await client.send(RedisCommand("EXISTS", stream)).int == 1 else { return }
    let rows = try await client.send(RedisCommand("XINFO", "STREAM", stream)).array ?? []
    var facts: [String: RESPValue] = [:]
    for index in stride(from: 0, to: rows.count - 1, by: 2) { if let name = rows[index].string { facts[name] = rows[index + 1] } }
    var places = OutcomePlaces()
    places[ip] = facts["last-generated-id"]?.string ?? "0-0"
    guard facts["length"]?.int == 0, places.isAhead(of: now) else { return }
    _ = try await client.send(RedisCommand("DEL", stream))
  }

  /// One entry of an IP's stream that is not settled.
  package func unsettledWork(ip: String, entryID: String) async throws -> WorkEntry? {
    let reply = try await client.send(RedisCommand("XRANGE", keys.ip(ip), entryID, entryID))
    return Self.entryList(reply).first.flatMap { Self.workEntry($0.id, $0.fields) }
  }

  /// Waits for outcomes to this host, its own and its workers', and for wake rows of others, after the given places.
  /// - Parameter limit: outcomes of each stream.
  /// - Returns: outcomes without their records, in the order of each stream; ``places`` behind them.
  package func readOutcomes(
    host: String, ips: [String], after places: OutcomePlaces, wakeAfter: String, limit: Int, block: Int
  ) async throws -> (outcomes: [StoredOutcome], places: OutcomePlaces, woken: [QueueHead], lastWake: String) {
    var command = RedisCommand("XREAD", "COUNT")
    command.add(limit)
    command.add("BLOCK")
    command.add(block)
    command.add("STREAMS")
    command.add(keys.outcomes(host))
    for ip in ips { command.add(keys.outcomes(host, ip: ip)) }
    command.add(keys.wake)
    command.add(places[""])
    for ip in ips { command.add(places[ip]) }
    command.add(wakeAfter)
    let reply = try await client.send(command, timeLimit: .milliseconds(Int64(block) + 8000))
    let own = keys.outcomes(host)
    var outcomes: [StoredOutcome] = []
    var places = places
    var woken: [QueueHead] = []
    var lastWake = wakeAfter
    for stream in reply.array ?? [] {
      guard let pair = stream.array, pair.count == 2, let name = pair[0].string else { continue }
      let entries = Self.entryList(pair[1])
      guard name != keys.wake else {
        lastWake = entries.last?.id ?? lastWake
        woken = entries.compactMap { Self.woken($0.fields, host) }
        continue
      }
      let ip = name == own ? "" : String(name.dropFirst(own.utf8.count + 1))
      outcomes += entries.map { Self.outcome($0, ip) }
      if let last = entries.last { places[ip] = last.id }
    }
    return (outcomes, places, woken, lastWake)
  }

  private static func woken(_ fields: [String: RESPValue], _ host: String) -> QueueHead? {
    guard fields["h"]?.string != host, let part = fields["g"]?.string.flatMap({ GroupPart($0) }) else { return nil }
    return QueueHead(
      part: part, count: fields["c"]?.int ?? 1, score: fields["z"]?.int64 ?? 0, sequence: fields["q"]?.int64 ?? 0)
  }

  /// One without a readable message stands for nothing, and is taken away like any other.
  private static func outcome(_ entry: (id: String, fields: [String: RESPValue]), _ ip: String) -> StoredOutcome {
    let source = OutcomeSource(
      id: entry.id, ip: ip, entryID: entry.fields["e"]?.string ?? "", journalPosition: entry.fields["j"]?.int64)
    return StoredOutcome(
      source: source, number: entry.fields["n"]?.string.flatMap { MessageNumber($0) } ?? MessageNumber(0),
      serial: entry.fields["a"]?.int ?? 0, outcome: entry.fields["o"]?.bytes ?? [], record: [], deferrals: 0, crashMarks: 0)
  }

  /// What the outcomes are about. One that stands for nothing, of a message that is gone or of one that its IP does not have, keeps an empty
  /// record: its effects do nothing.
  package func addRecords(_ outcomes: inout [StoredOutcome]) async throws {
    guard !outcomes.isEmpty else { return }
    var command = RedisCommand.function("mta1_records", prefix: keys.prefix, capacity: outcomes.count * 80 + 64)
    for outcome in outcomes {
      command.add(outcome.number.description)
      command.add(outcome.serial)
      command.add(outcome.source.ip)
      command.add(outcome.source.entryID)
    }
    let rows = try await client.send(command).array ?? []
    guard rows.count == outcomes.count else { throw RedisError.unexpected("records") }
    for (index, row) in rows.enumerated() {
      guard let row = row.array, row.count == 4, let record = row[0].bytes else { continue }
      outcomes[index].record = record
      outcomes[index].deferrals = row[1].int ?? 0
      outcomes[index].crashMarks = row[2].int ?? 0
      outcomes[index].group = row[3].string.flatMap { Group($0) }
    }
  }

  /// Id of the newest wake row: where a fresh index starts to tail.
  package func lastWakeID() async throws -> String {
    let reply = try await client.send(RedisCommand("XREVRANGE", keys.wake, "+", "-", "COUNT", "1"))
    return Self.entryList(reply).first?.id ?? "0-0"
  }

  /// `done` rows that outbox and history may not have, oldest first.
  package func readDone(host: String, after: String, limit: Int) async throws -> [(id: String, record: [UInt8])] {
    var command = RedisCommand("XRANGE", keys.done(host), after == "-" ? "-" : "(" + after, "+", "COUNT")
    command.add(limit)
    return Self.entryList(try await client.send(command)).compactMap { entry in
      entry.fields["d"]?.bytes.map { (entry.id, $0) }
    }
  }

  package func trimDone(host: String, upTo id: String) async throws {
    _ = try await client.send(RedisCommand("XTRIM", keys.done(host), "MINID", id))
  }

  private static func entries(of reply: RESPValue) -> [(id: String, fields: [String: RESPValue])] {
    (reply.array ?? []).flatMap { stream in
      guard let pair = stream.array, pair.count == 2 else { return [(id: String, fields: [String: RESPValue])]() }
      return entryList(pair[1])
    }
  }

  private static func entryList(_ value: RESPValue) -> [(id: String, fields: [String: RESPValue])] {
    (value.array ?? []).compactMap { entry in
      guard let pair = entry.array, pair.count == 2, let id = pair[0].string, let flat = pair[1].array else { return nil }
      var fields: [String: RESPValue] = [:]
      for index in stride(from: 0, to: flat.count - 1, by: 2) {
        if let name = flat[index].string { fields[name] = flat[index + 1] }
      }
      return (id, fields)
    }
  }

  private static func spacing(_ value: RESPValue?) -> Double {
    guard let step = value?.string.flatMap({ Double($0) }), step.isFinite else { return 0 }
    return max(0, step)
  }

  private static func workEntry(_ id: String, _ fields: [String: RESPValue]) -> WorkEntry? {
    guard let number = fields["n"]?.string.flatMap({ MessageNumber($0) }), let serial = fields["a"]?.int,
      let record = fields["m"]?.bytes, let route = fields["r"]?.bytes
    else { return nil }
    let content = fields["b"]?.bytes ?? []
    return WorkEntry(
      entryID: id, number: number, serial: serial, crashMarks: fields["k"]?.int ?? 0,
      lane: fields["l"]?.string ?? "", earliest: fields["t"]?.int64 ?? 0, step: spacing(fields["p"]),
      contentHash: fields["c"]?.string ?? "",
      record: record, route: route, content: content.isEmpty ? nil : content)
  }
}
