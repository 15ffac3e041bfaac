import DeliveryPolicy
import MailModel
import Simulation
import Testing

/// Thirty days of four new IPs and 20,000 messages.
private let month = Simulation(SimulationTests.plan([.day(1), .day(1), .day(1), .day(1)], messages: 20_000)).run()

/// Plans of several temper, each of thirty days.
enum Temper: CaseIterable {
  case newIPs, badList, complaints, dailyOfManySenders, ownSchedule

  var plan: SimulationPlan {
    switch self {
    case .newIPs: SimulationTests.plan([.day(1), .day(1)], messages: 20_000)
    case .badList: SimulationTests.plan([.day(5), .day(20)], messages: 60_000) { $0.bounceRate = 0.06 }
    case .complaints: SimulationTests.plan([.day(1), .warmed], messages: 30_000) { $0.complaintRate = 0.003 }
    case .dailyOfManySenders:
      SimulationTests.plan([.day(1), .day(1), .day(5)], messages: 60_000) {
        $0.arrival = .daily
        $0.organisations = 5
        $0.transactionalShare = 0.3
      }
    case .ownSchedule:
      SimulationTests.plan([.day(1)], messages: 5000) {
        $0.warming = WarmingPolicy(schedule: [1: 7, 3: 60, 9: 400], minSample: 20, reserveTransactional: 0.5)
      }
    }
  }
}

@Suite struct SimulationTests {
  static func plan(
    _ starts: [SimulationPlan.Start], messages: Int, days: Int = 30, _ change: (inout SimulationPlan) -> Void = { _ in }
  ) -> SimulationPlan {
    var plan = SimulationPlan()
    plan.ips = starts.enumerated().map { .init(name: "192.0.2.\($0.offset + 1)", start: $0.element) }
    plan.messages = messages
    plan.days = days
    change(&plan)
    return plan
  }

  @Test(arguments: Temper.allCases)
  func noCapIsEverExceeded(_ temper: Temper) {
    let plan = temper.plan
    let report = Simulation(plan).run()
    #expect(report.days.count == plan.days)
    var spentCaps = 0
    for day in report.days {
      for ip in day.ips {
        #expect(ip.cells.reduce(0) { $0 + $1.attempts } == ip.attempts)
        #expect(ip.counted <= ip.cap ?? .max, "day \(day.number)")
        #expect(ip.campaignAttempts <= ip.campaignCeiling ?? .max, "day \(day.number)")
        for cell in ip.cells { #expect(cell.counted <= cell.cap ?? .max, "day \(day.number)") }
        if ip.counted == ip.cap || ip.campaignAttempts == ip.campaignCeiling { spentCaps += 1 }
      }
    }
    // Caps that nobody reaches would prove nothing.
    #expect(spentCaps > 0)
  }

  @Test func pacingHoldsCampaignsAndNeverTransactionalMail() {
    let report = Simulation(
      SimulationTests.plan([.day(20), .day(20)], messages: 50_000, days: 3) { $0.transactionalShare = 0.02 }
    ).run()
    #expect(report.stops(.campaign, .pacing) > 0)
    #expect(report.stops(.transactional, .pacing) == 0)
    #expect(report.stops(.transactional, .warmingCap) == 0)
    #expect(
      report.longestWait[SimulationReport.Class.transactional.rawValue] < report.longestWait[SimulationReport.Class.campaign.rawValue])
  }

  @Test func everyMessageIsSomewhere() {
    var (arrived, ended) = (0, 0)
    for day in month.days {
      arrived += day.arrived
      ended += day.delivered + day.bounced + day.expired
      #expect(arrived == ended + day.left, "day \(day.number)")
      #expect(day.ips.reduce(0) { $0 + $1.delivered } == day.delivered)
      // What expires does so after one more deferral.
      #expect(day.ips.reduce(0) { $0 + $1.attempts } == day.delivered + day.bounced + day.deferred)
    }
    #expect(arrived == 20_000)
    #expect(month.delivered > 10_000)
  }

  @Test func theSameSeedMakesTheSameRun() {
    let plan = SimulationTests.plan([.day(1), .day(10)], messages: 10_000, days: 6)
    let (first, second) = (Simulation(plan).run(), Simulation(plan).run())
    #expect(first == second)
    #expect(first.table == second.table && first.json == second.json && first.svg == second.svg)
    var other = plan
    other.seed = 2
    #expect(Simulation(other).run().days != first.days)
  }

  @Test func theScheduleIsFollowedWhileNobodyObjects() {
    let caps = month.days.prefix(3).map { day in day.ips.map(\.cap) }
    #expect(caps == [[50, 50, 50, 50], [100, 100, 100, 100], [200, 200, 200, 200]])
    #expect(month.days.prefix(2).allSatisfy { $0.left > 0 && $0.ips.allSatisfy { $0.counted == $0.cap } })
    // What was deferred cost nothing: the cap went to what was sent.
    #expect(month.days.prefix(2).contains { $0.deferred > 0 && $0.ips.contains { $0.attempts > $0.cap ?? .max } })
    // From the third day on a fifth is kept for transactional mail.
    #expect(month.days[2].ips.allSatisfy { (140...160).contains($0.campaignAttempts) && $0.attempts > $0.campaignAttempts })
  }

