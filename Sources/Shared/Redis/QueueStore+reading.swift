package import MailModel
internal import NIOCore

/// Reads of values: what is neither a Function nor a stream.
extension QueueStore {
  /// Reserves a block of message numbers; answers the first of them.
  package func reserveNumbers(_ count: Int) async throws -> UInt64 {
    var command = RedisCommand("INCRBY", keys.numbers)
    command.add(count)
    guard let last = try await client.send(command).int64 else { throw RedisError.unexpected("INCRBY") }
    return UInt64(last) - UInt64(count) + 1
  }

  package func registerHost(_ host: String) async throws {
    _ = try await client.send(RedisCommand("SADD", keys.hosts, host))
  }

  /// How many hosts ever shared this installation.
  package func hostCount() async throws -> Int { try await client.send(RedisCommand("SCARD", keys.hosts)).int ?? 0 }

  /// The whole directory, in slices; `take` gets each slice. Its rows are as new as any answer made before the call: an older
  /// answer that is read later must not hide them.
  package func readDirectory(_ take: ([QueueHead]) async -> Void) async throws {
    let sequence = try await client.send(RedisCommand("GET", keys.sequence)).int64 ?? 0
    var cursor = "0"
    repeat {
      let reply = try Reply(await client.send(RedisCommand("HSCAN", keys.directory, cursor, "COUNT", "1000")))
      cursor = reply.values[0].string ?? "0"
      let flat = try reply.array(1)
      var heads: [QueueHead] = []
      for index in stride(from: 0, to: flat.count - 1, by: 2) {
        let row = (flat[index + 1].string ?? "").split(separator: " ")
        guard row.count == 2, let part = flat[index].string.flatMap({ GroupPart($0) }), let count = Int(row[0]),
          let score = Double(row[1])
        else { continue }
        heads.append(QueueHead(part: part, count: count, score: Int64(score), sequence: sequence))
      }
      await take(heads)
    } while cursor != "0"
  }

  /// How many rows the directory has.
  package func directorySize() async throws -> Int { try await client.send(RedisCommand("HLEN", keys.directory)).int ?? 0 }

