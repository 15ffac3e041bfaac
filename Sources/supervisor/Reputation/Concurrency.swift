/// The values of `body` in the order of `items`, at most `width` of them under way at a time.
func concurrently<Item: Sendable, Value: Sendable>(
  _ items: [Item], width: Int, _ body: @escaping @Sendable (Item) async -> Value
) async -> [Value] {
  await withTaskGroup(of: (Int, Value).self) { group in
    var next = 0
    var found: [(Int, Value)] = []
    while next < min(width, items.count) {
      let index = next
      group.addTask { (index, await body(items[index])) }
      next += 1
    }
    for await row in group {
      found.append(row)
      if next < items.count {
        let index = next
        group.addTask { (index, await body(items[index])) }
        next += 1
      }
    }
    return found.sorted { $0.0 < $1.0 }.map(\.1)
  }
}
