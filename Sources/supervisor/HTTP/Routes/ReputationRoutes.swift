import DeliveryPolicy
import HTTPTypes
import MTAConfig
import MailModel
import Observability
import Redis

/// `GET /ip-reputation` with upstream's shape (contract section 1.7). Its clients refuse any further key in `routing`.
struct ReputationRoutes: Sendable {
  let config: ConfigInForce
  let reputation: Reputation
  let book: PolicyBook
  let store: QueueStore
  let fleet: Fleet
  let dispatcher: Dispatcher

  var all: [APIRoute] {
    [
      APIRoute(method: .get, path: "/ip-reputation", access: .master, handler: list),
      APIRoute(method: .get, path: "/ip-reputation/:ip", access: .master, handler: one),
      APIRoute(method: .post, path: "/v1/ips/:ip/warming", access: .master) { call in
        let body = try await call.json()
        let day = try body.integer("day", 1...365)
        let isReset = try body.bool("reset") ?? false
        guard (day != nil) != isReset else { throw APIError.bad("Give day, or reset: true") }
        try await setWarming(call.parameters["ip"] ?? "", day: isReset ? nil : day)
        return HTTPAnswer(.ok, JSONObject([("success", .bool(true))]).string)
      },
    ]
  }

  /// What is known of one IP, gathered once a request.
  private struct Facts {
    var now: Milliseconds
    var lists: [String: BlocklistSnapshot.Row]
    var identities: [String: IdentityMonitor.Row]
    var warming: [String: IPWarming]
    var isActive: [String: Bool]
    /// Addresses that are not on this host.
    var unbound: Set<String>
  }

