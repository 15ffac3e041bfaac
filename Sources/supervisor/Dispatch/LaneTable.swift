/// Lanes by their ids. Many small tables instead of one large one, so that none takes long to grow.
struct LaneTable: Sequence {
  private static let shards = 128

  private var tables = Array(repeating: [LaneID: Lane](), count: shards)
  private(set) var count = 0

  var keys: [LaneID] { tables.flatMap(\.keys) }

  subscript(id: LaneID) -> Lane? {
    get { tables[id.shard(of: Self.shards)][id] }
    set {
      let before = tables[id.shard(of: Self.shards)].count
      tables[id.shard(of: Self.shards)][id] = newValue
      count += tables[id.shard(of: Self.shards)].count - before
    }
  }

  mutating func removeAll(where isGone: (LaneID, Lane) -> Bool) {
    for index in tables.indices { tables[index] = tables[index].filter { !isGone($0.key, $0.value) } }
    count = tables.reduce(0) { $0 + $1.count }
  }

  func makeIterator() -> FlattenSequence<[[LaneID: Lane]]>.Iterator { tables.joined().makeIterator() }
}
