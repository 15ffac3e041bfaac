extension IPWarming {
  private static let version = "w1"

  /// One line for storage: a version, then counted lists of words without spaces.
  ///
  /// `w1 phase day cap startedAt probationDay probationBase sinceHalt n (delivered)… n (provider multiplier streak)…`
  /// `n (date n (provider counts)…)…`; counts = delivered bounced deferred pressure; probation day 0 = none, multiplier in
  /// thousandths.
  package var text: String {
    var words = [Self.version, phase.rawValue, "\(day)", "\(cap)", "\(startedAt)", "\(probation?.day ?? 0)", "\(probation?.base ?? 0)"]
    words += sinceHalt.words + ["\(lastDays.count)"] + lastDays.map(String.init) + ["\(shares.count)"]
    for (provider, share) in shares.sorted(by: { $0.key < $1.key }) { words += [provider, "\(share.multiplier)", "\(share.streak)"] }
    words.append("\(open.count)")
    for day in open {
      words += ["\(day.date)", "\(day.providers.count)"]
      for (provider, counts) in day.providers.sorted(by: { $0.key < $1.key }) { words += [provider] + counts.words }
    }
    return words.joined(separator: " ")
  }

  /// Nil when the line is not what ``text`` writes.
  package init?(text: String) {
    guard var reader = StateReader(text, version: Self.version), let phase = reader.word().flatMap(Phase.init),
      let day = reader.integer(1...1_000_000), let cap = reader.integer(1...Self.most), let startedAt = reader.integer(0...Self.most),
      let probationDay = reader.integer(0...3), let base = reader.integer(0...Self.most), let sinceHalt = reader.counts(),
      let kept = reader.integer(0...7)
    else { return nil }
    self.phase = phase
    self.day = day
    self.cap = cap
    self.startedAt = Int64(startedAt)
    self.sinceHalt = sinceHalt
    probation = probationDay == 0 ? nil : Probation(day: probationDay, base: base)
    for _ in 0..<kept {
      guard let delivered = reader.integer(0...Self.most) else { return nil }
      lastDays.append(delivered)
    }
    guard let providers = reader.integer(0...1000) else { return nil }
    for _ in 0..<providers {
      guard let name = reader.word(), let multiplier = reader.integer(50...1000), let streak = reader.integer(0...2) else { return nil }
      shares[name] = Share(multiplier: multiplier, streak: streak)
    }
    open = []
    guard let days = reader.integer(1...1000) else { return nil }
    for _ in 0..<days {
      guard let day = reader.day(), day.date > (open.last?.date ?? -1) else { return nil }
      open.append(day)
    }
    guard reader.word() == nil else { return nil }
  }

  /// Keeps sums and products of counters far from overflow.
  fileprivate static let most = 1 << 46
}

extension StateReader {
  fileprivate mutating func integer(_ range: ClosedRange<Int>) -> Int? {
    guard let number = integer(Int.self), range.contains(number) else { return nil }
    return number
  }

  fileprivate mutating func counts() -> WarmingDay.Counts? {
    let range = 0...IPWarming.most
    guard let delivered = integer(range), let bounced = integer(range), let deferred = integer(range), let pressure = integer(0...deferred)
    else { return nil }
    return WarmingDay.Counts(delivered: delivered, bounced: bounced, deferred: deferred, pressure: pressure)
  }

  fileprivate mutating func day() -> WarmingDay? {
    guard let date = integer(0...1_000_000), let count = integer(0...1000) else { return nil }
    var day = WarmingDay(date: date)
    for _ in 0..<count {
      guard let name = word(), let counts = counts() else { return nil }
      day.providers[name] = counts
    }
    return day
  }
}

extension WarmingDay.Counts {
  fileprivate var words: [String] { ["\(delivered)", "\(bounced)", "\(deferred)", "\(pressure)"] }
}
