internal import Glibc
internal import NIOConcurrencyHelpers

/// Octets of a received message: in memory while small, else in a file without a name that goes with the last reference.
package final class MailContent: Sendable {
  private enum Storage {
    case memory([UInt8])
    /// Written by the spool before; only read from here on.
    case file(Int32)
  }

  private let storage: Storage
  private let room: SpoolRoom?
  package let size: Int

  /// For tests and for mail that came another way.
  package init(_ octets: [UInt8]) {
    storage = .memory(octets)
    size = octets.count
    room = nil
  }

  fileprivate init(memory: [UInt8], room: SpoolRoom) {
    storage = .memory(memory)
    size = memory.count
    self.room = room
  }

  fileprivate init(descriptor: Int32, size: Int, room: SpoolRoom) {
    storage = .file(descriptor)
    self.size = size
    self.room = room
  }

  deinit {
    if case .file(let descriptor) = storage { close(descriptor) }
    room?.release(size)
  }

  /// All of it in memory. While a receiver is at work the listener has counted this size against its hand-over budget.
  /// - Throws: ``SpoolError`` when the file cannot be read.
  package func octets() throws(SpoolError) -> [UInt8] {
    switch storage {
    case .memory(let octets): return octets
    case .file(let descriptor):
      var isWhole = true
      let octets = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        while count < size {
          let read = pread(descriptor, buffer.baseAddress.map { $0 + count }, size - count, off_t(count))
          if read < 0 && errno == EINTR { continue }
          guard read > 0 else {
            isWhole = false
            return
          }
          count += read
        }
      }
      guard isWhole else { throw .unreadable }
      return octets
    }
  }
}

package enum SpoolError: Error, Sendable, Equatable {
  /// The disk takes no more, or all sessions together hold as much as they may.
  case full
  case unreadable
}

/// How many octets all sessions together may hold, in memory and in files.
final class SpoolRoom: Sendable {
  private let total: Int
  private let used = NIOLockedValueBox(0)

  init(total: Int) { self.total = total }

  func take(_ count: Int) -> Bool {
    used.withLockedValue { used in
      guard used + count <= total else { return false }
      used += count
      return true
    }
  }

  func release(_ count: Int) { used.withLockedValue { $0 -= count } }
}

/// Content on its way in. Belongs to one session.
final class MailSpool {
  /// Beyond this it goes to a file.
  static let inMemory = 64 << 10

  private let directory: String
  private let room: SpoolRoom
  private var memory: [UInt8] = []
  private var descriptor: Int32 = -1
  private(set) var size = 0
  private var isHandedOver = false

  /// - Parameter directory: where the file is made.
  init(directory: String, room: SpoolRoom) {
    self.directory = directory
    self.room = room
  }

  deinit {
    guard !isHandedOver else { return }
    if descriptor >= 0 { close(descriptor) }
    room.release(size)
  }

  func append(_ octets: UnsafeRawBufferPointer) throws(SpoolError) {
    guard room.take(octets.count) else { throw .full }
    size += octets.count
    memory += octets
    if memory.count > Self.inMemory { try flush() }
  }

  func finish() throws(SpoolError) -> MailContent {
    guard descriptor >= 0 else {
      isHandedOver = true
      return MailContent(memory: memory, room: room)
    }
    try flush()
    isHandedOver = true
    return MailContent(descriptor: descriptor, size: size, room: room)
  }

  private func flush() throws(SpoolError) {
    if descriptor < 0 {
      var path = Array((directory + "/mail-XXXXXX").utf8CString)
      descriptor = mkstemp(&path)
      guard descriptor >= 0, unlink(path) == 0 else { throw .full }
    }
    var start = 0
    while start < memory.count {
      let count = memory[start...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .full }
      start += count
    }
    memory.removeAll(keepingCapacity: true)
  }
}
