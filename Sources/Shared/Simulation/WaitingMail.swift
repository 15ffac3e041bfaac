import MailModel

/// One message that has been tried; those that have not are only counted.
struct SimulatedMessage {
  let organisation: Int32
  let destination: Int32
  let arrivedAt: Milliseconds
  var firstTriedAt: Milliseconds = 0
  var deferrals: Int32 = 0
  var isUnknown = false
  var isFull = false
  /// Greylisted before this time; 0 = never met.
  var greyUntil: Milliseconds = 0
  /// IPs that may not try it any more, as bits.
  var less: UInt64 = 0
}

/// What one organisation has waiting for one destination, oldest first.
struct WaitingMail {
  private struct Run {
    let arrivedAt: Milliseconds
    var count: Int
  }

  /// Tried before, by the IPs that are left out: a queue for each set, like the groups of `pool less IPs`.
  private struct Returned {
    let less: UInt64
    var messages: [SimulatedMessage] = []
    var head = 0

    var isEmpty: Bool { head == messages.count }

    mutating func pop() -> SimulatedMessage {
      defer {
        head += 1
        if isEmpty {
          messages.removeAll(keepingCapacity: true)
          head = 0
        }
      }
      return messages[head]
    }
  }

  private let organisation: Int32
  private let destination: Int32
  private var runs: [Run] = []
  private var firstRun = 0
  private var returned: [Returned] = []
  private(set) var count = 0

  init(organisation: Int, destination: Int) {
    self.organisation = Int32(organisation)
    self.destination = Int32(destination)
  }

  mutating func add(_ count: Int, arrivedAt: Milliseconds) {
    guard count > 0 else { return }
    self.count += count
    runs.append(Run(arrivedAt: arrivedAt, count: count))
  }

  mutating func add(_ message: SimulatedMessage) {
    count += 1
    if let index = returned.firstIndex(where: { $0.less == message.less }) {
      returned[index].messages.append(message)
    } else {
      returned.append(Returned(less: message.less, messages: [message]))
    }
  }

  func has(for bit: UInt64) -> Bool {
    guard count > 0 else { return false }
    if firstRun < runs.count { return true }
    for queue in returned where queue.less & bit == 0 && !queue.isEmpty { return true }
    return false
  }

  /// Messages that were tried keep their old place: they go first.
  mutating func take(for bit: UInt64) -> SimulatedMessage? {
    for index in returned.indices where returned[index].less & bit == 0 && !returned[index].isEmpty {
      count -= 1
      return returned[index].pop()
    }
    guard firstRun < runs.count else { return nil }
    count -= 1
    let arrivedAt = runs[firstRun].arrivedAt
    runs[firstRun].count -= 1
    if runs[firstRun].count == 0 {
      firstRun += 1
      if firstRun > 1024 {
        runs.removeFirst(firstRun)
        firstRun = 0
      }
    }
    return SimulatedMessage(organisation: organisation, destination: destination, arrivedAt: arrivedAt)
  }

  /// Messages never tried that came before `time`.
  func untried(before time: Milliseconds) -> Int {
    runs[firstRun...].reduce(0) { $0 + ($1.arrivedAt < time ? $1.count : 0) }
  }
}