  /// Next permit time by lane, as dispatch stored it.
  package func readLanes() async throws -> [String: Milliseconds] {
    var lanes: [String: Milliseconds] = [:]
    let flat = try await client.send(RedisCommand("HGETALL", keys.lanes)).array ?? []
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      if let lane = flat[index].string, let at = flat[index + 1].int64 { lanes[lane] = at }
    }
    return lanes
  }

  /// Forgets next permit times that are past: every domain that ever had mail leaves one. In slices, off the hot path.
  package func pruneLanes(before limit: Milliseconds) async throws {
    var cursor = "0"
    repeat {
      let reply = try Reply(await client.send(RedisCommand("HSCAN", keys.lanes, cursor, "COUNT", "500")))
      cursor = reply.values[0].string ?? "0"
      let flat = try reply.array(1)
      var stale = RedisCommand("HDEL", keys.lanes)
      for index in stride(from: 0, to: flat.count - 1, by: 2) where (flat[index + 1].int64 ?? 0) < limit {
        stale.add(flat[index].string ?? "")
      }
      if stale.count > 2 { _ = try await client.send(stale) }
    } while cursor != "0"
  }

  /// What policies remember, text by field.
  package func policyRows() async throws -> [String: String] {
    let values = try await client.send(RedisCommand("HGETALL", keys.policy), timeLimit: .seconds(60)).array ?? []
    var rows: [String: String] = [:]
    for index in stride(from: 0, to: values.count - 1, by: 2) {
      if let field = values[index].string, let text = values[index + 1].string { rows[field] = text }
    }
    return rows
  }

  /// Adds to one of dispatch's counters.
  package func count(_ name: String, _ count: Int, secondsToLive: Int) async throws {
    let key = keys.counter(name)
    _ = try await client.send(RedisCommand("INCRBY", key, String(count)))
    _ = try await client.send(RedisCommand("EXPIRE", key, String(secondsToLive)))
  }

  /// Writes rows that no outcome taught: an operator's word, the turn of a day.
  package func setPolicy(_ rows: [PolicyRow]) async throws {
    let kept = rows.filter { $0.text != nil }
    if !kept.isEmpty {
      var command = RedisCommand("HSET", keys.policy)
      for row in kept {
        command.add(row.field)
        command.add(row.text ?? "")
      }
      _ = try await client.send(command)
    }
    let gone = rows.filter { $0.text == nil }
    guard !gone.isEmpty else { return }
    var command = RedisCommand("HDEL", keys.policy)
    for row in gone { command.add(row.field) }
    _ = try await client.send(command)
  }

  package func content(_ hash: String) async throws -> [UInt8]? {
    try await client.send(RedisCommand("HGET", keys.content(hash), "b")).bytes
  }

  package func hasContent(_ hash: String) async throws -> Bool {
    try await client.send(RedisCommand("EXISTS", keys.content(hash))).int == 1
  }

  /// Up to where Redis has settled what this host's journal of an IP says.
  package func journalPosition(ip: String, host: String) async throws -> Int64? {
    try await client.send(RedisCommand("HGET", keys.journal, host + " " + ip)).int64
  }

  /// The host that last started a worker for an IP: its stream is that host's to settle.
  package func owner(ip: String) async throws -> String? { try await client.send(RedisCommand("HGET", keys.owners, ip)).string }

  package func own(ip: String, host: String) async throws { _ = try await client.send(RedisCommand("HSET", keys.owners, ip, host)) }

  /// Values of shared counters, 0 where none is.
  package func counters(_ names: [String]) async throws -> [Int] {
    guard !names.isEmpty else { return [] }
    var command = RedisCommand("MGET")
    for name in names { command.add(keys.counter(name)) }
    let values = try await client.send(command).array ?? []
    return names.indices.map { values.indices.contains($0) ? values[$0].int ?? 0 : 0 }
  }

  package func liveCount() async throws -> Int { try await client.send(RedisCommand("GET", keys.live)).int ?? 0 }

  /// Numbers known for an identity (a work attempt's or a message's id), by organisation.
  package func numbers(identity: String) async throws -> [String: MessageNumber] {
    var found: [String: MessageNumber] = [:]
    for (field, row) in try await RedisHash(client: client, key: keys.identity(identity)).all() {
      guard field.hasPrefix("w") || field.hasPrefix("m"), let number = row.split(separator: " ").first.flatMap({ MessageNumber($0) })
      else { continue }
      if field.hasPrefix("m") || found[String(field.dropFirst())] == nil { found[String(field.dropFirst())] = number }
    }
    return found
  }

  /// Numbers known for a message id, by organisation.
  package func numbers(messageID: String) async throws -> [String: MessageNumber] {
    var found: [String: MessageNumber] = [:]
    let flat = try await client.send(RedisCommand("HGETALL", keys.identity(messageID))).array ?? []
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      guard let field = flat[index].string, field.hasPrefix("m"),
        let number = flat[index + 1].string.flatMap({ MessageNumber($0) })
      else { continue }
      found[String(field.dropFirst())] = number
    }
    return found
  }

  /// Receipts known for an identity, by organisation.
  package func receipts(identity: String, now: Milliseconds) async throws -> [String: (messageID: String, acceptedAt: Milliseconds)] {
    var found: [String: (String, Milliseconds)] = [:]
    let flat = try await client.send(RedisCommand("HGETALL", keys.identity(identity))).array ?? []
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      guard let field = flat[index].string, field.hasPrefix("w"),
        let words = flat[index + 1].string?.split(separator: " ", maxSplits: 4), words.count == 5,
        let until = Int64(words[1]), until > now, let at = Int64(words[2])
      else { continue }
      found[String(field.dropFirst())] = (String(words[4]), at)
    }
    return found
  }

  package func snapshot(_ number: MessageNumber) async throws -> MessageSnapshot? {
    let key = number.description
    var fields: [String: RESPValue] = [:]
    for name in [keys.message(key), keys.record(key)] {
      let flat = try await client.send(RedisCommand("HGETALL", name)).array ?? []
      for index in stride(from: 0, to: flat.count - 1, by: 2) {
        if let name = flat[index].string { fields[name] = flat[index + 1] }
      }
    }
    guard let state = fields["s"]?.string.flatMap(MessageSnapshot.State.init), let bytes = fields["m"]?.bytes,
      let group = fields["g"]?.string.flatMap({ Group($0) }), let organisation = fields["o"]?.string
    else { return nil }
    let part = GroupPart(group: group, organisation: organisation)
    var snapshot = MessageSnapshot(
      number: number, state: state, serial: fields["n"]?.int ?? 0, deferrals: fields["r"]?.int ?? 0,
      crashMarks: fields["k"]?.int ?? 0, part: part, score: fields["z"]?.int64 ?? 0,
      record: try MessageRecord(decoding: bytes), sourceIP: fields["i"]?.string)
    switch state {
    case .queued:
      snapshot.position = try await client.send(RedisCommand("ZRANK", keys.queue(part.description), key)).int
    case .waiting:
      snapshot.dueAt = try await client.send(RedisCommand("ZSCORE", keys.due, key)).int64
    case .held:
      let row = try await client.send(RedisCommand("HGET", keys.held, key)).string
      snapshot.heldFor = row.map { String($0.drop { $0 != " " }.dropFirst()) }
    case .dispatched, .settled, .uncertain: break
    }
    return snapshot
  }

  /// One slice of held messages with their reasons, from a cursor; nil at the end.
  package func held(from cursor: String) async throws -> (rows: [(number: MessageNumber, reason: String)], next: String?) {
    let (rows, next) = try await RedisHash(client: client, key: keys.held).scan(from: cursor, count: 500)
    return (
      rows.compactMap { field, row in
        MessageNumber(field).map { ($0, String(row.drop { $0 != " " }.dropFirst())) }
      }, next
    )
  }

  /// Message numbers of one part from a place on, lowest score first.
  package func queued(_ part: GroupPart, from start: Int, limit: Int) async throws -> [MessageNumber] {
    try await numbers(RedisCommand("ZRANGE", keys.queue(part.description), String(start), String(start + limit - 1)))
  }

  /// Messages that wait to be due, soonest first, from a place on, of those due until a time.
  package func waiting(until limit: Milliseconds = .max, from start: Int, limit count: Int) async throws -> [MessageNumber] {
    let top = limit == .max ? "+inf" : String(limit)
    return try await numbers(RedisCommand("ZRANGE", keys.due, "-inf", top, "BYSCORE", "LIMIT", String(start), String(count)))
  }

  package func waitingCount() async throws -> Int { try await client.send(RedisCommand("ZCARD", keys.due)).int ?? 0 }

  private func numbers(_ command: RedisCommand) async throws -> [MessageNumber] {
    (try await client.send(command).array ?? []).compactMap { $0.string.flatMap { MessageNumber($0) } }
  }

  /// What messages are and where; those that are gone are left out.
  package func peek(_ numbers: [MessageNumber]) async throws -> [QueuedMessage] {
    guard !numbers.isEmpty else { return [] }
    var command = RedisCommand.function("mta1_peek", prefix: keys.prefix)
    for number in numbers { command.add(number.description) }
    return (try await client.send(command).array ?? []).compactMap { value in
      guard let row = value.array, row.count == 8, let number = row[0].string.flatMap({ MessageNumber($0) }),
        let state = row[1].string.flatMap(MessageSnapshot.State.init), let group = row[2].string.flatMap({ Group($0) }),
        let organisation = row[3].string, let bytes = row[6].bytes, let record = try? MessageRecord(decoding: bytes)
      else { return nil }
      return QueuedMessage(
        number: number, state: state, part: GroupPart(group: group, organisation: organisation), deferrals: row[5].int ?? 0,
        record: record, dueAt: row[7].int64)
    }
  }
}
