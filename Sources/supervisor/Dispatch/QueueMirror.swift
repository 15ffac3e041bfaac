import DeliveryPolicy
import MailModel
import Redis

/// Where a group's mail goes, as far as is known.
enum Destination: Sendable, Equatable {
  case resolving(since: Milliseconds)
  /// - only: the family of all its hosts' addresses; nil = it has both, or nobody said.
  case open(key: String, provider: MailboxProvider, only: AddressFamily? = nil)
  /// DNS could not be asked: looked at again then.
  case unknown(since: Milliseconds, until: Milliseconds, why: String)
  /// DNS said for good that nobody is there: its messages are being concluded.
  case closed(ConcludeReason)
}

/// What the queue holds, as far as its answers told: parts with their heads, groups with their destinations, and by (set,
/// lane key, organisation) the shelf of heads that a pick takes from. A cache of the directory: a stale row costs an empty
/// pick, never a message. `visits` counts the rows that were looked at.
struct QueueMirror {
  struct Part {
    var count: Int
    var score: Milliseconds
    var sequence: Int64
    /// Messages in picks whose answer is not back.
    var planned = 0
  }

  private struct GroupState {
    var destination: Destination
    var organisations: Set<String> = []
  }

  /// (set, lane key, organisation): what all IPs of a set share of one organisation's mail.
  private struct Shelf: Hashable {
    let set: String
    let key: String
    let organisation: String
    /// Of all three, made once.
    private let digest: Int

    init(set: String, key: String, organisation: String) {
      self.set = set
      self.key = key
      self.organisation = organisation
      digest = (set.hashValue &* 31 &+ key.hashValue) &* 31 &+ organisation.hashValue
    }

    static func == (a: Self, b: Self) -> Bool {
      a.digest == b.digest && a.organisation == b.organisation && a.key == b.key && a.set == b.set
    }

    func hash(into hasher: inout Hasher) { hasher.combine(digest) }
  }

  private struct Heads {
    var rows = BinaryHeap<Head>()
    /// The organisation waits in the lanes of all the set's IPs.
    var isSpread = false

    /// - Returns: ``isSpread``. Where there was nothing, nobody waits for sure.
    mutating func push(_ head: Head) -> Bool {
      if rows.isEmpty { isSpread = false }
      rows.push(head)
      return isSpread
    }
  }

  private struct Head: Comparable {
    let score: Milliseconds
    let part: GroupPart

    static func < (a: Self, b: Self) -> Bool {
      a.score != b.score ? a.score < b.score : a.part.group.domain < b.part.group.domain
    }
  }

  private var pools: [String: [String]]
  private var ipsOfSet: [String: [String]] = [:]
  private var setsOfIP: [String: [String]] = [:]
  /// Sets with IPs of both families: the set of those that reach a family's hosts.
  private var reaching: [String: [AddressFamily: String]] = [:]
  private(set) var parts: [GroupPart: Part] = [:]
  private var groups: [Group: GroupState] = [:]
  private var shelves: [Shelf: Heads] = [:]
  /// Parts that the call in the making has picked from.
  private var pickedNow: [Shelf: [GroupPart]] = [:]

  /// What an operator paused, by recipient domain and by pool.
  private(set) var pausedDomains: [String: Gate] = [:]
  private(set) var pausedPools: [String: Gate] = [:]
  /// Recipient domains that do not answer well.
  private(set) var domainGates: [String: Gate] = [:]
  /// Sets that one IP may not send for now: campaign mail of an IP that paces it.
  private(set) var closedSets: [String: [String: Gate]] = [:]
  private var groupsOfDomain: [String: Set<Group>] = [:]

  private(set) var visits = 0
  private(set) var messageCount = 0

  init(pools: [String: [String]]) { self.pools = pools }

  var groupCount: Int { groups.count }

  /// The part whose head leaves first. Walks all parts: for figures.
  var oldestPart: GroupPart? { parts.min { $0.value.score < $1.value.score }?.key }

  // MARK: sets

  func ips(of set: String) -> [String] {
    ipsOfSet[set] ?? IPSet(set)?.addresses(pools: pools) ?? []
  }

  /// IPs of any pool.
  var allIPs: Set<String> { Set(pools.values.joined()) }

  /// Other pools, or other IPs in them. Walks all groups: for an operator's order.
  /// - Returns: parts whose set has other IPs now, or IPs that came or left, to be shelved again.
  mutating func setPools(_ pools: [String: [String]]) -> [GroupPart] {
    let known = allIPs
    self.pools = pools
    let moved = known.symmetricDifference(allIPs)
    let before = ipsOfSet
    ipsOfSet = [:]
    setsOfIP = [:]
    reaching = [:]
    for set in before.keys { learn(set) }
    // A dedicated IP is its set's, in a pool or not: its lanes go and come all the same.
    let changed = Set(before.filter { ipsOfSet[$0.key] != $0.value || !moved.isDisjoint(with: $0.value) }.keys)
    for shelf in shelves.keys where changed.contains(shelf.set) { shelves[shelf]?.isSpread = false }
    return groups.keys.filter { changed.contains($0.set) }.flatMap(parts(of:))
  }

