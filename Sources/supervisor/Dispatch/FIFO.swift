/// First in, first out.
struct FIFO<Element> {
  private var items: [Element] = []
  private var head = 0

  var isEmpty: Bool { head == items.count }

  mutating func append(_ element: Element) { items.append(element) }

  mutating func popFirst() -> Element? {
    guard head < items.count else { return nil }
    let first = items[head]
    head += 1
    // What left is dropped in one go, at most as often as the queue's length doubles.
    if head > 1024, head * 2 > items.count {
      items.removeFirst(head)
      head = 0
    }
    return first
  }
}
