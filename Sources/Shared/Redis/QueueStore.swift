package import MailModel
internal import NIOCore

/// The queue's operations, typed: each is one Function of `mta.lua` or one plain command. Used by supervisor and worker.
package struct QueueStore: Sendable {
  package let keys: RedisKeys
  package let client: RedisClient

  package init(client: RedisClient, keys: RedisKeys) {
    self.client = client
    self.keys = keys
  }

  /// - Parameters:
  ///   - contents: compressed octets by hash; a hash whose octets are believed to be in Redis may be absent.
  ///   - deadline: in Redis's clock; run later it does nothing.
  package func accept(
    host: String, now: Milliseconds, deadline: Milliseconds, nonce: String, maxMessages: Int,
    suppressedOutcome: [UInt8], contents: [String: [UInt8]], items: [AcceptItem]
  ) async throws -> (answers: [AcceptAnswer], heads: [QueueHead]) {
    let size = contents.values.reduce(0) { $0 + $1.count }
    var command = RedisCommand.function("mta1_accept", prefix: keys.prefix, capacity: size + items.count * 700 + 512)
    command.add(host)
    command.add(now)
    command.add(deadline)
    command.add(nonce)
    command.add(maxMessages)
    command.add(suppressedOutcome)
    command.add(contents.count)
    for (hash, bytes) in contents {
      command.add(hash)
      command.add(bytes)
    }
    command.add(items.count)
    for item in items {
      command.add(item.number.description)
      command.add(item.record.organisation)
      command.add(item.identity)
      command.add(item.record.messageID)
      command.add(item.group.description)
      command.add(item.score)
      if let outcome = item.outcome {
        command.add([UInt8(ascii: "e")] + outcome)
      } else {
        command.add(item.heldFor.map { "h\(item.due ?? 0) \($0)" } ?? item.due.map(String.init) ?? "")
      }
      command.add(item.record.expiresAt)
      command.add(item.contentHash)
      command.add(item.record.encoded())
      command.add(item.receiptUntil)
      command.add(item.list.map { "\(item.address)\n\($0)" } ?? item.address)
    }
    let reply = try Reply(await client.send(command, timeLimit: .seconds(5)))
    let answers = try reply.array(0).map { value in
      guard let fields = value.array, fields.count == 4, let status = fields[0].string.flatMap(AcceptStatus.init),
        let number = fields[1].string.flatMap({ MessageNumber($0) })
      else { throw RedisError.unexpected("accept") }
      return AcceptAnswer(
        status: status, number: number, acceptedAt: fields[2].int64 ?? 0, messageID: fields[3].string ?? "")
    }
    return (answers, try reply.heads(1))
  }

  package func dispatch(host: String, now: Milliseconds, suppressedOutcome: [UInt8], picks: [Pick]) async throws -> (
    answers: [PickAnswer], heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_dispatch", prefix: keys.prefix, capacity: picks.count * 400 + 256)
    command.add(host)
    command.add(now)
    command.add(suppressedOutcome)
    command.add(picks.count)
    for pick in picks {
      command.add(pick.part.description)
      command.add(pick.count)
      command.add(pick.sourceIP)
      command.add(pick.lane)
      command.add(pick.route)
      command.add(pick.firstAt)
      command.add(String(pick.step))
      command.add(pick.nextPermitAt)
      command.add(pick.counters.count)
      for counter in pick.counters {
        command.add(counter.key)
        command.add(counter.limit)
        command.add(counter.secondsToLive)
      }
    }
    let reply = try Reply(await client.send(command))
    let answers = try reply.array(0).map { value in
      guard let fields = value.array, fields.count >= 2, let stopped = fields[1].int else {
        throw RedisError.unexpected("dispatch")
      }
      return PickAnswer(
        numbers: fields.dropFirst(2).compactMap { $0.string.flatMap { MessageNumber($0) } },
        stoppedBy: stopped == 0 ? nil : stopped - 1)
    }
    return (answers, try reply.heads(1))
  }

  /// Says what came of entries of an IP's stream; the host's reducer judges it.
  /// - Parameter journalPosition: up to where the IP's journal is told with these; nil = nothing is said of it.
  package func settle(ip: String, host: String, journalPosition: Int64?, _ settlements: [Settlement]) async throws {
    var command = RedisCommand.function("mta1_settle", prefix: keys.prefix, capacity: settlements.count * 300 + 128)
    command.add(ip)
    command.add(host)
    command.add(journalPosition.map(String.init) ?? "")
    command.add(settlements.count)
    for settlement in settlements {
      command.add(settlement.entryID)
      command.add(settlement.number.description)
      command.add(settlement.serial)
      command.add(settlement.outcome)
    }
    _ = try await client.send(command)
  }

  /// An IP's journal is told up to there, in the order of a connection's commands.
  package func setJournalPosition(ip: String, host: String, _ position: Int64) async throws {
    _ = try await client.send(RedisCommand("HSET", keys.journal, "\(host) \(ip)", String(position)))
  }

  /// What an IP's journal says, to a Redis that may have lost it. Answers how many lines acted.
  package func replay(ip: String, host: String, _ lines: [ReplayedLine]) async throws -> Int {
    var command = RedisCommand.function("mta1_replay", prefix: keys.prefix, capacity: lines.count * 300 + 128)
    command.add(host)
    command.add(ip)
    command.add(lines.count)
    for line in lines {
      command.add(line.number.description)
      command.add(line.serial)
      command.add(line.outcome)
      command.add(line.letsGo ? 1 : 0)
    }
    return try await client.send(command).int ?? 0
  }

  /// What a worker holds, told to a run of Redis that may have lost its dispatch. Answers per entry whether it is the worker's: if not, it must
  /// not begin, nor come to its dot.
  package func claim(ip: String, _ entries: [(entry: HeldEntry, stage: HoldingStage)]) async throws -> [Bool] {
    var command = RedisCommand.function("mta1_claim", prefix: keys.prefix, capacity: entries.count * 100 + 128)
    command.add(ip)
    command.add(entries.count)
    for (entry, stage) in entries {
      command.add(entry.entryID)
      command.add(entry.number.description)
      command.add(entry.serial)
      command.add(stage.rawValue)
    }
    let answers = (try await client.send(command).array ?? []).compactMap(\.int)
    guard answers.count == entries.count else { throw RedisError.unexpected("claim") }
    return answers.map { $0 == 1 }
  }

  /// What an IP's worker claimed, which no stream holds, and has not ended.
  package func claims(ip: String) async throws -> [HeldEntry] {
    let rows = try await client.send(RedisCommand("HGETALL", keys.claims)).array ?? []
    return stride(from: 0, to: rows.count - 1, by: 2).compactMap { index in
      guard let number = rows[index].string.flatMap({ MessageNumber($0) }), let words = rows[index + 1].string?.split(separator: " "),
        words.count == 3, words[0] == ip, let serial = Int(words[2])
      else { return nil }
      return HeldEntry(entryID: String(words[1]), number: number, serial: serial)
    }
  }

  /// The run of Redis to which an IP's journal was told last; nil = none that is remembered.
  package func toldRun(ip: String, host: String) async throws -> String? {
    try await client.send(RedisCommand("HGET", keys.told, "\(host) \(ip)")).string
  }

  package func setToldRun(ip: String, host: String, _ run: String) async throws {
    _ = try await client.send(RedisCommand("HSET", keys.told, "\(host) \(ip)", run))
  }

  /// Applies effects; answers the `done` id of each (nil where it wrote none or its outcome was gone already).
  /// - Parameter policy: what was learnt from these outcomes.
  package func effects(host: String, trimDoneTo: String?, _ items: [EffectItem], policy: [PolicyRow] = []) async throws -> (
    doneIDs: [String?], heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_effects", prefix: keys.prefix, capacity: items.count * 600 + 128)
    command.add(host)
    command.add(trimDoneTo ?? "")
    command.add(items.count)
    for item in items {
      command.add(item.source.id)
      command.add(item.source.ip)
      command.add(item.source.entryID)
      command.add(item.source.journalPosition.map(String.init) ?? "")
      command.add(item.number.description)
      command.add(item.serial)
      switch item.fate {
      case .final:
        command.add("final")
        command.add(item.refundsProbes ? "1" : "")
      case .keep(let until):
        command.add("keep")
        command.add(until)
      case .retry(let at):
        command.add("retry")
        command.add(at)
      case .queue(let marks):
        command.add("queue")
        command.add(marks)
      case .hold(let reason):
        command.add("hold")
        command.add(reason)
      case .move(let group):
        command.add("move")
        command.add(group.description)
      }
      command.add(item.done)
      command.add(item.suppression?.scope ?? "")
      command.add(item.suppression?.address ?? "")
      command.add(item.suppression?.value ?? "")
    }
    command.add(policy.count)
    for row in policy {
      command.add(row.field)
      command.add(row.text ?? "")
    }
    let reply = try Reply(await client.send(command))
    return (try reply.array(0).map { $0.string.flatMap { $0.isEmpty ? nil : $0 } }, try reply.heads(1))
  }

  /// Moves due messages to their queues.
  package func ready(host: String, now: Milliseconds, limit: Int) async throws -> (
    moved: Int, nextDue: Milliseconds?, heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_ready", prefix: keys.prefix)
    command.add(host)
    command.add(now)
    command.add(limit)
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), reply.values[1].int64, try reply.heads(2))
  }

  package func conclude(host: String, outcome: [UInt8], _ numbers: [MessageNumber]) async throws -> (
    count: Int, heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_conclude", prefix: keys.prefix)
    command.add(host)
    command.add(outcome)
    for number in numbers { command.add(number.description) }
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }

  /// Ends up to `limit` messages at the head of one part.
  package func conclude(host: String, outcome: [UInt8], part: GroupPart, limit: Int) async throws -> (
    count: Int, heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_conclude_part", prefix: keys.prefix)
    command.add(host)
    command.add(outcome)
    command.add(part.description)
    command.add(limit)
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }

  /// Concludes expired messages; answers how many rows were looked at.
  package func expire(host: String, now: Milliseconds, limit: Int, outcome: [UInt8]) async throws -> (
    count: Int, heads: [QueueHead]
  ) {
    var command = RedisCommand.function("mta1_expire", prefix: keys.prefix)
    command.add(host)
    command.add(now)
    command.add(limit)
    command.add(outcome)
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }

  /// Keeps messages back under a reason, at most 500 a call; their place is kept. Answers how many waited and are held.
  package func hold(host: String, reason: String, _ numbers: [MessageNumber]) async throws -> (count: Int, heads: [QueueHead]) {
    var command = RedisCommand.function("mta1_hold", prefix: keys.prefix)
    command.add(host)
    command.add(reason)
    for number in numbers { command.add(number.description) }
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }

  /// What waits to be due goes now.
  package func hurry(host: String, _ numbers: [MessageNumber]) async throws -> (count: Int, heads: [QueueHead]) {
    var command = RedisCommand.function("mta1_hurry", prefix: keys.prefix)
    command.add(host)
    for number in numbers { command.add(number.description) }
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }

  /// Back to their queues, at their old places, or to wait until they are due.
  package func unhold(host: String, now: Milliseconds, _ numbers: [MessageNumber]) async throws -> (count: Int, heads: [QueueHead]) {
    var command = RedisCommand.function("mta1_unhold", prefix: keys.prefix)
    command.add(host)
    command.add(now)
    for number in numbers { command.add(number.description) }
    let reply = try Reply(await client.send(command))
    return (try reply.int(0), try reply.heads(1))
  }
}

/// An array reply, read by place.
struct Reply {
  let values: [RESPValue]

  init(_ value: RESPValue) throws {
    guard let values = value.array else { throw RedisError.unexpected("no array") }
    self.values = values
  }

  func array(_ index: Int) throws -> [RESPValue] {
    guard values.indices.contains(index), let array = values[index].array else { throw RedisError.unexpected("no array") }
    return array
  }

  func int(_ index: Int) throws -> Int {
    guard values.indices.contains(index), let value = values[index].int else { throw RedisError.unexpected("no integer") }
    return value
  }

  func heads(_ index: Int) throws -> [QueueHead] {
    let flat = try array(index)
    var heads: [QueueHead] = []
    guard let sequence = flat.first?.int64 else { throw RedisError.unexpected("no sequence") }
    var at = 1
    while at + 2 < flat.count {
      if let part = flat[at].string.flatMap({ GroupPart($0) }), let count = flat[at + 1].int {
        heads.append(QueueHead(part: part, count: count, score: flat[at + 2].int64 ?? 0, sequence: sequence))
      }
      at += 3
    }
    return heads
  }
}