  /// A set is met the first time mail for it is: a pool less IPs may be any of many.
  private mutating func learn(_ set: String) {
    guard ipsOfSet[set] == nil else { return }
    let ips = ips(of: set)
    ipsOfSet[set] = ips
    for ip in ips { setsOfIP[ip, default: []].append(set) }
    guard case .pool(let name, let less)? = IPSet(set), Set(ips.map(AddressFamily.init(of:))).count > 1 else { return }
    for family in AddressFamily.allCases {
      let narrow = IPSet.pool(name, less: less.union(ips.filter { AddressFamily(of: $0) != family })).description
      reaching[set, default: [:]][family] = narrow
      learn(narrow)
    }
  }

  /// The set whose IPs can send a group's mail: its own, less those of a family that none of its hosts has. A set without any
  /// that can stays whole, so that an attempt says so.
  func set(reaching group: Group) -> String {
    guard !reaching.isEmpty, let narrow = reaching[group.set], case .open(_, _, let only?)? = groups[group]?.destination else {
      return group.set
    }
    return narrow[only] ?? group.set
  }

  // MARK: what the queue says

  /// The state of one part. An answer older than what is known is passed over.
  /// - Returns: whether its group is new (its destination is to be looked up), and whether the part is to be shelved.
  mutating func update(_ head: QueueHead, now: Milliseconds) -> (isNew: Bool, needsShelf: Bool) {
    let part = head.part
    let before = parts[part]
    if let before, head.sequence < before.sequence { return (false, false) }
    messageCount += head.count - (before?.count ?? 0)
    guard head.count > 0 else {
      parts[part] = nil
      groups[part.group]?.organisations.remove(part.organisation)
      if groups[part.group]?.organisations.isEmpty == true { forget(part.group) }
      return (false, false)
    }
    parts[part] = Part(count: head.count, score: head.score, sequence: head.sequence)
    // A part that was known is in its group.
    if let before { return (false, before.planned > 0 || head.score != before.score) }
    learn(part.group.set)
    let isNew = groups[part.group] == nil
    if isNew { groupsOfDomain[part.group.domain, default: []].insert(part.group) }
    groups[part.group, default: GroupState(destination: .resolving(since: now))].organisations.insert(part.organisation)
    return (isNew, true)
  }

  private mutating func forget(_ group: Group) {
    groups[group] = nil
    groupsOfDomain[group.domain]?.remove(group)
    if groupsOfDomain[group.domain]?.isEmpty == true { groupsOfDomain[group.domain] = nil }
  }

  mutating func clear() {
    parts = [:]
    groups = [:]
    groupsOfDomain = [:]
    shelves = [:]
    messageCount = 0
  }

  func destination(of group: Group) -> Destination? { groups[group]?.destination }

  mutating func setDestination(_ destination: Destination, of group: Group) { groups[group]?.destination = destination }

  /// Parts of a group that have mail.
  func parts(of group: Group) -> [GroupPart] {
    (groups[group]?.organisations ?? []).map { GroupPart(group: group, organisation: $0) }
  }

  /// What stands before a group beside its destination: an operator's pause, its domain's health.
  func pause(of group: Group) -> Gate? {
    guard !pausedDomains.isEmpty || !pausedPools.isEmpty || !domainGates.isEmpty else { return nil }
    return shut(group).first
  }

  func shut(_ group: Group) -> [Gate] {
    var gates = [pausedDomains[group.domain], domainGates[group.domain]].compactMap { $0 }
    if !pausedPools.isEmpty, case .pool(let name, _)? = IPSet(group.set), let gate = pausedPools[name] { gates.append(gate) }
    return gates
  }

  /// - Returns: parts to be shelved again.
  /// Gates of domains, pools and sets that stand whether mail waits or not.
  var standingGates: [Gate] {
    Array(pausedDomains.values) + pausedPools.values + domainGates.values + closedSets.values.flatMap(\.values)
  }

  mutating func setDomainGate(_ domain: String, _ gate: Gate?) -> [GroupPart] {
    domainGates[domain] = gate
    return gate == nil ? (groupsOfDomain[domain] ?? []).flatMap(parts(of:)) : []
  }

  /// - Returns: parts that were paused and are not any more, to be shelved again. Walks all groups: for an operator's order.
  mutating func setPaused(domains: [String: Gate], pools: [String: Gate]) -> [GroupPart] {
    let before = groups.keys.filter { pause(of: $0) != nil }
    pausedDomains = domains
    pausedPools = pools
    return before.filter { pause(of: $0) == nil }.flatMap(parts(of:))
  }

