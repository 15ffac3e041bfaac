import Foundation
import Glibc

/// Mends Redis's append-only file before Redis reads it.
///
/// A server that is killed while it writes leaves half a step behind: MULTI and some of its commands. Redis 7 ignores that and cuts
/// off the half command at the end, but not the MULTI and the whole commands before it; what it appends from then on is read, at
/// the next start, as part of that transaction: half a step that was never answered is done after all, out of its order, or, when no
/// EXEC follows, what was answered since is forgotten. So the whole half step is cut off first. Nothing is lost by it: no client was
/// told that it was done.
struct AppendOnlyFile {
  enum Finding: Equatable {
    case whole
    /// Where the last whole step ends.
    case torn(at: Int)
    /// Not what Redis writes, at this place: left alone, for Redis to judge.
    case strange(at: Int)
  }

  enum Failure: Error, Equatable, CustomStringConvertible {
    case io(path: String, operation: String, errno: Int32)

    var description: String {
      switch self {
      case .io(let path, let operation, let code): "\(path) cannot be mended: \(operation): \(String(cString: strerror(code)))"
      }
    }
  }

  /// Mends what the manifest in Redis's `appendonlydir` names last.
  /// - Returns: what was cut off, octets; nil when nothing was to be done, or there is no such file.
  static func mend(_ directory: String) throws(Failure) -> (path: String, octets: Int)? {
    guard let name = lastIncrement(directory) else { return nil }
    let path = directory + "/" + name
    let descriptor = open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw .io(path: path, operation: "open", errno: errno)
    }
    defer { close(descriptor) }
    let size = lseek(descriptor, 0, SEEK_END)
    guard size >= 0 else { throw .io(path: path, operation: "size", errno: errno) }
    // After a loss of power a file system may show room that was never written. A step ends with a line end, never with NUL.
    let written = try endOfWhatWasWritten(descriptor, size, path)
    var reader = AppendOnlyReader(descriptor, size: written)
    let end: Int
    switch reader.find() {
    case .torn(let whole): end = whole
    case .whole where written < size: end = written
    case .whole: return nil
    case .strange:
      if reader.failure != 0 { throw .io(path: path, operation: "read", errno: reader.failure) }
      return nil
    }
    guard lseek(descriptor, 0, SEEK_END) == size else { throw .io(path: path, operation: "it is being written to", errno: EBUSY) }
    guard ftruncate(descriptor, end) == 0 else { throw .io(path: path, operation: "truncate", errno: errno) }
    guard fsync(descriptor) == 0 else { throw .io(path: path, operation: "fsync", errno: errno) }
    return (path, size - end)
  }

  /// Where the NULs at the file's end begin.
  private static func endOfWhatWasWritten(_ descriptor: Int32, _ size: Int, _ path: String) throws(Failure) -> Int {
    var end = size
    var block = [UInt8](repeating: 0, count: 64 << 10)
    while end > 0 {
      let start = max(0, end - block.count)
      let got = pread(descriptor, &block, end - start, start)
      guard got == end - start else { throw .io(path: path, operation: "read", errno: got < 0 ? errno : EIO) }
      if let last = block[..<got].lastIndex(where: { $0 != 0 }) { return start + last + 1 }
      end = start
    }
    return 0
  }

  /// The file that Redis appends to: of type `i`, the last one. Lines are `file NAME seq N type T`.
  private static func lastIncrement(_ directory: String) -> String? {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    // One that was being written when Redis ended is not in force.
    guard let manifest = names.first(where: { $0.hasSuffix(".manifest") && !$0.hasPrefix("temp-") }),
      let text = try? String(contentsOfFile: directory + "/" + manifest, encoding: .utf8)
    else { return nil }
    return text.split(separator: "\n").compactMap { line -> String? in
      let words = line.split(separator: " ")
      guard words.count == 6, words[0] == "file", words[4] == "type", words[5] == "i", !words[1].contains("/") else { return nil }
      return String(words[1])
    }.last
  }
}
