import ArgumentParser
import DeliveryPolicy
import Foundation
import MTAConfig
import MailModel
import Simulation

/// `simulate`: the policies of this program on virtual time, against modelled mailbox providers. Asks no supervisor.
struct SimulateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate", abstract: "What would leave each day, what would be deferred and why, and when it would be done.",
    discussion: """
      The same policy code as in production, on virtual time. The providers are a model: use the result to compare plans, not \
      as a promise. Equal options make equal results. With --config the schedule, provider profiles, breaker, retries and, \
      without --ips, the IPs come from that configuration.
      """)

  @Option(help: "Messages in all.") var messages = 1_000_000
  @Option(help: "Days to live through.") var days = 30
  @Option(help: "How many IPs, or a list: ADDRESS, ADDRESS=DAY or ADDRESS=warmed, with commas. Default: 4.") var ips: String?
  @Option(help: "Day of warming of IPs without their own.") var day = 1
  @Option(help: "Shares by provider, like gmail=40,microsoft=25,other=35.") var mix: String?
  @Option(help: "Domains over which provider other is spread.") var domains = 20
  @Option(help: "Recipients that do not exist: 0.005 or 0.5%.") var bounceRate = "0.5%"
  @Option(help: "Deliveries that are complained about: 0.0001 or 0.01%.") var complaintRate = "0.01%"
  @Option(help: "Transactional mail, evenly over all days: 0.1 or 10%. The rest is campaign mail.") var transactional = "10%"
  @Option(help: "When campaign mail is queued: at-once or daily.") var arrival = "at-once"
  @Option(help: "Organizations that send the campaign mail.") var organizations = 1
  @Option(help: "Another seed, another throw of the dice.") var seed: UInt64 = 1
  @Option(help: "Write a chart to this file.") var svg: String?
  @OptionGroup var common: CommonOptions

  func run() {
    withFaults {
      let plan = try plan()
      if let fault = plan.faults.first { throw Self.usage(fault) }
      let report = Simulation(plan).run()
      if let svg {
        do { try report.svg.write(toFile: svg, atomically: true, encoding: .utf8) } catch {
          throw CommandFault(code: 1, text: "\(svg) cannot be written")
        }
      }
      print(common.json ? report.json : report.table, terminator: common.json ? "\n" : "")
    }
  }

  private static func usage(_ text: String) -> CommandFault { CommandFault(code: 2, text: text) }

  private func plan() throws -> SimulationPlan {
    var plan = SimulationPlan()
    plan.messages = messages
    plan.days = days
    plan.otherDomains = domains
    plan.organisations = organizations
    plan.seed = seed
    plan.bounceRate = try Self.share(bounceRate, "--bounce-rate")
    plan.complaintRate = try Self.share(complaintRate, "--complaint-rate")
    plan.transactionalShare = try Self.share(transactional, "--transactional")
    guard let arrival = SimulationPlan.Arrival(rawValue: arrival) else {
      throw Self.usage("--arrival must be \(SimulationPlan.Arrival.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    plan.arrival = arrival
    if let mix { plan.mix = try Self.mix(mix) }
    guard (1...365).contains(day) else { throw Self.usage("--day must be 1 to 365") }
    if common.config != nil { try take(&plan) }
    if let ips { plan.ips = try addresses(ips) }
    if plan.ips.isEmpty { plan.ips = numbered(4) }
    return plan
  }

  /// What the configuration says.
  private func take(_ plan: inout SimulationPlan) throws {
    let report = common.report()
    guard let config = report.config else {
      throw CommandFault(code: 1, text: "\(common.configPath): \(report.problems.first?.description ?? "not readable")")
    }
    plan.warming = config.warming
    plan.providers = config.providers
    plan.breaker = config.breaker
    plan.retry = config.retry
    plan.maxAge = config.smtp.maxAge
    plan.ips = config.sourceIPs.map { .init(name: $0.address, start: $0.isWarmed ? .warmed : .day(day)) }
  }

  private func numbered(_ count: Int) -> [SimulationPlan.IP] { (1...count).map { .init(name: "ip\($0)", start: .day(day)) } }

  private func addresses(_ text: String) throws -> [SimulationPlan.IP] {
    if let count = Int(text) {
      guard (1...SimulationPlan.mostIPs).contains(count) else { throw Self.usage("--ips must be 1 to \(SimulationPlan.mostIPs)") }
      return numbered(count)
    }
    return try text.split(separator: ",").map { item in
      let parts = item.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      guard let address = parts.first.flatMap({ IPAddress.canonical($0) }) else { throw Self.usage("--ips: \(item) is no IP address") }
      guard parts.count == 2 else { return .init(name: address, start: .day(day)) }
      if parts[1] == "warmed" { return .init(name: address, start: .warmed) }
      guard let day = Int(parts[1]), (1...365).contains(day) else { throw Self.usage("--ips: \(parts[1]) is neither a day nor warmed") }
      return .init(name: address, start: .day(day))
    }
  }

  private static func mix(_ text: String) throws -> [SimulationPlan.Share] {
    try text.split(separator: ",").map { item in
      let parts = item.split(separator: "=").map { $0.trimmingCharacters(in: .whitespaces) }
      guard parts.count == 2, let provider = MailboxProvider(rawValue: parts[0]) else {
        throw usage("--mix: \(item) must be PROVIDER=SHARE with one of \(MailboxProvider.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      guard let share = Double(parts[1].replacing("%", with: "")), share >= 0, share.isFinite else {
        throw usage("--mix: \(parts[1]) is no share")
      }
      return .init(provider, share)
    }
  }

  /// `0.02` or `2%`.
  private static func share(_ text: String, _ name: String) throws -> Double {
    let isPercent = text.hasSuffix("%")
    guard let number = Double(isPercent ? String(text.dropLast()) : text), number.isFinite, (0...(isPercent ? 100 : 1)).contains(number)
    else {
      throw usage("\(name) must be 0 to 1, or 0% to 100%")
    }
    return isPercent ? number / 100 : number
  }
}
