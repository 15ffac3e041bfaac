import ArgumentParser
import Foundation
import Glibc

/// Measures ``DispatchCost`` in the build at hand; for developers, named in no help.
struct DispatchCostCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dispatch-cost", abstract: "Measure the processor time of a dispatch decision.",
    discussion: "A queue in memory, the dispatcher's own index: no supervisor and no Redis is needed. Measure a release build.",
    shouldDisplay: false)

  @Option var groups = 50_000
  @Option var organisations = 200
  @Option var ips = 64
  @Option(help: "Pools that share the IPs evenly; 1 = every IP serves every group.") var pools = 8
  @Option var messages = 200_000
  @Option var seed: UInt64 = 1

  func validate() throws {
    guard groups > 0, organisations > 0, (1...250).contains(ips), (1...ips).contains(pools), messages > 0 else {
      throw ValidationError("--groups, --organisations, --ips (at most 250), --pools (at most as many as IPs) and --messages are 1 or more")
    }
  }

  func run() throws {
    var cost = DispatchCost(
      .init(groups: groups, organisations: organisations, ips: ips, pools: pools, messages: messages, seed: seed),
      cpu: { Double(clock()) / 1e6 })
    let result = cost.run()
    let decision = result.deciding * 1e6 / Double(result.messages)
    print(
      """
      \(groups) groups, \(organisations) organisations, \(ips) IPs in \(pools) pools, \(result.lanes) lanes
      \(result.messages) messages in \(result.picks) picks, \(Self.number(Double(result.visits) / Double(result.picks))) entries visited a pick
      \(Self.number(decision)) µs CPU a message, \(Self.number(result.deciding * 1e6 / Double(result.picks))) µs a pick; filled in \(Self.number(result.filling)) s
      longest turn \(Self.number(result.longest * 1e3)) ms CPU, \(Self.peakMemory() >> 10) MB at most
      """)
  }

  /// Kilobytes.
  private static func peakMemory() -> Int {
    var usage = rusage()
    return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss : 0
  }

  private static func number(_ value: Double) -> String { String(format: "%.2f", value) }
}
