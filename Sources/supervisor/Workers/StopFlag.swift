import Synchronization

/// Set once, when the supervisor was told to end: workers that end by themselves then are not started again.
final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .acquiring) }
  func set() { flag.store(true, ordering: .releasing) }
}
