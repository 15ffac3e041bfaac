import DeliveryPolicy
import MailModel
import Testing

private let hour: Milliseconds = 3_600_000
private let first: Milliseconds = 20_781 * UTCDay.length
private let policy = WarmingPolicy()

private func at(day: Int, _ time: Milliseconds = 9 * hour) -> Milliseconds { first + Milliseconds(day) * UTCDay.length + time }

private struct Answers {
  var delivered = 0
  var bounced = 0
  var deferred = 0
  var pressure = 0
  var provider = "gmail"
}

extension IPWarming {
  /// One day of answers, then its end; answers the events of that midnight.
  fileprivate mutating func live(_ day: Int, _ answers: [Answers], _ policy: WarmingPolicy = policy) -> [WarmingEvent] {
    for part in answers {
      for (outcome, count) in [
        (Outcome.delivered, part.delivered), (.bounced, part.bounced), (.deferred, part.deferred), (.volumePressure, part.pressure),
      ] {
        for _ in 0..<count { note(outcome, provider: part.provider, now: at(day: day)) }
      }
    }
    return roll(now: at(day: day + 1, 0), policy: policy)
  }

  fileprivate static func on(_ day: Int, _ policy: WarmingPolicy = policy) -> IPWarming {
    var warming = IPWarming(now: at(day: 0), policy: policy)
    warming.set(day: day, now: at(day: 0), policy: policy)
    return warming
  }
}

@Suite struct WarmingScheduleTests {
  @Test(arguments: [
    (1, 50), (2, 100), (3, 200), (4, 200), (5, 700), (6, 700), (7, 1500), (9, 1500), (10, 3000), (14, 7500), (18, 15_000),
    (21, 20_000), (24, 20_000), (25, 30_000), (29, 30_000), (30, nil), (31, nil),
  ])
  func builtIn(day: Int, cap: Int?) { #expect(policy.cap(day: day) == cap) }

  @Test(
    arguments: [
      ([1: 10, 4: 40], 3, 10), ([1: 10, 4: 40], 29, 40), ([1: 10, 4: 40], 30, nil), ([5: 500], 1, 500), ([1: 10, 40: 90], 30, 10),
      ([1: 10, 40: 90], 40, 90), ([1: 10, 40: 90], 41, nil), ([:], 5, 700), ([0: 1, 2: -5], 1, 50),
    ] as [([Int: Int], Int, Int?)])
  func configured(schedule: [Int: Int], day: Int, cap: Int?) {
    #expect(WarmingPolicy(schedule: schedule).cap(day: day) == cap)
  }
}

@Suite struct WarmingJudgementTests {
  /// (delivered, bounced, deferred, judgement) at a cap of 1,000. Every limit is strict.
  @Test(arguments: [
    (1000, 80, 0, WarmingPolicy.Judgement.decelerate), (1000, 81, 0, .halt), (1000, 0, 250, .decelerate), (1000, 0, 251, .halt),
    (1000, 30, 0, .normal), (1000, 31, 0, .decelerate), (1000, 0, 100, .normal), (1000, 0, 101, .decelerate),
    (1000, 10, 0, .normal), (1000, 9, 0, .accelerate), (1000, 0, 50, .normal), (1000, 0, 49, .accelerate),
    (800, 0, 0, .accelerate), (799, 0, 0, .normal), (100, 0, 0, .normal), (99, 0, 0, .unjudged), (90, 10, 0, .halt),
    (50, 49, 0, .unjudged), (0, 0, 100, .halt), (0, 100, 0, .halt), (0, 0, 0, .unjudged),
  ])
  func limits(delivered: Int, bounced: Int, deferred: Int, judgement: WarmingPolicy.Judgement) {
    #expect(policy.judge(.init(delivered: delivered, bounced: bounced, deferred: deferred), cap: 1000) == judgement)
  }

