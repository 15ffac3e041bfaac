import Foundation
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
