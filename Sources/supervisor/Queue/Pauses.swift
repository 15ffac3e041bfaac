import Foundation
import MailModel
import Observability
import Redis
import Synchronization

/// What an operator paused: an organisation, a recipient domain or a pool is a gate of the dispatcher; a campaign or a tag
/// moves its messages to the held index (DESIGN section 4.11). In Redis, so that it holds on every host and over restarts.
final class Pauses: Sendable {
  enum Scope: String, Sendable, CaseIterable {
    case organisation = "org"
    case domain, pool, campaign, tag

    /// Held message by message, since no queue is theirs alone.
    var isByMessage: Bool { self == .campaign || self == .tag }
  }

  struct Key: Hashable, Sendable, CustomStringConvertible {
    var scope: Scope
    var name: String

    /// `scope:name`; also the reason of what is held for it.
    var description: String { "\(scope.rawValue):\(name)" }

    init(scope: Scope, name: String) {
      self.scope = scope
      self.name = name
    }

    init?(_ text: String) {
      let parts = text.split(separator: ":", maxSplits: 1)
      guard parts.count == 2, let scope = Scope(rawValue: String(parts[0])) else { return nil }
      self.init(scope: scope, name: String(parts[1]))
    }
  }

  struct Row: Codable, Sendable, Equatable {
    var since: Milliseconds
    var reason: String?
  }

  /// What was at a worker when it was paused is back by then (DESIGN section 3: entries that cannot begin go back after 30 s).
  private static let stragglers: Milliseconds = 120_000

  private struct State {
    var rows: [Key: Row] = [:]
    var version = 0
    /// Readings begun, and the newest of those that were taken.
    var begun = 0
    var taken = 0
  }

  private let store: QueueStore
  private let host: String
  private let hash: RedisHash
  private let state = Mutex(State())
  private let changed: @Sendable () -> Void
  private let heads: @Sendable ([QueueHead]) async -> Void

  /// - Parameter changed: called when what is paused is other than before.
  init(
    store: QueueStore, host: String, changed: @escaping @Sendable () -> Void, heads: @escaping @Sendable ([QueueHead]) async -> Void
  ) {
    self.store = store
    self.host = host
    self.changed = changed
    self.heads = heads
    hash = RedisHash(client: store.client, key: store.keys.pauses)
  }

  /// Rises with each change.
  var version: Int { state.withLock { $0.version } }
  var rows: [Key: Row] { state.withLock { $0.rows } }

  func refresh() async throws {
    let reading = state.withLock { state in
      state.begun += 1
      return state.begun
    }
    var rows: [Key: Row] = [:]
    for (field, text) in try await hash.all() {
      if let key = Key(field), let row = try? JSONDecoder().decode(Row.self, from: Data(text.utf8)) { rows[key] = row }
    }
    let isOther = state.withLock { [rows] state in
      guard reading > state.taken else { return false }
      state.taken = reading
      guard state.rows != rows else { return false }
      state.rows = rows
      state.version += 1
      return true
    }
    if isOther { changed() }
  }

  /// Other hosts' pauses are seen within seconds; messages that were on their way when a campaign was paused are held when
  /// they are back.
  func run() async {
    var passes = 0
    while !Task.isCancelled {
      try? await refresh()
      passes += 1
      if passes % 6 == 0 {
        let since = SystemClock.now() - Self.stragglers
        for (key, row) in rows where key.scope.isByMessage && row.since > since { _ = try? await holdAll(key) }
      }
      try? await Task.sleep(for: .seconds(5))
    }
  }

  /// What holds a message from its acceptance on; nil = nothing.
  func reason(campaign: String?, tags: [String]) -> String? {
    let rows = rows
    guard !rows.isEmpty else { return nil }
    if let campaign, rows[Key(scope: .campaign, name: campaign)] != nil { return Key(scope: .campaign, name: campaign).description }
    return tags.map { Key(scope: .tag, name: $0) }.first { rows[$0] != nil }?.description
  }

  /// - Returns: how many messages were moved to the held index (campaign, tag), else nil.
  func pause(_ key: Key, reason: String?) async throws -> Int? {
    // Paused again, it stays paused for what it was, unless another reason is given.
    let row = Row(since: SystemClock.now(), reason: reason ?? rows[key]?.reason)
    try await hash.set(key.description, String(decoding: try JSONEncoder().encode(row), as: UTF8.self))
    try await refresh()
    return key.scope.isByMessage ? try await holdAll(key) : nil
  }

  /// - Returns: nil when it was not paused; else how many messages went back to their places.
  func resume(_ key: Key) async throws -> Int? {
    guard try await hash.remove(key.description) else { return nil }
    try await refresh()
    return key.scope.isByMessage ? try await release(key) : 0
  }

  /// Due messages of what is paused are held before they reach their queues.
  func holdDue(_ now: Milliseconds) async throws {
    guard rows.keys.contains(where: { $0.scope.isByMessage }) else { return }
    var start = 0
    while true {
      let numbers = try await store.waiting(until: now, from: start, limit: 500)
      guard !numbers.isEmpty else { return }
      start += numbers.count - (try await hold(numbers, from: .waiting))
    }
  }

  private func holdAll(_ key: Key) async throws -> Int {
    let filter = MessageFilter(key)
    var count = 0
    try await QueueWalk(store: store).visit(filter, in: [.queued, .waiting]) { messages in
      let (held, heads) = try await self.store.hold(host: self.host, reason: key.description, messages.map(\.number))
      count += held
      await self.heads(heads)
      return held
    }
    return count
  }

  /// - Parameter state: where they must be; a number that an index has by mistake is not.
  private func hold(_ numbers: [MessageNumber], from state: MessageSnapshot.State) async throws -> Int {
    var byReason: [String: [MessageNumber]] = [:]
    for message in try await store.peek(numbers) where message.state == state {
      guard let reason = reason(campaign: message.record.campaignID, tags: message.record.tags) else { continue }
      byReason[reason, default: []].append(message.number)
    }
    var count = 0
    for (reason, numbers) in byReason {
      let (held, heads) = try await store.hold(host: host, reason: reason, numbers)
      count += held
      await self.heads(heads)
    }
    return count
  }

  private func unpaused(_ numbers: [MessageNumber]) async throws -> [MessageNumber] {
    try await store.peek(numbers).filter { reason(campaign: $0.record.campaignID, tags: $0.record.tags) == nil }.map(\.number)
  }

  private func release(_ key: Key) async throws -> Int {
    var count = 0
    var cursor: String? = "0"
    while let at = cursor {
      let (rows, next) = try await store.held(from: at)
      let mine = rows.filter { $0.reason == key.description }.map(\.number)
      // What another pause holds too is held for that from now on.
      let others = try await hold(mine, from: .held)
      let numbers = others == 0 ? mine : try await unpaused(mine)
      if !numbers.isEmpty {
        let (released, heads) = try await store.unhold(host: host, now: SystemClock.now(), numbers)
        count += released
        await self.heads(heads)
      }
      cursor = next
    }
    return count
  }
}