  /// (day, cap, answers) → (day, cap, phase) after midnight.
  @Test(arguments: [
    // Normal and accelerated.
    (10, Answers(delivered: 200), 11, 3000, IPWarming.Phase.ramp),
    (10, Answers(delivered: 2400), 15, 7500, .ramp),
    (1, Answers(delivered: 50), 2, 100, .ramp),
    (2, Answers(delivered: 100), 3, 200, .ramp),
    (21, Answers(delivered: 20_000), 31, 20_000, .graduated),
    // Decelerated: half the day, 70 % of the cap, not below 50.
    (10, Answers(delivered: 1000, bounced: 40), 5, 2100, .ramp),
    (1, Answers(delivered: 100, bounced: 4), 1, 50, .ramp),
    (5, Answers(delivered: 100, deferred: 20), 2, 490, .ramp),
    // Halted: nothing moves.
    (10, Answers(delivered: 100, bounced: 9), 10, 3000, .plateau),
    (29, Answers(delivered: 100, deferred: 26), 29, 30_000, .plateau),
    // Too small to judge: a day passes. Nothing answered: no day passes.
    (10, Answers(delivered: 5, bounced: 5), 11, 3000, .ramp),
    (10, Answers(), 10, 3000, .ramp),
    // Graduation wants less than 2 % bounces.
    (29, Answers(delivered: 1000, bounced: 19), 30, 30_000, .graduated),
    (29, Answers(delivered: 1000, bounced: 20), 30, 30_000, .ramp),
    (29, Answers(delivered: 30), 30, 30_000, .graduated),
  ])
  private func aDay(day: Int, answers: Answers, nextDay: Int, cap: Int, phase: IPWarming.Phase) {
    var warming = IPWarming.on(day)
    let events = warming.live(0, [answers])
    #expect(warming.day == nextDay)
    #expect(warming.phase == phase)
    if phase != .graduated { #expect(warming.cap == cap) }
    switch phase {
    case .graduated: #expect(events == [.complete(message: "warming complete after day \(nextDay)")])
    case .plateau:
      let text = "\(answers.bounced) bounces and \(answers.deferred) deferrals for \(answers.delivered) deliveries in a day"
      #expect(events == [.halted(message: "warming halted: \(text)")])
    default: #expect(events == [])
    }
  }

  @Test func decelerationNeverRaisesASmallCap() {
    let small = WarmingPolicy(schedule: [1: 10, 2: 20], minSample: 10)
    var warming = IPWarming.on(2, small)
    #expect(warming.live(0, [Answers(delivered: 100, bounced: 5)], small) == [])
    #expect(warming.cap == 14)
    #expect(warming.live(1, [Answers(delivered: 100, bounced: 5)], small) == [])
    #expect(warming.cap == 10)
  }

  @Test func aHaltEndsWithAGoodDayAndGrowsOnTheNext() {
    var warming = IPWarming.on(10)
    _ = warming.live(0, [Answers(delivered: 100, bounced: 9)])
    #expect(warming.live(1, [Answers(delivered: 2900)]) == [])
    #expect(warming.phase == .ramp && warming.day == 10 && warming.cap == 3000)
    _ = warming.live(2, [Answers(delivered: 1000)])
    #expect(warming.day == 11)
  }

  @Test func aHaltedSmallSenderGetsFreeBySeveralGoodDays() {
    var warming = IPWarming.on(1)
    _ = warming.live(0, [Answers(delivered: 50, deferred: 60)])
    #expect(warming.phase == .plateau)
    _ = warming.live(1, [Answers(delivered: 50)])
    #expect(warming.phase == .plateau)
    _ = warming.live(2, [Answers(delivered: 50)])
    #expect(warming.phase == .ramp && warming.day == 1)
  }

  @Test func aHaltedDayThirtyDoesNotGraduate() {
    var warming = IPWarming.on(29)
    _ = warming.live(0, [Answers(delivered: 100, bounced: 9)])
    _ = warming.live(1, [Answers(delivered: 100, bounced: 9)])
    #expect(warming.phase == .plateau && warming.day == 29)
    #expect(warming.live(2, [Answers(delivered: 1000)]) == [])
    #expect(warming.live(3, [Answers(delivered: 1000)]) == [.complete(message: "warming complete after day 30")])
  }

  @Test func failedConnectionsAreNoAnswers() {
    var warming = IPWarming.on(10)
    for _ in 0..<500 { warming.note(.connectionFailed, provider: "gmail", now: at(day: 0)) }
    #expect(warming.today.total.answers == 0)
    _ = warming.live(0, [Answers(delivered: 2400)])
    #expect(warming.day == 15)
  }

  @Test func aDayIsJudgedOnceAndOnlyWhenItIsOver() {
    var warming = IPWarming.on(10)
    for _ in 0..<2400 { warming.note(.delivered, provider: "gmail", now: at(day: 0)) }
    for hours in Milliseconds(9)..<24 {
      #expect(warming.roll(now: at(day: 0, hours * hour), policy: policy) == [])
      #expect(warming.day == 10)
    }
    for hours in Milliseconds(0)..<24 {
      _ = warming.roll(now: at(day: 1, hours * hour), policy: policy)
      #expect(warming.day == 15)
    }
  }

  @Test func answersAfterMidnightBelongToTheNewDayEvenBeforeTheOldOneIsJudged() {
    var warming = IPWarming.on(10)
    for _ in 0..<2400 { warming.note(.delivered, provider: "gmail", now: at(day: 0, 24 * hour - 1)) }
    for _ in 0..<500 { warming.note(.bounced, provider: "gmail", now: at(day: 1, 0)) }
    #expect(warming.today.total == .init(bounced: 500))
    #expect(warming.roll(now: at(day: 1, 1), policy: policy) == [])
    #expect(warming.day == 15 && warming.phase == .ramp)
    #expect(warming.roll(now: at(day: 2, 1), policy: policy).count == 1)
    #expect(warming.phase == .plateau)
  }

  @Test func daysAsleepAreNoDays() {
    var warming = IPWarming.on(10)
    for _ in 0..<200 { warming.note(.delivered, provider: "gmail", now: at(day: 0)) }
    _ = warming.roll(now: at(day: 9), policy: policy)
    #expect(warming.day == 11)
  }

  @Test func aClockThatStepsBackOrWasWrongJudgesNothing() {
    var warming = IPWarming.on(10)
    warming.note(.delivered, provider: "gmail", now: at(day: 0))
    #expect(warming.roll(now: at(day: -1), policy: policy) == [])
    warming.note(.delivered, provider: "gmail", now: at(day: -1))
    #expect(warming.today.total.delivered == 2)
    warming.note(.delivered, provider: "gmail", now: at(day: 4000))
    _ = warming.roll(now: at(day: 1), policy: policy)
    #expect(warming.today.date == UTCDay.number(at(day: 1)))
    _ = warming.live(1, [Answers(delivered: 2400)])
    #expect(warming.day == 15)
  }
}

@Suite struct WarmingProviderTests {
  /// One day's answers → multiplier.
  @Test(arguments: [
    (Answers(delivered: 1000, bounced: 30), 1.0), (Answers(delivered: 1000, bounced: 31), 0.5),
    (Answers(delivered: 1000, deferred: 100), 1.0), (Answers(delivered: 1000, deferred: 101), 0.5),
    (Answers(delivered: 1000, pressure: 2), 1.0), (Answers(delivered: 1000, pressure: 3), 0.5),
    (Answers(delivered: 46, pressure: 3), 1.0), (Answers(delivered: 47, pressure: 3), 0.5), (Answers(delivered: 0, pressure: 50), 0.5),
  ])
  private func tightens(answers: Answers, multiplier: Double) {
    var warming = IPWarming.on(10)
    _ = warming.live(0, [answers])
    #expect(warming.multiplier("gmail") == multiplier)
    #expect(warming.multiplier("yahoo") == 1)
  }

