internal import CShims
internal import Glibc
package import MailModel

/// Appends to one IP's journal with write(2): what is written survives the death of the process, because a killed process
/// loses no page cache (tried: the other order, send then journal, lost 311 of 400 dots). The segment in use is preallocated
/// and a spare one lies beside it, so that delivery goes on for thousands of messages on a full disk.
package struct JournalWriter: ~Copyable {
  package static let segmentSize = 2 << 20
  /// Lines are kept this long past their writing (DESIGN section 5).
  package static let retention: Milliseconds = 24 * 3_600_000

  private let directory: String
  private var descriptor: Int32
  private var segment: UInt32
  private var offset: Int

  /// The caller holds the directory's ``JournalLock``. Starts a new segment; segments past their time go.
  /// - Parameter keepsAll: what lies there is not settled yet.
  package init(directory: String, now: Milliseconds, keepsAll: Bool = false) throws(JournalError) {
    self.directory = directory
    let last = JournalReader.segments(directory).last
    // A killed process gave back nothing.
    if let last { JournalReader.releaseUnused(directory, last) }
    segment = (last ?? 0) + 1
    descriptor = try Self.open(directory, segment)
    offset = 0
    if !keepsAll { JournalReader.removeSegments(directory, lastWrittenBefore: now - Self.retention, keeping: segment) }
    Self.makeSpare(directory)
  }

  deinit {
    ftruncate(descriptor, off_t(offset))
    close(descriptor)
  }

  /// Segment and offset after the last line: grows for the life of the directory.
  package var position: Int64 { Int64(segment) << 32 | Int64(offset) }

  package mutating func append(_ line: JournalLine) throws(JournalError) {
    // Without space for another segment this one goes on while there is room behind it.
    let bytes = line.encoded()
    if offset > 0, offset + bytes.count > Self.segmentSize { try? rotate(now: line.at) }
    var done = 0
    while done < bytes.count {
      let count = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        let code = errno
        if code == EINTR { continue }
        // Half a line would hide all that is written after it.
        if done > 0 { ftruncate(descriptor, off_t(offset)) }
        throw .io(operation: "write", errno: code)
      }
      done += count
    }
    offset += bytes.count
  }

  private mutating func rotate(now: Milliseconds) throws(JournalError) {
    let next = try Self.open(directory, segment + 1)
    ftruncate(descriptor, off_t(offset))
    close(descriptor)
    descriptor = next
    segment += 1
    offset = 0
    JournalReader.removeSegments(directory, lastWrittenBefore: now - Self.retention, keeping: segment)
    Self.makeSpare(directory)
  }

  private static func spare(_ directory: String) -> String { directory + "/spare" }

  /// Allocated while there is space, for the day when there is none.
  private static func makeSpare(_ directory: String) {
    let fd = Glibc.open(spare(directory), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    guard fd >= 0 else { return }
    if shim_allocate(fd, off_t(segmentSize)) != 0 { unlink(spare(directory)) }
    close(fd)
  }

  private static func open(_ directory: String, _ segment: UInt32) throws(JournalError) -> Int32 {
    guard JournalReader.numbers.contains(segment) else { throw .io(operation: "number a segment", errno: EOVERFLOW) }
    let path = JournalReader.path(directory, segment)
    if rename(spare(directory), path) == 0 {
      let fd = Glibc.open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
      guard fd >= 0 else { throw .io(operation: "open segment", errno: errno) }
      return fd
    }
    let fd = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    guard fd >= 0 else { throw .io(operation: "open segment", errno: errno) }
    // A file system without preallocation still works; it only lacks the reserve.
    _ = shim_allocate(fd, off_t(segmentSize))
    return fd
  }
}
