import Synchronization

/// The fleet for those who are made before it: it needs them, and they need it once all run.
final class FleetReference: Sendable {
  private let held = Mutex<Fleet?>(nil)

  var fleet: Fleet? {
    get { held.withLock { $0 } }
    set { held.withLock { $0 = newValue } }
  }
}