  @Test func threeCleanDaysWidenByATenth() {
    var warming = IPWarming.on(10)
    var now = 0
    func live(_ answers: Answers, expecting multiplier: Double, _ line: Int = #line) {
      _ = warming.live(now, [answers])
      now += 1
      #expect(warming.multiplier("gmail") == multiplier, "line \(line)")
    }
    let clean = Answers(delivered: 100)
    live(Answers(delivered: 100, pressure: 3), expecting: 0.5)
    for expected in [0.5, 0.5, 0.6, 0.6, 0.6, 0.7] { live(clean, expecting: expected) }
    // Between clean and bad: the count starts anew. Too few answers: neither.
    live(clean, expecting: 0.7)
    live(clean, expecting: 0.7)
    live(Answers(delivered: 100, pressure: 1), expecting: 0.7)
    live(clean, expecting: 0.7)
    live(Answers(delivered: 49), expecting: 0.7)
    live(clean, expecting: 0.7)
    live(clean, expecting: 0.8)
    for expected in [0.4, 0.2, 0.1, 0.05, 0.05] { live(Answers(delivered: 100, pressure: 3), expecting: expected) }
  }

  @Test func itNeverWidensBeyondTheWhole() {
    var warming = IPWarming.on(1, WarmingPolicy(schedule: [200: 5000]))
    for day in 0..<9 { _ = warming.live(day, [Answers(delivered: 100)], WarmingPolicy(schedule: [200: 5000])) }
    #expect(warming.multiplier("gmail") == 1)
  }

