import Foundation
import Glibc

/// Small files that nobody else may read, whatever the umask.
enum PrivateFile {
  /// The file's text without its line end, or what `make` answers, written down first.
  static func textMadeOnce(_ path: String, _ make: () -> String) throws -> String {
    if let text = try? String(contentsOfFile: path, encoding: .utf8), text.utf8.count >= 32 {
      return text.trimmingCharacters(in: .newlines)
    }
    let fresh = make()
    try write(fresh, to: path)
    return fresh
  }

  /// Whole or not at all; on disk when it returns.
  static func write(_ text: String, to path: String) throws {
    let temporary = path + ".new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw SetupError("\(path) cannot be written: \(String(cString: strerror(errno)))") }
    let isWritten = Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count && fsync(descriptor) == 0
    close(descriptor)
    guard isWritten, rename(temporary, path) == 0 else { throw SetupError("\(path) cannot be written") }
  }
}
