import Foundation
import Glibc
import Journal
import MailModel
import TestSupport
import Testing

@Suite struct JournalTests {
  func line(_ kind: JournalLine.Kind, _ number: UInt64, _ serial: Int, _ body: [UInt8] = []) -> JournalLine {
    JournalLine(kind: kind, number: MessageNumber(number), serial: serial, at: 1, body: body)
  }

  @Test func whatWasWrittenIsReadOverSeveralLives() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let directory = scratch.file("j")
    let lock = try JournalLock(directory: directory)
    var first: Int64 = 0
    do {
      var writer = try JournalWriter(directory: directory, now: 0)
      try writer.append(line(.begin, 1, 1))
      try writer.append(line(.dot, 1, 1))
      first = writer.position
    }
    var writer = try JournalWriter(directory: directory, now: 0)
    try writer.append(line(.begin, 2, 1))
    try writer.append(line(.dot, 2, 1))
    try writer.append(line(.reply, 2, 1, [9, 9]))
    try writer.append(line(.begin, 2, 2))
    let (attempts, position) = try JournalReader.read(directory: directory)
    #expect(attempts[.init(number: MessageNumber(1), serial: 1)]?.hasDot == true)
    #expect(attempts[.init(number: MessageNumber(1), serial: 1)]?.outcome == nil)
    #expect(attempts[.init(number: MessageNumber(2), serial: 1)]?.outcome == [9, 9])
    #expect(attempts[.init(number: MessageNumber(2), serial: 2)]?.hasBegun == true)
    #expect(position == writer.position && position > first)
    withExtendedLifetime(lock) {}
  }

  /// What is past its time goes with a new segment, but not before it was settled.
  @Test func oldSegmentsStayUntilTheyAreSettled() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let directory = scratch.file("j")
    let lock = try JournalLock(directory: directory)
    do {
      var writer = try JournalWriter(directory: directory, now: 0)
      try writer.append(line(.dot, 1, 1))
    }
    let later = Int64(Date().timeIntervalSince1970 * 1000) + JournalWriter.retention + 60_000
    func knows() throws -> Bool {
      try JournalReader.read(directory: directory).attempts[.init(number: MessageNumber(1), serial: 1)]?.hasDot == true
    }
    _ = try JournalWriter(directory: directory, now: later, keepsAll: true)
    #expect(try knows())
    _ = try JournalWriter(directory: directory, now: later)
    #expect(try !knows())
    withExtendedLifetime(lock) {}
  }

  /// The folder is the worker's to write: what it puts beside its segments neither stops a reader nor the next writer.
  @Test func whatElseLiesThereIsNoSegment() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let directory = scratch.file("j")
    let lock = try JournalLock(directory: directory)
    for name in ["4294967295.journal", "1073741824.journal", "007.journal", "+5.journal", "5.journal.journal", ".journal", "x.journal"] {
      try Data("nothing".utf8).write(to: URL(fileURLWithPath: directory + "/" + name))
    }
    // Sparse, and larger than anybody's memory.
    _ = FileManager.default.createFile(atPath: directory + "/3.journal", contents: nil)
    #expect(truncate(directory + "/3.journal", 1 << 40) == 0)
    var writer = try JournalWriter(directory: directory, now: 0)
    try writer.append(line(.dot, 1, 1))
    let (attempts, position) = try JournalReader.read(directory: directory)
    #expect(attempts.count == 1 && position == writer.position && position >> 32 == 4)
    #expect(JournalLock.holder(directory: directory) == getpid())
    // The last number of all: what followed it would not be read.
    try Data("nothing".utf8).write(to: URL(fileURLWithPath: directory + "/1073741823.journal"))
    #expect(throws: JournalError.self) { _ = try JournalWriter(directory: directory, now: 0) }
    withExtendedLifetime(lock) {}
  }

  /// A line that was torn at any octet is no line, and what stands before it stays.
  @Test func tornLinesEndTheirSegment() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let directory = scratch.file("j")
    let lock = try JournalLock(directory: directory)
    do {
      var writer = try JournalWriter(directory: directory, now: 0)
      try writer.append(line(.dot, 1, 1))
      try writer.append(line(.reply, 1, 1, [1, 2, 3]))
    }
    let path = directory + "/1.journal"
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    let firstLine = 8 + 25
    for end in firstLine..<whole.count {
      try whole[..<end].write(to: URL(fileURLWithPath: path))
      let attempt = try JournalReader.read(directory: directory).attempts[.init(number: MessageNumber(1), serial: 1)]
      #expect(attempt?.hasDot == true && attempt?.outcome == nil)
    }
    var damaged = whole
    damaged[firstLine + 20] ^= 1
    try damaged.write(to: URL(fileURLWithPath: path))
    #expect(try JournalReader.read(directory: directory).attempts[.init(number: MessageNumber(1), serial: 1)]?.outcome == nil)
    withExtendedLifetime(lock) {}
  }

  /// On a full disk lines go on into the spare segment; when that is used up the line fails whole, and what comes after space
  /// is there again is read with all that was before.
  @Test(.enabled(if: geteuid() == 0, "mounts a small disk: needs root")) func aFullDisk() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let disk = scratch.file("disk")
    try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
    try #require(try run("/bin/mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]).code == 0)
    defer { _ = try? run("/bin/umount", ["-l", disk]) }
    let lock = try JournalLock(directory: disk + "/j")
    var writer = try JournalWriter(directory: disk + "/j", now: 0)
    _ = try run("/bin/dd", ["if=/dev/zero", "of=\(disk)/filler", "bs=4k"])
    let body = [UInt8](repeating: 7, count: 1000)
    var written: UInt64 = 0
    var fault: JournalError?
    while fault == nil, written < 100_000 {
      do throws(JournalError) {
        try writer.append(line(.reply, written + 1, 1, body))
        written += 1
      } catch { fault = error }
    }
    #expect(fault == .io(operation: "write", errno: ENOSPC))
    // Two segments of 2 MiB.
    #expect((3900...4200).contains(written))
    unlink(disk + "/filler")
    try writer.append(line(.reply, 1_000_000, 1, body))
    let attempts = try JournalReader.read(directory: disk + "/j").attempts
    #expect(attempts.count == Int(written) + 1 && attempts[.init(number: MessageNumber(1_000_000), serial: 1)]?.outcome == body)
    withExtendedLifetime(lock) {}
  }

  @Test func oneHolderAtATime() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    let directory = scratch.file("j")
    var lock: JournalLock? = try JournalLock(directory: directory)
    #expect(throws: JournalError.held(by: ProcessInfo.processInfo.processIdentifier)) { try JournalLock(directory: directory) }
    withExtendedLifetime(lock) {}
    lock = nil
    _ = try JournalLock(directory: directory)
  }
}