  @Test func capsByProvider() {
    var warming = IPWarming.on(10)
    _ = warming.live(0, [Answers(delivered: 500, pressure: 3, provider: "yahoo"), Answers(delivered: 500)])
    #expect(warming.caps(now: at(day: 1), policy: policy).providers == ["yahoo": 1500])
    var tiny = IPWarming(now: at(day: 0), policy: WarmingPolicy(schedule: [1: 3]))
    _ = tiny.live(0, [Answers(delivered: 500, pressure: 3, provider: "yahoo")], WarmingPolicy(schedule: [1: 3], minSample: 10_000))
    _ = tiny.live(1, [Answers(delivered: 500, pressure: 3, provider: "yahoo")], WarmingPolicy(schedule: [1: 3], minSample: 10_000))
    #expect(tiny.caps(now: at(day: 2), policy: policy).providers == ["yahoo": 1])
  }

  @Test func namesThatTheTextCannotHoldCountAsOther() {
    var warming = IPWarming.on(10)
    warming.note(.delivered, provider: "a b", now: at(day: 0))
    #expect(warming.today.providers.keys.sorted() == ["other"])
  }
}

@Suite struct WarmingPacingTests {
  /// (day of warming, time of day in hours, campaign allowance)
  @Test(arguments: [
    (1, 0.0, 50), (1, 23.0, 50), (2, 0.0, 100), (3, 0.0, 100), (3, 24.0 - 1.0 / 3600, 160), (10, 0.0, 240), (10, 12.0, 1320),
    (10, 24.0 - 1.0 / 3600, 2400), (25, 6.0, 7800),
  ])
  func allowance(day: Int, hours: Double, campaign: Int) {
    let caps = IPWarming.on(day).caps(now: at(day: 0, Milliseconds(hours * 3_600_000)), policy: policy)
    #expect(caps.campaign == campaign)
  }

  @Test(arguments: [(0.0, 3000), (0.2, 2400), (0.333, 2001), (0.999, 100), (1.0, 100)])
  func theReserve(share: Double, ceiling: Int) {
    let reserving = WarmingPolicy(reserveTransactional: share)
    #expect(IPWarming.on(10).caps(now: at(day: 0), policy: reserving).campaignCeiling == ceiling)
  }

  @Test func theFirstTenMinutesCannotDrainTheCap() {
    let caps = IPWarming.on(25).caps(now: at(day: 0, 600_000), policy: policy)
    #expect((caps.campaign ?? .max) * 8 < 24_000)
  }

  /// What the curve says opens at a time is open then, and not a millisecond before.
  @Test(arguments: [3, 5, 10, 14, 25])
  func theCurveAndItsInverseAgree(day: Int) throws {
    let warming = IPWarming.on(day)
    let morning = warming.caps(now: at(day: 0, 0), policy: policy)
    let ceiling = try #require(morning.campaignCeiling)
    for used in stride(from: try #require(morning.campaign), to: ceiling, by: 7) {
      let opens = morning.campaignReaches(used: used)
      #expect(try #require(warming.caps(now: opens, policy: policy).campaign) > used)
      #expect(try #require(warming.caps(now: opens - 1, policy: policy).campaign) <= used)
    }
    #expect(morning.campaignReaches(used: ceiling) == at(day: 1, 0))
  }

  /// (campaign sent, time of day) → wait in seconds, 60 to 900.
  @Test(arguments: [
    (0, 0, 0), (239, 0, 0), (240, 0, 60), (246, 0, 240), (2399, 0, 900), (2400, 86_400 - 30, 60), (2400, 86_400 - 700, 700),
  ])
  func lookAgain(used: Int, second: Int, wait: Int) {
    let now = at(day: 0, Milliseconds(second) * 1000)
    let at = IPWarming.on(10).caps(now: now, policy: policy).campaignOpensAt(used: used)
    #expect(((at - now) + 500) / 1000 == Milliseconds(wait))
  }