  private func facts() async -> Facts {
    let now = SystemClock.now()
    let snapshot = await reputation.blocklists?.snapshot()
    let identities = await reputation.identity?.rows() ?? []
    let rows = await fleet.list()
    return Facts(
      now: now, lists: Dictionary((snapshot?.rows ?? []).map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first }),
      identities: Dictionary(identities.map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first }),
      warming: await book.warmingStates(),
      isActive: Dictionary(
        rows.map { ($0.address, [.active, .warming, .probation].contains($0.state)) }, uniquingKeysWith: { first, _ in first }),
      unbound: Set(rows.filter { $0.reason?.hasPrefix("address not on this host") == true }.map(\.address)))
  }

  @Sendable private func list(_ call: APIRequest) async throws -> HTTPAnswer {
    let organisation = call.query["organizationId"]
    if let organisation, !(1...128).contains(organisation.utf8.count) { throw APIError.bad("organizationId must be 1 to 128 characters") }
    let facts = await facts()
    let ips = config.sourceIPs.flatMap { ip in config.pools(of: ip.address).map { row(ip.address, pool: $0, facts) } }
    return HTTPAnswer(
      .ok,
      JSONObject([
        ("date", .text(Self.date(facts.now))), ("ips", JSONObject.list(ips)),
        (
          "routing",
          .raw(
            JSONObject([
              ("generatedAt", .number(facts.now)), ("signals", JSONObject.list(await signals(facts, organisation: organisation))),
            ]).string)
        ),
      ]).string)
  }

  @Sendable private func one(_ call: APIRequest) async throws -> HTTPAnswer {
    let address = IPAddress.canonical(call.parameters["ip"] ?? "") ?? call.parameters["ip"] ?? ""
    let facts = await facts()
    let state = facts.warming[address]
    let day = state?.today.total ?? WarmingDay.Counts()
    let sent = day.answers
    func percent(_ count: Int) -> JSONObject.Value { .raw(Self.percent(count, of: sent)) }
    var object = JSONObject([
      ("ip", .text(address)), ("date", .text(Self.date(facts.now))),
      (
        "metrics",
        .raw(
          JSONObject([
            ("sent", .number(Int64(sent))), ("delivered", .number(Int64(day.delivered))), ("bounced", .number(Int64(day.bounced))),
            ("deferred", .number(Int64(day.deferred))), ("rejected", .number(0)), ("errors", .number(0)),
          ]).string)
      ),
      (
        "rates",
        .raw(
          JSONObject([("bounceRate", percent(day.bounced)), ("deferralRate", percent(day.deferred)), ("errorRate", .raw("0"))]).string)
      ),
      ("warming", .raw(state.map { Self.json($0).string } ?? "null")),
      ("pool", .raw(config.pools(of: address).first.map { Self.pool($0, address, facts).string } ?? "null")),
    ])
    object.fields += Self.standing(address, facts)
    return HTTPAnswer(.ok, object.string)
  }

  /// An operator's order: a day of the schedule, or from the start.
  func setWarming(_ text: String, day: Int?) async throws {
    let now = SystemClock.now()
    let changed = await book.changeWarming(IPAddress.canonical(text) ?? text, now: now) { state, policy in
      if let day { state.set(day: day, now: now, policy: policy) } else { state.reset(now: now, policy: policy) }
    }
    guard let (rows, changes) = changed else { throw APIError(status: 404, text: "\(text) is not an address of this installation") }
    try await store.setPolicy(rows)
    await dispatcher.apply(changes)
  }

  /// Goes on where another installation left the IP: what that sent today counts, so that the day's cap is one.
  func takeOverWarming(_ address: String, _ handover: WarmingHandover) async throws {
    let now = SystemClock.now()
    let changed = await book.changeWarming(address, now: now) { state, policy in state.takeOver(handover, now: now, policy: policy) }
    guard let (rows, changes) = changed else { throw APIError(status: 404, text: "\(address) is not an address of this installation") }
    let sent = min(max(0, handover.sentToday), 1 << 30)
    if sent > 0 { try await store.count(WarmingCharges.dayKey(address, now), sent, secondsToLive: WarmingCharges.secondsToLive) }
    try await store.setPolicy(rows)
    await dispatcher.apply(changes)
  }

  /// What `/health` says of each IP (contract section 1.5).
  func health() async -> [String: HealthReport.Standing] {
    let facts = await facts()
    var rows: [String: HealthReport.Standing] = [:]
    for ip in config.sourceIPs {
      let standing = Self.standing(ip.address, facts).filter { ["dnsbl", "fcrdns", "ipv6Spf", "sourceAddress"].contains($0.0) }
      let order = ["dnsbl", "fcrdns", "ipv6Spf", "sourceAddress"]
      let sorted = order.compactMap { name in standing.first { $0.0 == name } }
      rows[ip.address] = HealthReport.Standing(
        members: [("blockReasons", .raw(Self.reasons(ip.address, facts)))] + sorted
          + [("warming", .raw(facts.warming[ip.address].map { Self.healthWarming($0).string } ?? "null"))],
        isIdentified: facts.identities[ip.address]?.pulledSince == nil)
    }
    return rows
  }

  private static func healthWarming(_ state: IPWarming) -> JSONObject {
    JSONObject([
      ("phase", .text(phase(state))), ("day", .number(Int64(state.isLimited ? state.day : max(state.day, 30)))),
      ("dailyCap", state.isLimited ? .number(Int64(state.probation?.cap ?? state.cap)) : .text("unlimited")),
      ("sentToday", .number(Int64(state.today.total.delivered))), ("bounceRate", .raw(String(state.today.total.bounceRate))),
    ])
  }

  private func row(_ address: String, pool: String, _ facts: Facts) -> JSONObject {
    let state = facts.warming[address]
    let day = state?.today.total ?? WarmingDay.Counts()
    var object = JSONObject([
      ("ip", .text(address)), ("sent", .number(Int64(day.answers))), ("delivered", .number(Int64(day.delivered))),
      ("bounced", .number(Int64(day.bounced))), ("deferred", .number(Int64(day.deferred))),
      ("bounceRate", .raw(Self.percent(day.bounced, of: day.answers))), ("warmingPhase", .text(Self.phase(state))),
      ("warmingDay", .number(Int64(state.map { $0.isLimited ? $0.day : max($0.day, 30) } ?? 0))),
    ])
    object.fields += Self.pool(pool, address, facts).fields + Self.standing(address, facts)
    return object
  }

  private static func pool(_ pool: String, _ address: String, _ facts: Facts) -> JSONObject {
    JSONObject([
      ("pool", .text(pool)), ("active", .bool(facts.isActive[address] ?? false)), ("blockReasons", .raw(reasons(address, facts))),
    ])
  }

  private static func reasons(_ address: String, _ facts: Facts) -> String {
    var reasons: [String] = []
    if facts.lists[address]?.pulledSince != nil { reasons.append("dnsbl") }
    if facts.identities[address]?.pulledSince != nil { reasons.append("fcrdns") }
    if facts.unbound.contains(address) { reasons.append("source-address") }
    return "[" + reasons.map(JSONText.quoted).joined(separator: ",") + "]"
  }

  private static func standing(_ address: String, _ facts: Facts) -> [(String, JSONObject.Value)] {
    let row = facts.lists[address]
    let identity = facts.identities[address]
    var fields: [(String, JSONObject.Value)] = [
      ("fcrdns", .raw(identity?.identity?.json ?? "null")), ("ipv6Spf", .raw("null")), ("sourceAddress", .raw("null")),
      ("dnsbl", .text(row?.dnsbl.rawValue ?? "unknown")),
      ("dnsblListings", .raw("[" + (row?.dnsblListings ?? []).map(JSONText.quoted).joined(separator: ",") + "]")),
      ("dnsblUnmeasured", .bool(row?.dnsblUnmeasured ?? true)),
    ]
    if let at = row?.dnsblCheckedAt { fields.append(("dnsblCheckedAt", .number(at))) }
    return fields
  }

  private static func json(_ state: IPWarming) -> JSONObject {
    let today = state.today.total
    return JSONObject([
      ("phase", .text(phase(state))), ("currentDay", .number(Int64(state.isLimited ? state.day : max(state.day, 30)))),
      ("dailyCap", state.isLimited ? .number(Int64(state.probation?.cap ?? state.cap)) : .raw("null")),
      ("sentToday", .number(Int64(today.delivered))), ("bounceRate", .raw(String(today.bounceRate))),
      ("deferralRate", .raw(String(today.deferralRate))),
    ])
  }

  /// ramp, plateau, graduated, unknown: the names that clients know.
  private static func phase(_ state: IPWarming?) -> String {
    guard let state else { return "unknown" }
    return switch state.phase {
    case .ramp: "ramp"
    case .plateau: "plateau"
    case .graduated, .exempt: state.probation == nil ? "graduated" : "ramp"
    }
  }

  /// Two decimals, in percent.
  private static func percent(_ count: Int, of total: Int) -> String {
    guard total > 0 else { return "0" }
    let hundredths = (Double(count) / Double(total) * 10_000).rounded()
    let value = hundredths / 100
    return Int64(exactly: value).map(String.init) ?? String(value)
  }

  private static func date(_ now: Milliseconds) -> String { String(Timestamp.rfc3339(now).prefix(10)) }

  // MARK: signals

  /// Providers that put off most of today: at least five deferrals, and half of all attempts (contract section 1.7).
  private static func deferring(_ facts: Facts) -> [String] {
    var counts: [String: WarmingDay.Counts] = [:]
    for state in facts.warming.values where state.today.date == UTCDay.number(facts.now) {
      for (name, count) in state.today.providers {
        counts[(MailboxProvider(rawValue: name) ?? .other).eventName, default: WarmingDay.Counts()].add(count)
      }
    }
    return counts.filter { $0.value.deferred >= 5 && $0.value.deferred * 2 >= $0.value.answers }.keys.sorted()
  }

  /// What should change a client's routing (contract section 1.7), at most 32.
  private func signals(_ facts: Facts, organisation: String?) async -> [JSONObject] {
    var list: [JSONObject] = []
    func add(_ provider: String, _ source: String, _ severity: String) {
      list.append(
        JSONObject([
          ("provider", .text(provider)), ("source", .text(source)), ("severity", .text(severity)), ("observedAt", .number(facts.now)),
        ]))
    }
    let rows = config.sourceIPs.map {
      (isActive: facts.isActive[$0.address] ?? false, lists: facts.lists[$0.address], id: facts.identities[$0.address])
    }
    let listed = rows.filter { $0.lists?.pulledSince != nil }
    if !rows.isEmpty, rows.allSatisfy({ !$0.isActive && ($0.lists?.pulledSince != nil || $0.id?.pulledSince != nil) }) {
      add("all", listed.count == rows.count ? "dnsbl_listed" : "ip_quarantined", "critical")
    } else if !listed.isEmpty {
      add("all", "dnsbl_partial", "critical")
    }
    if rows.contains(where: { $0.lists?.dnsbl == .unknown }) { add("all", "dnsbl_unknown", "warning") }
    for provider in Self.deferring(facts) { add(provider, "persistent_defers", "warning") }
    // An organisation's breakers are its own affair.
    for row in await book.breakerRows(now: facts.now) where row.breaker.state == .open && row.key.organisation == organisation {
      guard let provider = row.key.provider, list.count < 32 else { continue }
      add(provider.eventName, "breaker_open", "critical")
    }
    return Array(list.prefix(32))
  }
}
