import Foundation
import Glibc
import TestSupport
import Testing

@testable import supervisor

@Suite struct AppendOnlyFileTests {
  private static func command(_ words: String...) -> String {
    "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
  }

  private struct Folder {
    let scratch: Scratch
    var file: String { scratch.file("appendonly.aof.2.incr.aof") }

    init() throws {
      scratch = try Scratch()
      let manifest = """
        file appendonly.aof.2.base.rdb seq 2 type b
        file appendonly.aof.1.incr.aof seq 1 type h
        file appendonly.aof.2.incr.aof seq 2 type i

        """
      _ = try scratch.write("appendonly.aof.manifest", manifest)
      // Left by a Redis that ended before it had put it in force.
      _ = try scratch.write("temp-appendonly.aof.manifest", manifest + "file appendonly.aof.3.incr.aof seq 3 type i\n")
    }

    func content(after octets: [UInt8]) throws -> (left: Int, cut: Int?) {
      try Data(octets).write(to: URL(fileURLWithPath: file))
      let cut = try AppendOnlyFile.mend(scratch.path)?.octets
      return (try Data(contentsOf: URL(fileURLWithPath: file)).count, cut)
    }
  }

  /// Wherever the file ends, what is left ends with a whole step, and no whole step is lost.
  @Test func everyCutIsMended() throws {
    let folder = try Folder()
    defer { folder.scratch.remove() }
    let steps = [
      Self.command("SELECT", "0"), Self.command("set", "a", "x\r\n$3\r\n"), "#TS:1790000000\r\n",
      Self.command("MULTI") + Self.command("ZPOPMIN", "q", "2") + Self.command("HSET", "h", "multi", "exec") + Self.command("EXEC"),
      Self.command("MSET", String(repeating: "k", count: 200), ""), Self.command("multi") + Self.command("exec"),
    ]
    var ends: [Int] = [0]
    for step in steps { ends.append((ends.last ?? 0) + step.utf8.count) }
    let whole = Array(steps.joined().utf8)
    for length in 0...whole.count {
      let (left, cut) = try folder.content(after: Array(whole[..<length]))
      let expected = ends.last { $0 <= length } ?? 0
      #expect(left == expected && cut ?? 0 == length - expected, "\(length)")
    }
  }

  /// What Redis would not write is not ours to judge.
  @Test func whatIsStrangeIsLeftAlone() throws {
    let folder = try Folder()
    defer { folder.scratch.remove() }
    let good = Self.command("SET", "a", "b")
    for text in [
      good + "garbage", good + "*0\r\n", good + "*1\r\n$3\r\nGETxx" + good, good + "$3\r\n", good + "*x\r\n", good + "*1\n$4\n",
      Self.command("MULTI") + good + Self.command("MULTI") + good, good + "*99999999999\r\n",
    ] {
      let (left, cut) = try folder.content(after: Array(text.utf8))
      #expect(left == text.utf8.count && cut == nil, "\(text.debugDescription)")
    }
    try FileManager.default.removeItem(atPath: folder.file)
    #expect(try AppendOnlyFile.mend(folder.scratch.path) == nil)
    #expect(try AppendOnlyFile.mend(folder.scratch.path + "/nowhere") == nil)
  }

  @Test func roomThatWasNeverWrittenIsCutOff() throws {
    let folder = try Folder()
    defer { folder.scratch.remove() }
    let good = Self.command("SET", "a", "b\0")
    for room in [1, 4096, 200_000] {
      let zeros = String(repeating: "\0", count: room)
      for rest in ["", "*3\r\n$3\r\nSET\r\n$9\r\nab", Self.command("MULTI") + good] {
        let (left, cut) = try folder.content(after: Array((good + rest + zeros).utf8))
        #expect(left == good.utf8.count && cut == rest.utf8.count + room)
      }
      #expect(try folder.content(after: Array(zeros.utf8)).left == 0)
    }
  }

  @Test func largeFilesAreReadInPieces() throws {
    let folder = try Folder()
    defer { folder.scratch.remove() }
    var text = ""
    for size in [0, 1, 1 << 20, (1 << 20) - 40, 3 << 20, 77] {
      text += Self.command("SET", "k\(size)", String(repeating: "v", count: size))
    }
    let whole = text.utf8.count
    #expect(try folder.content(after: Array(text.utf8)) == (whole, nil))
    #expect(try folder.content(after: Array((text + Self.command("MULTI") + Self.command("SET", "a", "b")).utf8)).left == whole)
    #expect(try folder.content(after: Array(text.utf8).dropLast(1)).left < whole)
  }

  /// A real Redis that is killed while it writes, twice: nothing that was never answered is done at the second start.
  @Test func halfAStepIsNotDoneLater() async throws {
    let redis = try await RedisFixture()
    defer { redis.stop() }
    redis.mend = { _ = try AppendOnlyFile.mend($0) }
    let pop = "for _, m in ipairs(redis.call('ZPOPMIN', 'q', 2)) do if m:sub(1, 1) == 'm' then redis.call('HSET', 'h', m, 'out') end end"
    for member in 1...9 {
      try redis.cli("ZADD", "q", "\(member)", "m\(member)")
      try redis.cli("HSET", "h", "m\(member)", "waits")
    }
    try redis.cli("EVAL", pop, "0")
    redis.kill()
    // In the middle of the second HSET of that step.
    let file = try redis.appendedFile()
    let size = try Data(contentsOf: URL(fileURLWithPath: file)).count
    #expect(truncate(file, off_t(size - 30)) == 0)
    try await redis.start()
    try redis.cli("EVAL", pop, "0")
    let before = try (redis.cli("ZRANGE", "q", "0", "-1"), redis.cli("HGETALL", "h"))
    #expect(before.0.split(separator: "\n").count == 7)
    redis.kill()
    try await redis.start()
    #expect(try (redis.cli("ZRANGE", "q", "0", "-1"), redis.cli("HGETALL", "h")) == before)
  }
}
