import Foundation
import TestSupport
import Testing

/// Each part killed, stopped and cut off at each place of a message's way. `make crash-matrix` runs every cell; the ordinary
/// run a seeded sample.
@Suite(.serialized) struct CrashMatrixTests {
  static let environment = ProcessInfo.processInfo.environment

  /// `OWLAT_CRASH_CELLS`: `all`, `3/8` (every eighth from the third on), or words that a cell's name contains; else so many at random.
  static func cells() -> [(number: Int, cell: CrashCell)] {
    let all = Array(CrashCell.all.enumerated()).map { (number: $0.offset, cell: $0.element) }
    guard let text = environment["OWLAT_CRASH_CELLS"], text != "" else {
      var dice = Dice(seed: UInt64(environment["OWLAT_SEED"] ?? "") ?? 7)
      return Array(all.shuffled(using: &dice).prefix(8))
    }
    if text == "all" { return all }
    let parts = text.split(separator: "/").compactMap { Int($0) }
    if parts.count == 2, parts[1] > 0 { return all.filter { $0.number % parts[1] == parts[0] % parts[1] } }
    return all.filter { $0.cell.description.contains(text) }
  }

  /// Accepted, and the answer lost with a connection that is back within moments: nobody else tells the dispatcher of it.
  @Test func aLostAnswerLeavesNoMessageBehind() async throws {
    let rig = try await CrashRig(ips: 1, domains: 3, replyAfter: 0)
    for index in 0..<3 {
      rig.link.loseAnswer(to: "_accept")
      try await rig.post([CrashRig.Mail(id: "alone\(index)", to: "u@\(Zones.domain(index))")], parallel: 1)
      #expect(!rig.link.isArmed)
      try await eventually("it leaves") {
        rig.readEvents()
        return rig.sent.contains("alone\(index)")
      }
    }
    #expect(rig.dots.count == 3)
    await rig.end()
  }

  /// A rig serves so many cells: workers that die too often are taken for a crash loop.
  private static let cellsPerRig = 10

  @Test func nothingIsLostOrTwiceInAnyCell() async throws {
    let cells = Self.cells()
    #expect(!cells.isEmpty)
    var rig: CrashRig?
    var total = (cells: 0, messages: 0, uncertain: 0)
    print("cell | messages | uncertain: unseen, without reply, with reply | s")
    for (index, (number, cell)) in cells.enumerated() {
      if index % Self.cellsPerRig == 0 {
        await rig?.end()
        rig = try await CrashRig(ips: 3, domains: Self.cellsPerRig * CrashRig.domainsPerCell, replyAfter: 20)
      }
      guard let rig else { return }
      let began = ContinuousClock.now
      let report = try await rig.run(cell, number: number)
      #expect(report != nil, "\(cell): the place was not reached")
      guard let report else { continue }
      report.expectExact("\(cell)")
      let mayBeUncertain = cell.strike.mayLeaveUncertain || cell.place.prelude == .workerKill
      #expect(mayBeUncertain || report.uncertain == 0, "\(cell): \(report.explanations)")
      total = (total.cells + 1, total.messages + report.messages, total.uncertain + report.uncertain)
      print(
        "\(report.isExact ? "" : "FAULT ")\(number) \(cell) | \(report.messages) | \(report.uncertainUnseen), \(report.uncertainUnreplied), \(report.uncertainReplied) | \(ContinuousClock.now - began)"
      )
      if !report.isExact { _ = rig.mta.describe(report.lost.first ?? "-") }
    }
    await rig?.end()
    print("\(total.cells) cells, \(total.messages) messages, \(total.uncertain) uncertain")
  }
}
