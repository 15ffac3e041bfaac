import MTAConfig
import MailModel
import Redis

/// Looks whether mail waits for IPs that are to go: such mail could never leave (DESIGN section 4.2: no message changes its
/// set). Waiting, due later, held, and in workers' hands all count.
struct VanishingSets {
  let before: [String: [String]]
  let after: [String: [String]]
  let store: QueueStore
  let dispatcher: Dispatcher
  let rules: PoolRules

  /// IPs that leave a pool.
  private var leaving: Set<String> {
    Set(before.flatMap { name, ips in ips.filter { !(after[name] ?? []).contains($0) } })
  }

  private func vanishes(_ text: String) -> Bool {
    guard let set = IPSet(text), set.addresses(pools: after).isEmpty else { return false }
    if case .pool(let name, _) = set, before[name] != nil, after[name] == nil { return true }
    return !set.addresses(pools: before).isEmpty
  }

  /// - Returns: one problem for each set that cannot go yet.
  func problems() async throws -> [ConfigProblem] {
    guard !leaving.isEmpty || before.keys.contains(where: { after[$0] == nil }) else { return [] }
    var counts: [String: Int] = [:]
    try await store.readDirectory { heads in
      for head in heads where vanishes(head.part.group.set) { counts[head.part.group.set, default: 0] += head.count }
    }
    try await QueueWalk(store: store).visit(MessageFilter(), in: [.waiting, .held]) { messages in
      note(messages, in: &counts)
      return 0
    }
    let out = await dispatcher.atWorkers(of: leaving)
    for start in stride(from: 0, to: out.count, by: 500) {
      note(try await store.peek(Array(out[start..<min(start + 500, out.count)])), in: &counts)
    }
    return counts.sorted { $0.key < $1.key }.map(problem) + (try await ruled())
  }

  private func note(_ messages: [QueuedMessage], in counts: inout [String: Int]) {
    for message in messages where vanishes(message.part.group.set) { counts[message.part.group.set, default: 0] += 1 }
  }

  private func problem(_ set: String, _ count: Int) -> ConfigProblem {
    let mail = count == 1 ? "1 message waits" : "\(count) messages wait"
    return switch IPSet(set) {
    case .pool(let name, let less) where less.isEmpty:
      ConfigProblem(key: "pools.\(name)", line: nil, text: "cannot go or be empty: \(mail) for it")
    case .pool(let name, let less):
      ConfigProblem(
        key: "pools.\(name)", line: nil,
        text: "cannot go without another: \(mail) for its IPs less \(less.sorted().joined(separator: ", "))")
    case .dedicated(let address): ConfigProblem(key: "pools", line: nil, text: "\(address) cannot go: \(mail) for it alone")
    case nil: ConfigProblem(key: "pools", line: nil, text: "\(mail) for \(set)")
    }
  }

  /// Rules by which new mail would go nowhere.
  private func ruled() async throws -> [ConfigProblem] {
    try await rules.all().compactMap { rule in
      let set = rule.dedicatedIp.map { IPSet.dedicated($0) } ?? rule.pool.map { IPSet.pool($0) }
      guard let set, vanishes(set.description) else { return nil }
      return ConfigProblem(
        key: "pools", line: nil,
        text: "\(rule.dedicatedIp ?? rule.pool ?? "") cannot go: a pool rule of organization \(rule.organizationId) names it")
    }
  }
}
