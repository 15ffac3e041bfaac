import CShims
import Glibc

/// Space kept back in the state directory while there is plenty, and let go when the disk is nearly full: Redis and the event
/// files go on writing in it, so that what was accepted is delivered (DESIGN section 9).
struct ReserveFile: ~Copyable {
  static let most = 64 << 20

  private let path: String
  private(set) var isHeld = false

  init(directory: String) { path = directory + "/reserve" }

  /// So much of a disk of this size.
  static func size(ofDisk total: Int) -> Int { min(most, total / 16) }

  /// Below so much free space it is let go: long after intake stopped.
  static func floor(minFree: Int) -> Int { min(32 << 20, max(2 << 20, minFree / 4)) }

  /// Takes it when intake stays open with it taken, lets it go when space has become scarce.
  /// - Returns: what changed; nil = nothing.
  mutating func follow(free: Int, total: Int, minFree: Int) -> Bool? {
    let size = Self.size(ofDisk: total)
    if isHeld, free < Self.floor(minFree: minFree) {
      isHeld = false
      unlink(path)
      return false
    }
    guard !isHeld, size > 0, free - size > minFree + minFree / 16 + size / 4 else { return nil }
    isHeld = take(size)
    return isHeld ? true : nil
  }

  private func take(_ size: Int) -> Bool {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard shim_allocate(descriptor, off_t(size)) == 0 else {
      unlink(path)
      return false
    }
    return true
  }
}
