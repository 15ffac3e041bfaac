import DNS
import DeliveryPolicy
import MailModel
import Synchronization
import Testing

@testable import supervisor

/// One question to a blocklist: how often it is asked, and when that ends.
@Suite struct BlocklistLookupTests {
  struct Attempts: Sendable {
    var name: String
    /// What the resolver says, one an attempt, each after so many milliseconds.
    var answers: [(DNSAnswer, Int64)]
    var expected: BlocklistAnswer
    var made: Int
    var waits: [Int64]
  }

  static let servfail = DNSAnswer(status: .unknown("rcode 2"))
  static let silence = DNSAnswer(status: .unknown("no answer in time"))
  static let attempts: [Attempts] = [
    Attempts(
      name: "found", answers: [(DNSAnswer(status: .found, records: [[127, 0, 0, 2]]), 5)], expected: .addresses(["127.0.0.2"]), made: 1,
      waits: []),
    Attempts(name: "no such name", answers: [(DNSAnswer(status: .noSuchName), 5)], expected: .nothing, made: 1, waits: []),
    Attempts(name: "no data", answers: [(DNSAnswer(status: .noData), 5)], expected: .nothing, made: 1, waits: []),
    Attempts(
      name: "passing fault", answers: [(servfail, 5), (DNSAnswer(status: .noSuchName), 5)], expected: .nothing, made: 2, waits: [200]),
    Attempts(
      name: "thrice at most", answers: [(servfail, 5), (servfail, 5), (servfail, 5), (servfail, 5)], expected: .failed("rcode 2"), made: 3,
      waits: [200, 400]),
    Attempts(
      name: "never past the budget", answers: [(silence, 5000), (silence, 7000), (silence, 5000)], expected: .failed("no answer in time"),
      made: 2, waits: [200]),
    Attempts(
      name: "refused", answers: [(DNSAnswer(status: .unknown("rcode 5")), 5)], expected: .failed("rcode 5"), made: 1, waits: []),
    Attempts(
      name: "bogus, and its text is not passed on", answers: [(DNSAnswer(status: .unknown("bogus: key.zone.test")), 5)],
      expected: .failed("bogus"), made: 1, waits: []),
  ]

  @Test(arguments: attempts.indices)
  func oneQuestion(index: Int) async {
    let row = Self.attempts[index]
    let time = Mutex<(now: Int64, made: Int, waits: [Int64])>((0, 0, []))
    let lookup = BlocklistLookup(
      resolve: { _, limit in
        time.withLock { state in
          let (answer, takes) = row.answers[state.made]
          state.made += 1
          state.now += takes
          #expect(limit <= .milliseconds(5000))
          return answer
        }
      }, monotonic: { time.withLock(\.now) },
      wait: { pause in
        time.withLock { state in
          state.now += pause
          state.waits.append(pause)
        }
      })
    #expect(await lookup.answer("x.zone.test") == row.expected, "\(row.name)")
    let (_, made, waits) = time.withLock { $0 }
    #expect(made == row.made, "\(row.name)")
    #expect(waits == row.waits, "\(row.name)")
  }
}