  @Test func aBadListHaltsWarmingAndOpensTheBreaker() {
    let report = Simulation(SimulationTests.plan([.day(3)], messages: 20_000, days: 5) { $0.bounceRate = 0.2 }).run()
    #expect(report.events.contains { $0.kind == .warming(ip: 0) && $0.text.hasPrefix("warming halted") })
    #expect(report.events.contains { $0.kind == .breaker(organisation: 1) })
    #expect(report.stops(.campaign, .breaker) > 0)
    #expect(report.days.dropFirst().contains { $0.ips[0].phase == .plateau })
  }

  @Test func whatNewIPsCannotTakeGoesByTheWarmedOne() throws {
    let alone = Simulation(SimulationTests.plan([.day(1)], messages: 20_000, days: 4)).run()
    let helped = Simulation(SimulationTests.plan([.day(1), .warmed], messages: 20_000, days: 4)).run()
    #expect(alone.left > 15_000)
    #expect(helped.left < 500)
    #expect(helped.days[0].ips[1].attempts > 15_000)
    #expect(try #require(helped.clearedAt) < 4 * 86_400_000)
    #expect(alone.clearedAt == nil)
  }

  @Test func complaintsComeBackOnlyWhereThereIsALoop() {
    func breakers(_ provider: MailboxProvider) -> Int {
      let report = Simulation(
        SimulationTests.plan([.warmed], messages: 5000, days: 2) {
          $0.mix = [.init(provider, 1)]
          $0.complaintRate = 0.01
          $0.bounceRate = 0
        }
      ).run()
      return report.events.count
    }
    #expect(breakers(.yahoo) > 0)
    #expect(breakers(.gmail) == 0)
  }

  @Test func aProviderThatIsPushedLimitsAndIsGivenLess() {
    let report = Simulation(
      SimulationTests.plan([.day(1)], messages: 40_000, days: 2) {
        $0.mix = [.init(.gmail, 1)]
        $0.warming = WarmingPolicy(schedule: [1: 20_000])
      }
    ).run()
    let limited = SimulationReport.Cause.rateLimited.index
    #expect(report.days[0].deferrals[limited] > 100)
    #expect(report.days[1].ips[0].cells[0].cap == 10_000 || report.days[1].ips[0].phase == .plateau)
    #expect(report.days[1].delivered < 20_000)
  }

  @Test func greylistedMailComesThroughLater() {
    let report = Simulation(
      SimulationTests.plan([.day(20)], messages: 3000, days: 3) {
        $0.mix = [.init(.other, 1)]
        $0.otherDomains = 40
        $0.bounceRate = 0
      }
    ).run()
    #expect(report.days.reduce(0) { $0 + $1.deferrals[SimulationReport.Cause.greylisted.index] } > 0)
    #expect(report.delivered + report.left + report.expired == 3000)
    #expect(report.left < 30)
  }

  @Test(arguments: [
    SimulationTests.plan([], messages: 1), SimulationTests.plan([.day(1)], messages: 0),
    SimulationTests.plan([.day(1)], messages: 1, days: 0),
    SimulationTests.plan([.day(1)], messages: 1) { $0.mix = [.init(.gmail, 0)] },
    SimulationTests.plan([.day(1)], messages: 1) { $0.mix = [.init(.gmail, 1), .init(.gmail, 2)] },
    SimulationTests.plan([.day(1)], messages: 1) { $0.mix = [.init(.gmail, .nan)] },
    SimulationTests.plan([.day(1)], messages: 1) { $0.bounceRate = 1.1 },
    SimulationTests.plan([.day(1)], messages: 1) { $0.complaintRate = -1 },
    SimulationTests.plan([.day(1)], messages: 1) { $0.organisations = 0 },
    SimulationTests.plan([SimulationPlan.Start](repeating: .day(1), count: 65), messages: 1),
  ])
  func plansThatCannotBeLived(_ plan: SimulationPlan) { #expect(plan.faults.count == 1) }

  @Test func theEdgesOfAPlanAreLivedThrough() {
    for plan in [
      SimulationTests.plan([.day(1)], messages: 1, days: 1),
      SimulationTests.plan([.warmed], messages: 10, days: 1) { $0.transactionalShare = 1 },
      SimulationTests.plan([SimulationPlan.Start](repeating: .day(30), count: 64), messages: 100, days: 2),
      SimulationTests.plan([.day(1)], messages: 10, days: 2) { $0.bounceRate = 1 },
    ] {
      #expect(plan.faults == [])
      let report = Simulation(plan).run()
      #expect(report.days.reduce(0) { $0 + $1.arrived } == plan.messages)
    }
  }
}

@Suite struct SimulationTextTests {
  @Test func theTableHasADayALine() {
    let lines = month.table.split(separator: "\n")
    #expect(lines[0].hasPrefix("DAY  ARRIVED"))
    for day in month.days { #expect(lines[day.number].hasPrefix("\(day.number) ")) }
    #expect(month.table.contains(month.summary))
  }

  @Test func theChartHasABarForEachProviderThatTookMail() {
    var bars = 0
    for day in month.days {
      for provider in month.providers.indices where day.ips.contains(where: { $0.cells[provider].delivered > 0 }) { bars += 1 }
    }
    // One more for the ground, and one a provider in the legend.
    #expect(month.svg.split(separator: "<rect").count - 1 == bars + 1 + month.providers.count)
    #expect(month.svg.hasPrefix("<svg ") && month.svg.hasSuffix("</svg>\n"))
  }

  @Test func theDocumentEscapesNames() {
    var named = SimulationTests.plan([.day(1)], messages: 10, days: 1)
    named.ips[0].name = "a\"\\\n"
    #expect(Simulation(named).run().json.contains(#""ip":"a\"\\\n""#))
  }
}
