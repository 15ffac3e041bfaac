import NIOCore
import Testing

@testable import supervisor

/// Whose time runs when, on virtual time.
@Suite struct ConnectionClockTests {
  let start = NIODeadline.now()
  func at(_ seconds: Int64) -> NIODeadline { start + .seconds(seconds) }
  func fresh() -> ConnectionClock {
    ConnectionClock(.init(header: .seconds(10), body: .seconds(20), idle: .seconds(75), leastRate: 1000), now: start)
  }

  @Test func aHeaderHasItsTimeFromItsFirstOctet() {
    var clock = fresh()
    #expect(!clock.isOver(at(75)) && clock.isOver(at(76)))
    clock.octetsCame(at(70))
    for second in stride(from: Int64(71), to: 80, by: 1) { clock.octetsCame(at(second)) }
    #expect(!clock.isOver(at(80)) && clock.isOver(at(81)))
    clock.headCame()
    #expect(!clock.isOver(at(500)))
  }

  @Test func aBodyMayNotStandStillNorTrickle() {
    var clock = fresh()
    clock.octetsCame(at(0))
    clock.headCame()
    clock.reads(at(1))
    #expect(!clock.isOver(at(21)) && clock.isOver(at(22)))
    // One octet every 10 s: never silent for long, and far below the least rate.
    clock.bodyCame(1, at(10))
    clock.reads(at(10))
    clock.bodyCame(1, at(20))
    clock.reads(at(20))
    #expect(clock.isOver(at(22)))
    // At ten times the rate it goes on for ever.
    var quick = fresh()
    quick.octetsCame(at(0))
    quick.headCame()
    for second in Int64(1)...300 {
      quick.reads(at(second - 1))
      #expect(!quick.isOver(at(second)))
      quick.bodyCame(10_000, at(second))
    }
  }

  @Test func timeOfTheServerIsNobodysFault() {
    var clock = fresh()
    clock.octetsCame(at(0))
    clock.headCame()
    // Nobody reads: it waits for room.
    #expect(!clock.isOver(at(600)))
    clock.reads(at(600))
    clock.bodyCame(5, at(601))
    clock.requestEnded(at(601))
    #expect(!clock.isOver(at(5000)))
    clock.writes(at(5000))
    #expect(!clock.isOver(at(5020)) && clock.isOver(at(5021)))
    clock.written(at(5001))
    clock.answerEnded(at(5001))
    #expect(!clock.isOver(at(5076)) && clock.isOver(at(5077)))
  }

  @Test func anAnswerBeforeTheRequestsEndAndPipelinedRequests() {
    var early = fresh()
    early.octetsCame(at(0))
    early.headCame()
    early.writes(at(1))
    early.written(at(1))
    early.answerEnded(at(1))
    early.requestEnded(at(2))
    #expect(early.isOver(at(78)))
    var two = fresh()
    two.octetsCame(at(0))
    two.headCame()
    two.requestEnded(at(0))
    two.headCame()
    two.requestEnded(at(0))
    two.answerEnded(at(1))
    #expect(!two.isOver(at(1000)))
    two.answerEnded(at(1000))
    #expect(two.isOver(at(1076)))
  }

  @Test func connectionsAreCountedByClient() {
    let table = ConnectionTable(limit: 4, perPeer: 2)
    #expect(table.admit("192.0.2.1") && table.admit("192.0.2.1") && !table.admit("192.0.2.1"))
    // One IPv6 client has a whole /64.
    #expect(table.admit("2001:db8::1") && table.admit("2001:db8::ffff:2") && !table.admit("2001:db8::3"))
    #expect(!table.admit("192.0.2.2"))
    table.leave("192.0.2.1")
    #expect(table.admit("192.0.2.2") && table.count == 4)
  }
}