  /// Puts a part's head where picks find it; answers the lanes' key when its organisation is to wait in one of them. Nil when
  /// it waits in all of them already, or the group's destination is not open.
  mutating func shelve(_ part: GroupPart) -> (key: String, provider: MailboxProvider)? {
    guard let state = parts[part], pause(of: part.group) == nil, case .open(let key, let provider, _)? = groups[part.group]?.destination
    else {
      return nil
    }
    let isSpread = shelves[Shelf(set: set(reaching: part.group), key: key, organisation: part.organisation), default: Heads()]
      .push(Head(score: state.score, part: part))
    return isSpread ? nil : (key, provider)
  }

  /// The organisation's mail of this set waits in the lanes of all its IPs, as long as there is any.
  mutating func noteSpread(of organisation: String, set: String, key: String) {
    let shelf = Shelf(set: set, key: key, organisation: organisation)
    if shelves[shelf]?.rows.isEmpty == false { shelves[shelf]?.isSpread = true }
  }

  /// Sets of the lane's IP, those that it may not send now included, whose mail of this organisation does not wait everywhere.
  func unspreadSets(of organisation: String, at lane: LaneID) -> [String] {
    (setsOfIP[lane.ip] ?? []).filter { set in
      let shelf = Shelf(set: set, key: lane.key, organisation: organisation)
      if let heads = shelves[shelf], !heads.rows.isEmpty { return !heads.isSpread }
      return pickedNow[shelf]?.contains { remaining($0) > 0 } ?? false
    }
  }

  /// Of these sets those that have mail of an organisation under a lane key, and whether it waits in all their IPs' lanes.
  func waiting(_ organisation: String, of sets: some Sequence<String>, key: String) -> [(set: String, isSpread: Bool)] {
    sets.compactMap { set in
      guard let heads = shelves[Shelf(set: set, key: key, organisation: organisation)], !heads.rows.isEmpty else { return nil }
      return (set, heads.isSpread)
    }
  }

  // MARK: picking

  mutating func setClosedSet(_ set: String, of ip: String, _ gate: Gate?) {
    closedSets[ip, default: [:]][set] = gate
    for narrow in (reaching[set] ?? [:]).values { closedSets[ip, default: [:]][narrow] = gate }
    if closedSets[ip]?.isEmpty == true { closedSets[ip] = nil }
  }

  /// Sets whose mail this IP may pick now.
  private func openSets(_ ip: String) -> [String] {
    let sets = setsOfIP[ip] ?? []
    guard !closedSets.isEmpty, let closed = closedSets[ip] else { return sets }
    return sets.filter { closed[$0] == nil }
  }

  /// A new call is in the making.
  mutating func beginCall() { pickedNow = [:] }

  mutating func plan(_ part: GroupPart, _ count: Int) { parts[part]?.planned += count }

  mutating func unplan(_ part: GroupPart) { parts[part]?.planned = 0 }

  /// The organisation's group with the lowest head among the sets of this IP, and how many it has. Rows that are no longer
  /// true are dropped on the way.
  mutating func takeHead(of organisation: String, at lane: LaneID) -> (part: GroupPart, available: Int)? {
    var best: (shelf: Shelf, head: Head)?
    for set in openSets(lane.ip) {
      let shelf = Shelf(set: set, key: lane.key, organisation: organisation)
      guard let head = validHead(shelf) else { continue }
      if best == nil || best.map({ head < $0.head }) == true { best = (shelf, head) }
    }
    if let best {
      _ = shelves[best.shelf]?.rows.pop()
      pickedNow[best.shelf, default: []].append(best.head.part)
      return (best.head.part, parts[best.head.part]?.count ?? 1)
    }
    // All its groups here are picked already: the next of one of them, whose place in the order only its answer will tell.
    guard let part = pickedAgain(organisation, at: lane) else { return nil }
    return (part, remaining(part))
  }

  func hasMail(of organisation: String, at lane: LaneID) -> Bool {
    openSets(lane.ip).contains {
      shelves[Shelf(set: $0, key: lane.key, organisation: organisation)]?.rows.isEmpty == false
    } || pickedAgain(organisation, at: lane) != nil
  }

  /// A group of this organisation that this call has picked from and that has more.
  private func pickedAgain(_ organisation: String, at lane: LaneID) -> GroupPart? {
    for set in openSets(lane.ip) {
      let shelf = Shelf(set: set, key: lane.key, organisation: organisation)
      if let part = pickedNow[shelf]?.last(where: { remaining($0) > 0 }) { return part }
    }
    return nil
  }

  private func remaining(_ part: GroupPart) -> Int { parts[part].map { $0.count - $0.planned } ?? 0 }

  private mutating func validHead(_ shelf: Shelf) -> Head? {
    while let head = shelves[shelf]?.rows.first {
      visits += 1
      if let part = parts[head.part], part.planned == 0, part.score == head.score, pause(of: head.part.group) == nil,
        set(reaching: head.part.group) == shelf.set
      {
        return head
      }
      _ = shelves[shelf]?.rows.pop()
    }
    shelves[shelf] = nil
    return nil
  }
}
