import Testing

@testable import supervisor

/// How an endpoint's answers change what it is sent.
@Suite struct WebhookPaceTests {
  @Test func growsWhileAllGoesWellAndHalvesWhenItDoesNot() {
    var pace = WebhookPace()
    for _ in 0..<30 { pace.note(taken: 50, spent: 100, wasTooMany: false, wasDown: false) }
    #expect(pace.parallel == WebhookPace.mostParallel && pace.rate == nil && pace.window(most: 0) == 256)
    pace.note(taken: 0, spent: 100, wasTooMany: false, wasDown: true)
    #expect(pace.parallel == WebhookPace.mostParallel / 2 && pace.rate == nil)
    for _ in 0..<10 { pace.note(taken: 0, spent: 100, wasTooMany: false, wasDown: true) }
    #expect(pace.parallel == 1)
  }

  @Test func anEndpointThatWantsLessGetsLess() {
    var pace = WebhookPace()
    // 100 taken in a second: half of that from now on.
    pace.note(taken: 100, spent: 1000, wasTooMany: true, wasDown: true)
    #expect(pace.rate == 50 && pace.window(most: 0) == 100)
    #expect(pace.least(100, most: 0) == 2000)
    // The operator's limit counts when it is lower.
    #expect(pace.least(100, most: 10) == 10_000 && pace.least(100, most: 200) == 2000)
    pace.note(taken: 100, spent: 2000, wasTooMany: false, wasDown: false)
    #expect(pace.rate.map { abs($0 - 55) < 0.01 } == true)
    for _ in 0..<20 { pace.note(taken: 0, spent: 1000, wasTooMany: true, wasDown: true) }
    #expect(pace.rate == WebhookPace.leastRate && pace.window(most: 0) == 2)
  }

  @Test func goodDaysLiftTheRate() {
    var pace = WebhookPace()
    pace.note(taken: 100, spent: 1000, wasTooMany: true, wasDown: true)
    for _ in 0..<2000 { pace.note(taken: 1, spent: 10, wasTooMany: false, wasDown: false) }
    #expect(pace.rate == nil && pace.window(most: 0) == 256 && pace.window(most: 50) == 100)
  }

  @Test func withoutARefusalOnlyTheOperatorLimits() {
    #expect(WebhookPace().least(100, most: 0) == 0)
    #expect(WebhookPace().least(100, most: 50) == 2000)
  }

  @Test func theBarFillsAndNeverOverflows() {
    #expect(ProgressBar(total: 10).line(0) == "[" + String(repeating: " ", count: 30) + "] 0 of 10")
    #expect(ProgressBar(total: 10).line(5).hasPrefix("[" + String(repeating: "#", count: 15) + " "))
    #expect(ProgressBar(total: 10).line(12).hasPrefix("[" + String(repeating: "#", count: 30) + "]"))
    #expect(ProgressBar(total: 0).line(0).hasSuffix("0 of 0"))
  }
}
