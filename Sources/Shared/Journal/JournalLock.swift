internal import CShims
internal import Glibc

/// The exclusive lock on one IP's journal, held for the life of a process: whoever holds it is the only one that may read
/// the journal to settle from it, or write to it. Kernel-held (flock), so it ends with its process however that ends.
package final class JournalLock: Sendable {
  private let descriptor: Int32

  /// The lock, or why not. A result and not a throw, because Swift 6.3.1 crashes on a `catch` that binds the payload of a
  /// typed error around a `return` of a reference.
  package static func take(directory: String) -> Result<JournalLock, JournalError> {
    do { return .success(try JournalLock(directory: directory)) } catch { return .failure(error) }
  }

  /// - Throws: ``JournalError/held(by:)`` when another process has it.
  package init(directory: String) throws(JournalError) {
    try makeDirectory(directory)
    let fd = open(directory + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard fd >= 0 else { throw .io(operation: "open lock", errno: errno) }
    let code = shim_lock(fd)
    guard code == 0 else {
      var text = [UInt8](repeating: 0, count: 16)
      let count = pread(fd, &text, text.count, 0)
      close(fd)
      guard code == EWOULDBLOCK else { throw .io(operation: "lock", errno: code) }
      throw .held(by: count > 0 ? Int32(String(decoding: text[..<count], as: UTF8.self).split(separator: "\n").first ?? "") : nil)
    }
    let pid = Array("\(getpid())\n".utf8)
    ftruncate(fd, 0)
    guard pwrite(fd, pid, pid.count, 0) == pid.count else {
      let code = errno
      close(fd)
      throw .io(operation: "write lock", errno: code)
    }
    descriptor = fd
  }

  deinit { close(descriptor) }

  /// Who holds the lock, as the kernel says (proc_locks(5)): what stands in its file is its holder's word. Nil when nobody does, or none
  /// that this process may see.
  package static func holder(directory: String) -> Int32? {
    var status = stat()
    guard stat(directory + "/lock", &status) == 0, let locks = fopen("/proc/locks", "re") else { return nil }
    defer { fclose(locks) }
    let inode = ":\(status.st_ino)"
    var line = [CChar](repeating: 0, count: 512)
    while fgets(&line, Int32(line.count), locks) != nil {
      let words = line.withUnsafeBufferPointer { String(decoding: $0.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) }
        .split(whereSeparator: \.isWhitespace)
      if words.count > 5, words[1] == "FLOCK", words[5].hasSuffix(inode), let pid = Int32(words[4]), pid > 0 { return pid }
    }
    return nil
  }
}

func makeDirectory(_ path: String) throws(JournalError) {
  if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
  throw .io(operation: "mkdir", errno: errno)
}
