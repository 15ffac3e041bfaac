import Testing

@testable import supervisor

/// What all connections together may open leaves some for everything else.
struct ConnectionBudgetTests {
  @Test(arguments: [200, 1024, 4096, 65536, 1_048_576], [1, 10])
  func someAreLeft(openFiles: Int, ips: Int) {
    for (hasBounce, hasSubmission) in [(false, false), (true, false), (true, true)] {
      let budget = ConnectionBudget(openFiles: openFiles, ips: ips, hasBounce: hasBounce, hasSubmission: hasSubmission)
      let most = budget.api + 2 * (budget.bounce + budget.submission)
      #expect(most <= max(16, openFiles / 4 * 3 - 64 - 8 * ips), "\(budget)")
      #expect(budget.api >= 8 && (budget.bounce > 0) == hasBounce && (budget.submission > 0) == hasSubmission, "\(budget)")
    }
  }

  @Test func nobodyIsShortWithManyFiles() {
    let budget = ConnectionBudget(openFiles: 65536, ips: 8, hasBounce: true, hasSubmission: true)
    #expect(budget.bounce == 1000 && budget.submission == 200 && budget.api > 40_000)
  }
}
