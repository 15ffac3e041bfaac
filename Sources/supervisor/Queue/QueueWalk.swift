import MailModel
import Redis

/// Which messages an operator means. Absent members match all.
struct MessageFilter: Sendable, Equatable {
  var id: String?
  var organisation: String?
  var domain: String?
  var pool: String?
  var campaign: String?
  var tag: String?

  init() {}

  init(_ key: Pauses.Key) {
    switch key.scope {
    case .organisation: organisation = key.name
    case .domain: domain = key.name
    case .pool: pool = key.name
    case .campaign: campaign = key.name
    case .tag: tag = key.name
    }
  }

  var isEmpty: Bool { self == MessageFilter() }

  func matches(_ part: GroupPart) -> Bool {
    (organisation == nil || organisation == part.organisation) && (domain == nil || domain == part.group.domain)
  }

  func matches(_ message: QueuedMessage) -> Bool {
    matches(message.part) && (pool == nil || pool == message.record.pool)
      && (campaign == nil || campaign == message.record.campaignID) && (tag.map { message.record.tags.contains($0) } ?? true)
  }
}

/// Walks what waits, in slices: for operators, never for dispatch. What moves while it walks may be missed; who must not miss
/// it walks again.
struct QueueWalk: Sendable {
  enum Place: Sendable, CaseIterable {
    case queued, waiting, held
  }

  static let slice = 500

  let store: QueueStore

  /// - Parameter take: gets the matching messages of a slice; answers how many of them it took away from where they were.
  ///   Throwing ends the walk.
  func visit(_ filter: MessageFilter, in places: [Place] = Place.allCases, _ take: ([QueuedMessage]) async throws -> Int) async throws {
    if let id = filter.id {
      let numbers = try await store.numbers(identity: id).filter { filter.organisation == nil || $0.key == filter.organisation }
      let found = try await store.peek(Array(numbers.values)).filter { isIn(places, $0.state) && filter.matches($0) }
      guard filter.organisation != nil || found.count <= 1 else { throw Explainer.ambiguous }
      if !found.isEmpty { _ = try await take(found) }
      return
    }
    if places.contains(.queued) {
      var parts: [GroupPart] = []
      try await store.readDirectory { heads in parts += heads.map(\.part).filter(filter.matches) }
      for part in parts { try await walk(filter, .queued, take) { try await store.queued(part, from: $0, limit: Self.slice) } }
    }
    if places.contains(.waiting) { try await walk(filter, .waiting, take) { try await store.waiting(from: $0, limit: Self.slice) } }
    guard places.contains(.held) else { return }
    var cursor: String? = "0"
    while let at = cursor {
      let (rows, next) = try await store.held(from: at)
      let found = try await store.peek(rows.map(\.number)).filter { isIn([.held], $0.state) && filter.matches($0) }
      if !found.isEmpty { _ = try await take(found) }
      cursor = next
    }
  }

  /// A number whose message is elsewhere is stale.
  private func walk(
    _ filter: MessageFilter, _ place: Place, _ take: ([QueuedMessage]) async throws -> Int, _ read: (Int) async throws -> [MessageNumber]
  ) async throws {
    var start = 0
    while true {
      let numbers = try await read(start)
      guard !numbers.isEmpty else { return }
      let found = try await store.peek(numbers).filter { isIn([place], $0.state) && filter.matches($0) }
      let taken = found.isEmpty ? 0 : try await take(found)
      start += max(0, numbers.count - taken)
      if numbers.count < Self.slice { return }
    }
  }

  private func isIn(_ places: [Place], _ state: MessageSnapshot.State) -> Bool {
    switch state {
    case .queued: places.contains(.queued)
    case .waiting: places.contains(.waiting)
    case .held: places.contains(.held)
    case .dispatched, .settled, .uncertain: false
    }
  }
}
