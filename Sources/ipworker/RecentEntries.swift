import DequeModule

/// The last so many entry ids.
struct RecentEntries {
  private let capacity: Int
  private var order = Deque<String>()
  private var ids: Set<String> = []

  init(capacity: Int) { self.capacity = capacity }

  func contains(_ id: String) -> Bool { ids.contains(id) }

  mutating func insert(_ id: String) {
    guard ids.insert(id).inserted else { return }
    order.append(id)
    if order.count > capacity, let oldest = order.popFirst() { ids.remove(oldest) }
  }
}
