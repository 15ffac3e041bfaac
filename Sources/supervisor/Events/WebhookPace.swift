import MailModel

/// How fast an endpoint is fed: as many requests at once as it takes well, and after it said 429 no more a second than it took
/// before that. Grows by little while all goes well, falls by half when it does not.
struct WebhookPace: Equatable {
  static let mostParallel = 16
  /// Events a second under which no refusal drives it.
  static let leastRate = 1.0
  /// A rate that has grown so far limits nothing any more.
  static let noLimit = 10_000.0

  private(set) var parallel = 4
  /// Events a second; nil while the endpoint has not asked for less.
  private(set) var rate: Double?

  /// A window of requests that ended.
  /// - Parameters:
  ///   - taken: events that the endpoint took, in `spent` ms.
  ///   - wasTooMany: it answered 429.
  ///   - wasDown: it did not answer, or answered 408, 429 or 5xx.
  mutating func note(taken: Int, spent: Milliseconds, wasTooMany: Bool, wasDown: Bool) {
    if wasTooMany {
      let measured = Double(taken) * 1000 / Double(max(spent, 1))
      rate = max(Self.leastRate, min(rate ?? .infinity, measured) / 2)
    } else if !wasDown, let before = rate {
      let next = before * 1.1
      rate = next > Self.noLimit ? nil : next
    }
    if wasDown { parallel = max(1, parallel / 2) } else if taken > 0 { parallel = min(Self.mostParallel, parallel + 1) }
  }

  /// How long a window of so many events must take at least, ms.
  /// - Parameter most: the operator's limit a second; 0 = none.
  func least(_ events: Int, most: Int) -> Milliseconds {
    let limit = min(rate ?? .infinity, most > 0 ? Double(most) : .infinity)
    return limit.isFinite ? Milliseconds(Double(events) * 1000 / limit) : 0
  }

  /// Events to take at once, so that a slow rate is not made of long bursts: at most two seconds' worth.
  /// - Parameter most: the operator's limit a second; 0 = none.
  func window(most: Int) -> Int {
    let limit = min(rate ?? .infinity, most > 0 ? Double(most) : .infinity)
    return max(1, Int(min(256, limit * 2)))
  }
}
