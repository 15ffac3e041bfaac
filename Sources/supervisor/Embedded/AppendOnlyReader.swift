import Glibc

/// Reads a file of Redis commands once, from its begin to its end, a mebibyte at a time.
struct AppendOnlyReader {
  private let descriptor: Int32
  private let size: Int
  private var buffer: [UInt8] = []
  /// Of the buffer's begin in the file, and of the next octet in the buffer.
  private var base: Int = 0
  private var next = 0
  /// Why it could not be read; 0 = it could.
  private(set) var failure: Int32 = 0

  private enum Fault: Error { case end, strange, unreadable }

  init(_ descriptor: Int32, size: Int) {
    self.descriptor = descriptor
    self.size = size
  }

  private var offset: Int { base + next }

  /// Where the last whole step ends: a command by itself, or all from MULTI to EXEC.
  mutating func find() -> AppendOnlyFile.Finding {
    var whole: Int = 0
    var isInTransaction = false
    do {
      while offset < size {
        switch try command() {
        case .multi where isInTransaction: return .strange(at: offset)
        case .multi: isInTransaction = true
        case .exec: isInTransaction = false
        case .other: break
        }
        if !isInTransaction { whole = offset }
      }
    } catch Fault.end {
      return .torn(at: whole)
    } catch {
      return .strange(at: offset)
    }
    return isInTransaction ? .torn(at: whole) : .whole
  }

  private enum Command { case multi, exec, other }

  /// Passes one command, or an annotation (`#TS:…`).
  private mutating func command() throws(Fault) -> Command {
    let mark = try octet()
    if mark == UInt8(ascii: "#") {
      while try octet() != 0x0A {}
      return .other
    }
    guard mark == UInt8(ascii: "*") else { throw .strange }
    let count = try number()
    guard count > 0 else { throw .strange }
    var command = Command.other
    for index in 0..<count {
      guard try octet() == UInt8(ascii: "$") else { throw .strange }
      let length = try number()
      if index == 0, length <= 8 {
        command = try name(length)
      } else {
        skip(length)
      }
      try lineEnd()
    }
    return command
  }

  private mutating func name(_ length: Int) throws(Fault) -> Command {
    var name: [UInt8] = []
    for _ in 0..<length { name.append(try octet() | 0x20) }
    if name.elementsEqual("multi".utf8) { return .multi }
    return name.elementsEqual("exec".utf8) ? .exec : .other
  }

  private mutating func number() throws(Fault) -> Int {
    var number = 0
    var digits = 0
    while true {
      let octet = try octet()
      if octet == 0x0D, digits > 0 {
        guard try self.octet() == 0x0A else { throw .strange }
        return number
      }
      guard (0x30...0x39).contains(octet), digits < 10 else { throw .strange }
      number = number * 10 + Int(octet - 0x30)
      digits += 1
    }
  }

  private mutating func lineEnd() throws(Fault) {
    let first = try octet()
    let second = try octet()
    guard first == 0x0D, second == 0x0A else { throw .strange }
  }

  private mutating func skip(_ count: Int) {
    guard next + count > buffer.count else {
      next += count
      return
    }
    base = offset + count
    next = 0
    buffer = []
  }

  private mutating func octet() throws(Fault) -> UInt8 {
    if next == buffer.count { try refill() }
    defer { next += 1 }
    return buffer[next]
  }

  private mutating func refill() throws(Fault) {
    base = offset
    next = 0
    buffer = []
    guard base < size else { throw .end }
    var fresh = [UInt8](repeating: 0, count: Int(min(1 << 20, size - base)))
    var got = 0
    repeat { got = pread(descriptor, &fresh, fresh.count, base) } while got < 0 && errno == EINTR
    guard got > 0 else {
      // The file has shrunk, or the disk does not give it: nothing is known of its end.
      failure = got < 0 ? errno : EIO
      throw .unreadable
    }
    buffer = Array(fresh.prefix(got))
  }
}