  @Test func whoeverIsWarmedHasNoLimit() {
    var graduated = IPWarming.on(10)
    graduated.graduate()
    for warming in [IPWarming(now: at(day: 0), policy: policy, isExempt: true), graduated, IPWarming.on(30)] {
      let caps = warming.caps(now: at(day: 0), policy: policy)
      #expect(caps.ip == nil && caps.campaign == nil && caps.providers.isEmpty)
      #expect(caps.campaignOpensAt(used: 1_000_000) == at(day: 0))
      #expect(!warming.isLimited)
    }
  }
}

@Suite struct WarmingOrderTests {
  @Test func probationOfARampingIPFreezesIt() {
    var warming = IPWarming.on(10)
    warming.beginProbation(now: at(day: 0), policy: policy)
    for (day, cap) in [300, 900, 1800].enumerated() {
      #expect(warming.caps(now: at(day: day), policy: policy).ip == cap)
      let events = warming.live(day, [Answers(delivered: cap)])
      #expect(events == (day == 2 ? [.probationOver] : []))
    }
    #expect(warming.probation == nil)
    #expect(warming.day == 10 && warming.phase == .ramp)
    #expect(warming.caps(now: at(day: 3), policy: policy).ip == 3000)
  }

  @Test(arguments: [true, false])
  func probationOfAWarmedIPIsOfItsMeanDay(isExempt: Bool) {
    var warming = IPWarming(now: at(day: 0), policy: policy, isExempt: isExempt)
    if !isExempt { warming.graduate() }
    for (day, delivered) in [9999, 1000, 2000, 3000, 4000, 0, 5000, 6000, 7000].enumerated() {
      #expect(warming.live(day, [Answers(delivered: delivered)]) == [])
    }
    #expect(warming.lastDays == [1000, 2000, 3000, 4000, 5000, 6000, 7000])
    warming.beginProbation(now: at(day: 9), policy: policy)
    #expect(warming.caps(now: at(day: 9), policy: policy).ip == 400)
    #expect(warming.caps(now: at(day: 9), policy: policy).campaignCeiling == 320)
    for day in 9..<12 { _ = warming.live(day, [Answers(delivered: 10)]) }
    #expect(warming.caps(now: at(day: 12), policy: policy).ip == nil)
    #expect(warming.lastDays.last == 7000)
    #expect(warming.phase == (isExempt ? .exempt : .graduated))
  }

  @Test func probationOfAWarmedIPThatNeverSentIsOfTheFirstDay() {
    var warming = IPWarming(now: at(day: 0), policy: policy, isExempt: true)
    warming.beginProbation(now: at(day: 0), policy: policy)
    #expect(warming.caps(now: at(day: 0), policy: policy).ip == 5)
  }

  @Test func aBadDayOfProbationIsRepeated() {
    var warming = IPWarming.on(14)
    warming.beginProbation(now: at(day: 0), policy: policy)
    _ = warming.live(0, [Answers(delivered: 100)])
    #expect(warming.live(1, [Answers(delivered: 100, bounced: 4)]) == [])
    #expect(warming.probation?.day == 2)
    #expect(warming.live(2, [Answers(delivered: 100, bounced: 9)]).count == 1)
    #expect(warming.probation?.day == 2 && warming.phase == .ramp)
    _ = warming.live(3, [Answers(delivered: 100)])
    #expect(warming.probation?.day == 3)
  }

  @Test func probationPassesWithoutMailAndWithoutALook() {
    var warming = IPWarming.on(14)
    warming.beginProbation(now: at(day: 0), policy: policy)
    _ = warming.roll(now: at(day: 1), policy: policy)
    #expect(warming.probation?.day == 2)
    #expect(warming.roll(now: at(day: 7), policy: policy) == [.probationOver])
  }

  @Test func probationBegunAgainKeepsItsBase() {
    var warming = IPWarming.on(10)
    warming.beginProbation(now: at(day: 0), policy: policy)
    _ = warming.live(0, [Answers(delivered: 300)])
    warming.beginProbation(now: at(day: 1), policy: policy)
    #expect(warming.caps(now: at(day: 1), policy: policy).ip == 300)
  }

  @Test func setAndResetForgetTheDayBefore() {
    var warming = IPWarming.on(10)
    _ = warming.live(0, [Answers(delivered: 100, bounced: 9, pressure: 3)])
    #expect(warming.phase == .plateau)
    warming.note(.bounced, provider: "gmail", now: at(day: 1))
    warming.set(day: 21, now: at(day: 1), policy: policy)
    #expect(warming.phase == .ramp && warming.cap == 20_000 && warming.today.total.answers == 0)
    #expect(warming.multiplier("gmail") == 0.5)
    warming.set(day: 30, now: at(day: 1), policy: policy)
    #expect(warming.phase == .graduated)
    warming.reset(now: at(day: 1), policy: policy)
    #expect(warming == IPWarming(now: at(day: 1), policy: policy))
  }

