import MailModel

/// Virtual time: what happens next, earliest first. Of one millisecond, lower rank first, then first come.
struct EventQueue {
  enum Kind: UInt8 {
    case midnight, arrival, transactional, retry, complaint, lane
  }

  struct Event {
    let time: Milliseconds
    let rank: UInt64
    let order: UInt64
    let kind: Kind
    /// Lane, slot of a message, or whatever the kind needs.
    let index: Int32

    fileprivate func isBefore(_ other: Event) -> Bool {
      if time != other.time { return time < other.time }
      if rank != other.rank { return rank < other.rank }
      return order < other.order
    }
  }

  private var items: [Event] = []
  private var pushed: UInt64 = 0

  mutating func push(_ kind: Kind, at time: Milliseconds, index: Int = 0, rank: UInt64 = 0) {
    pushed += 1
    let event = Event(time: time, rank: rank, order: pushed, kind: kind, index: Int32(index))
    var hole = items.count
    items.append(event)
    while hole > 0 {
      let parent = (hole - 1) / 2
      guard event.isBefore(items[parent]) else { break }
      items[hole] = items[parent]
      hole = parent
    }
    items[hole] = event
  }

  mutating func pop() -> Event? {
    guard let first = items.first, let last = items.popLast() else { return nil }
    let count = items.count
    guard count > 0 else { return first }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < count else { break }
      if child + 1 < count, items[child + 1].isBefore(items[child]) { child += 1 }
      guard items[child].isBefore(last) else { break }
      items[hole] = items[child]
      hole = child
    }
    items[hole] = last
    return first
  }
}
