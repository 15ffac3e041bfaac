import Foundation
import TestSupport
import Testing

@testable import supervisor

@Suite struct PressureTests {
  static let mib = 1 << 20
  static let limits = Pressure.Limits(minFree: 512 * mib, queueOctets: 1000 * mib, queueMessages: 100)

  struct Row: Sendable {
    var free = 10_000
    var used = 10
    var most = 0
    var live = 0
    var refusal: Pressure.Refusal?
  }

  @Test(arguments: [
    Row(), Row(free: 511, refusal: .diskLow), Row(free: 513), Row(used: 999), Row(used: 1000, refusal: .queueFull),
    Row(live: 99), Row(live: 100, refusal: .queueFull), Row(used: 900, most: 1000, refusal: nil),
    // 62.5 MiB below 1,000.
    Row(used: 938, most: 1000, refusal: .redisFull), Row(used: 937, most: 1000), Row(free: 1, used: 999, most: 1000, refusal: .diskLow),
  ])
  func whatIsRefused(_ row: Row) {
    var pressure = Pressure(limits: Self.limits)
    pressure.measured(free: row.free * Self.mib, usedMemory: row.used * Self.mib, maxMemory: row.most * Self.mib, live: row.live)
    #expect(pressure.refusal == row.refusal)
    #expect(pressure.admit(messages: 1, octets: 1) == row.refusal)
  }

  /// Files count too, and ask for nothing but disk.
  @Test func whatGoesToFilesIsCounted() {
    var pressure = Pressure(limits: Self.limits)
    pressure.measured(free: 600 * Self.mib, usedMemory: 1000 * Self.mib, maxMemory: 0, live: 0)
    var admitted = 0
    while pressure.admitFile(octets: Self.mib) == nil { admitted += 1 }
    #expect(admitted == 44 && pressure.refusal == .queueFull)
    #expect(pressure.admit(messages: 0, octets: 6 * Self.mib) == .queueFull)
    pressure.measured(free: 700 * Self.mib, usedMemory: 0, maxMemory: 0, live: 0)
    #expect(pressure.admitFile(octets: Self.mib) == nil)
    pressure.measured(free: 500 * Self.mib, usedMemory: nil, maxMemory: nil, live: nil)
    #expect(pressure.admitFile(octets: 0) == .diskLow)
  }

  /// Between two readings what comes in is counted: a flood does not run past a limit that was far away a moment ago.
  @Test func whatComesInBetweenIsCounted() {
    var pressure = Pressure(limits: Self.limits)
    pressure.measured(free: 600 * Self.mib, usedMemory: 0, maxMemory: 0, live: 0)
    var admitted = 0
    while pressure.admit(messages: 0, octets: Self.mib) == nil { admitted += 1 }
    // Each octet is written several times on a message's way.
    #expect(admitted == 22)
    #expect(pressure.admit(messages: 0, octets: 0) == nil)
    pressure.measured(free: nil, usedMemory: nil, maxMemory: nil, live: nil)
    #expect(pressure.admit(messages: 0, octets: Self.mib) == nil)
    var full = Pressure(limits: Self.limits)
    full.measured(free: nil, usedMemory: 0, maxMemory: 64 * Self.mib, live: nil)
    var count = 0
    while full.admit(messages: 1, octets: Self.mib) == nil { count += 1 }
    #expect((25...30).contains(count))
    // How many the queue holds is the accepting Function's to say: others may have left it since.
    full.measured(free: nil, usedMemory: 0, maxMemory: 0, live: 99)
    for _ in 0..<5 { #expect(full.admit(messages: 1, octets: 0) == nil) }
  }

  /// It ends only when there is clearly room again.
  @Test func itDoesNotFlap() {
    var pressure = Pressure(limits: Self.limits)
    pressure.measured(free: 511 * Self.mib, usedMemory: nil, maxMemory: nil, live: nil)
    pressure.measured(free: 520 * Self.mib, usedMemory: nil, maxMemory: nil, live: nil)
    #expect(pressure.refusal == .diskLow)
    pressure.measured(free: 530 * Self.mib, usedMemory: nil, maxMemory: nil, live: nil)
    #expect(pressure.refusal == nil)
  }

  /// Taken only when intake stays open with it, let go when the disk is nearly full, taken again.
  @Test func theReserve() throws {
    let scratch = try Scratch()
    defer { scratch.remove() }
    var reserve = ReserveFile(directory: scratch.path)
    let total = 160 * Self.mib
    func allocated() throws -> Int {
      let text = try run("/usr/bin/du", ["-m", scratch.file("reserve")]).output
      return Int(text.split(separator: "\t").first ?? "") ?? 0
    }
    #expect(reserve.follow(free: 25 * Self.mib, total: total, minFree: 16 * Self.mib) == nil)
    #expect(reserve.follow(free: 100 * Self.mib, total: total, minFree: 16 * Self.mib) == true)
    #expect(try allocated() == 10)
    #expect(reserve.follow(free: 8 * Self.mib, total: total, minFree: 16 * Self.mib) == nil)
    #expect(reserve.follow(free: 3 * Self.mib, total: total, minFree: 16 * Self.mib) == false)
    #expect(!FileManager.default.fileExists(atPath: scratch.file("reserve")))
    #expect(reserve.follow(free: 14 * Self.mib, total: total, minFree: 16 * Self.mib) == nil)
    #expect(reserve.follow(free: 40 * Self.mib, total: total, minFree: 16 * Self.mib) == true)
  }
}
