internal import Glibc
package import MailModel

/// Reads a whole journal back. A torn or damaged line ends its segment: nothing after it was acknowledged.
package enum JournalReader {
  /// What the journal knows of one attempt.
  package struct Attempt: Sendable, Equatable {
    package var hasBegun = false
    package var hasDot = false
    /// Encoded ``AttemptResult`` of the `reply` line.
    package var outcome: [UInt8]?
    package var at: Milliseconds = 0
    /// Of its last line: segment and offset behind it.
    package var position: Int64 = 0
  }

  package struct Key: Hashable, Sendable {
    package var number: MessageNumber
    package var serial: Int

    package init(number: MessageNumber, serial: Int) {
      self.number = number
      self.serial = serial
    }
  }

  /// All attempts of all kept segments, and the position after the last line.
  package static func read(directory: String) throws(JournalError) -> (attempts: [Key: Attempt], position: Int64) {
    var attempts: [Key: Attempt] = [:]
    var position: Int64 = 0
    for segment in segments(directory) {
      let bytes = try contents(path(directory, segment))
      var at = 0
      while let (line, next) = line(in: bytes, at: at) {
        at = next
        let key = Key(number: line.number, serial: line.serial)
        switch line.kind {
        case .begin: attempts[key, default: Attempt()].hasBegun = true
        case .dot: attempts[key, default: Attempt()].hasDot = true
        case .reply: attempts[key, default: Attempt()].outcome = line.body
        case .abandon: attempts[key, default: Attempt()].hasBegun = false
        }
        attempts[key, default: Attempt()].at = line.at
        attempts[key, default: Attempt()].position = Int64(segment) << 32 | Int64(at)
      }
      position = Int64(segment) << 32 | Int64(at)
    }
    return (attempts, position)
  }

  static func line(in bytes: [UInt8], at: Int) -> (JournalLine, Int)? {
    guard bytes.count - at >= JournalLine.headerLength else { return nil }
    let length = bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
    let checksum = bytes[at + 4..<at + 8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let start = at + JournalLine.headerLength
    guard length > 0, length <= JournalLine.maxLength, length <= bytes.count - start else { return nil }
    let payload = bytes[start..<start + length]
    guard JournalLine.checksum(payload) == checksum, let line = JournalLine(payload: payload) else { return nil }
    return (line, start + length)
  }

  /// More is no segment: on a full disk one grows beyond ``JournalWriter/segmentSize``, but its worker is ours to distrust.
  private static let mostOctets = 256 << 20

  /// What a segment's number may be; a writer that would need the next one refuses.
  static let numbers = UInt32(0)..<(1 << 30)

  /// Segment numbers, oldest first. A file with another name than ours has is none: the folder is the worker's to write.
  static func segments(_ directory: String) -> [UInt32] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var found: [UInt32] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let number = UInt32(name.prefix { $0 != "." }), numbers.contains(number), name == "\(number).journal" else { continue }
      found.append(number)
    }
    return found.sorted()
  }

  static func path(_ directory: String, _ segment: UInt32) -> String { "\(directory)/\(segment).journal" }

  static func removeSegments(_ directory: String, lastWrittenBefore limit: Milliseconds, keeping current: UInt32) {
    for segment in segments(directory) where segment != current {
      var status = stat()
      let file = path(directory, segment)
      if stat(file, &status) == 0, Int64(status.st_mtim.tv_sec) * 1000 < limit { unlink(file) }
    }
  }

  /// Gives preallocated space behind the last line back. For segments that nobody writes to.
  static func releaseUnused(_ directory: String, _ segment: UInt32) {
    let fd = open(path(directory, segment), O_WRONLY | O_CLOEXEC)
    guard fd >= 0 else { return }
    let end = lseek(fd, 0, SEEK_END)
    if end >= 0 { ftruncate(fd, end) }
    close(fd)
  }

  private static func contents(_ path: String) throws(JournalError) -> [UInt8] {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { throw .io(operation: "open segment", errno: errno) }
    defer { close(fd) }
    var status = stat()
    guard fstat(fd, &status) == 0 else { throw .io(operation: "stat", errno: errno) }
    var bytes = [UInt8](repeating: 0, count: min(Int(status.st_size), mostOctets))
    var done = 0
    while done < bytes.count {
      let count = bytes[done...].withUnsafeMutableBytes { Glibc.read(fd, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      done += count
    }
    return Array(bytes[..<done])
  }
}