  @Test func exemptionIsLaidOverAndTakenOff() {
    var warming = IPWarming.on(10)
    warming.setExempt(true, policy: policy)
    #expect(warming.caps(now: at(day: 0), policy: policy).ip == nil)
    _ = warming.live(0, [Answers(delivered: 100, bounced: 50)])
    #expect(warming.phase == .exempt)
    warming.setExempt(false, policy: policy)
    #expect(warming.phase == .ramp && warming.day == 10)
  }
}

@Suite struct WarmingTextTests {
  private var lived: IPWarming {
    var warming = IPWarming.on(14)
    _ = warming.live(0, [Answers(delivered: 100, pressure: 3), Answers(delivered: 60, bounced: 1, provider: "yahoo")])
    _ = warming.live(1, [Answers(delivered: 100, bounced: 20)])
    _ = warming.live(2, [Answers(delivered: 60)])
    warming.note(.delivered, provider: "apple", now: at(day: 3))
    warming.note(.volumePressure, provider: "gmail", now: at(day: 4))
    return warming
  }

  @Test func everyStateComesBack() throws {
    var probation = lived
    probation.beginProbation(now: at(day: 5), policy: policy)
    for warming in [lived, probation, IPWarming(now: 0, policy: policy), IPWarming(now: at(day: 0), policy: policy, isExempt: true)] {
      #expect(try #require(IPWarming(text: warming.text)) == warming)
    }
    #expect(IPWarming(now: first, policy: policy).text == "w1 ramp 1 50 1795478400000 0 0 0 0 0 0 0 0 1 20781 0")
  }

  @Test func whatIsCutOrOddIsRefused() {
    let text = lived.text
    let words = text.split(separator: " ")
    for count in 0..<words.count { #expect(IPWarming(text: words.prefix(count).joined(separator: " ")) == nil) }
    for wrong in ["", text + " 1", "w2" + text.dropFirst(2), text.replacing("plateau", with: "flat"), text.replacing("100", with: "-1")] {
      #expect(IPWarming(text: wrong) == nil, "\(wrong)")
    }
  }
}

@Suite struct WarmingHandoverTests {
  private func taken(_ handover: WarmingHandover, _ policy: WarmingPolicy = policy) -> IPWarming {
    var warming = IPWarming(now: at(day: 0), policy: policy)
    warming.takeOver(handover, now: at(day: 0), policy: policy)
    return warming
  }

  @Test func anIPGoesOnWhereItWas() {
    let ramping = taken(WarmingHandover(day: 12, multipliers: ["gmail": 250, "yahoo": 1000, "no token": 5, "apple": 1]))
    #expect(ramping.phase == .ramp && ramping.day == 12 && ramping.cap == 3000)
    #expect(ramping.multiplier("gmail") == 0.25 && ramping.multiplier("yahoo") == 1 && ramping.multiplier("apple") == 0.05)
    #expect(IPWarming(text: ramping.text) == ramping)
    // Slowed down there: below the schedule.
    #expect(taken(WarmingHandover(day: 10, cap: 1400)).cap == 1400)
    // Halted beyond the schedule's end: neither graduated nor about to be.
    let halted = taken(WarmingHandover(day: 30, cap: 15_000, isHalted: true))
    #expect(halted.phase == .plateau && halted.day == 29 && halted.cap == 15_000)
    #expect(taken(WarmingHandover(day: 30, isGraduated: true)).phase == .graduated)
    #expect(taken(WarmingHandover(day: 3, cap: 0)).cap == 1)
  }

  /// A first day that is no other than ours is not brought over.
  @Test func whatHasBegun() {
    for handover in [WarmingHandover(day: 1), WarmingHandover(day: 1, cap: 50, multipliers: ["gmail": 1000], sentToday: 7)] {
      #expect(!handover.hasBegun(policy), "\(handover)")
    }
    for handover in [
      WarmingHandover(day: 2), WarmingHandover(day: 1, isHalted: true), WarmingHandover(day: 1, cap: 70),
      WarmingHandover(day: 30, isGraduated: true),
      WarmingHandover(day: 1, multipliers: ["gmail": 500]),
    ] { #expect(handover.hasBegun(policy), "\(handover)") }
  }

  @Test func aLongScheduleIsNoWayBack() {
    let long = WarmingPolicy(schedule: [1: 1000, 45: 100_000])
    #expect(taken(WarmingHandover(day: 30, isGraduated: true), long).phase == .graduated)
    let ramping = taken(WarmingHandover(day: 40), long)
    #expect(ramping.phase == .ramp && ramping.day == 40)
  }
}
