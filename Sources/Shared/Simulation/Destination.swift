import MailModel

/// Where mail goes: one of the big providers as a whole, or one domain of `other`.
struct Destination {
  /// Place in the run's list of providers.
  let provider: Int
  let name: MailboxProvider
  /// Of all mail; shares add up to 1.
  let share: Double

  /// One lane for all its domains.
  var isShared: Bool { name != .other }

  static func all(_ plan: SimulationPlan) -> (providers: [MailboxProvider], destinations: [Destination]) {
    let used = plan.mix.filter { $0.share > 0 }
    let whole = used.reduce(0) { $0 + $1.share }
    var destinations: [Destination] = []
    for (index, part) in used.enumerated() {
      let count = part.provider == .other ? plan.otherDomains : 1
      for _ in 0..<count {
        destinations.append(Destination(provider: index, name: part.provider, share: part.share / whole / Double(count)))
      }
    }
    return (used.map(\.provider), destinations)
  }
}

extension [Destination] {
  /// `count` messages by shares; what rounding leaves goes to the first.
  func split(_ count: Int) -> [Int] {
    var parts = map { Int(Double(count) * $0.share) }
    if !parts.isEmpty { parts[0] += count - parts.reduce(0, +) }
    return parts
  }

  func pick(_ fraction: Double) -> Int {
    var rest = fraction
    for index in indices {
      rest -= self[index].share
      if rest < 0 { return index }
    }
    return count - 1
  }
}
