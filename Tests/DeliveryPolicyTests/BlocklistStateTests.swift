import Foundation
import MailModel
import Testing

@testable import DeliveryPolicy

@Suite struct BlocklistStateTests {
  static let zen = BlocklistZone.configured("zen.spamhaus.org", severity: .critical)
  static let cop = BlocklistZone.configured("bl.spamcop.net", severity: .warning)
  static let zones = [zen, cop]

  static func verdict(_ zone: BlocklistZone, _ word: String) -> BlocklistVerdict {
    switch word {
    case "-": .clean
    case "?": .unknown("time-out")
    default: zone.verdict(.addresses(word.split(separator: "+").map { "127.0.0.\($0)" }))
    }
  }

  static func spell(_ effect: BlocklistEffect) -> String {
    switch effect {
    case .pull: "pull"
    case .restoreThroughProbation: "restore"
    case .event(let event): "\(event.kind.rawValue) \(event.severity.rawValue)"
    case .domainListed: "domain"
    case .domainCleared: "domain clear"
    }
  }

  /// What ZEN and SpamCop answer at each sweep (`-` clean, `?` unknown, else last octets), and what follows.
  static let stories: [[(zen: String, cop: String, effects: [String])]] = [
    // Listed at once, back after two clean sweeps.
    [
      ("-", "-", []), ("2", "-", ["pull", "ip.blocklisted critical"]), ("2", "-", []), ("-", "-", []),
      ("-", "-", ["restore", "ip.delisted info"]), ("-", "-", []),
    ],
    // Unknown neither pulls, nor restores, nor counts as clean; it does not undo a clean sweep either.
    [
      ("?", "?", []), ("2", "-", ["pull", "ip.blocklisted critical"]), ("?", "?", []), ("-", "-", []), ("?", "-", []),
      ("?", "-", []), ("-", "-", ["restore", "ip.delisted info"]),
    ],
    // A relapse begins the count anew and is no second event.
    [
      ("3", "-", ["pull", "ip.blocklisted critical"]), ("-", "-", []), ("3", "-", []), ("-", "-", []),
      ("-", "-", ["restore", "ip.delisted info"]),
    ],
    // A warning pulls nothing.
    [("-", "2", ["ip.blocklisted warning"]), ("-", "2", []), ("-", "-", []), ("-", "-", ["ip.delisted info"])],
    // Both at once: two events; the IP is back when the critical one is off, and the warning's end is told by itself.
    [
      ("2", "2", ["pull", "ip.blocklisted critical", "ip.blocklisted warning"]), ("-", "2", []),
      ("-", "2", ["restore", "ip.delisted info"]), ("-", "-", []), ("-", "-", ["ip.delisted info"]),
    ],
    // AuthBL alone warns; SBL beside it pulls; back to AuthBL alone at once lets it go, which no clean sweep has to confirm.
    [
      ("20", "-", ["ip.blocklisted warning"]), ("20+2", "-", ["pull", "ip.blocklisted critical"]),
      ("20", "-", ["restore", "ip.delisted info"]),
    ],
    // PBL pulls too.
    [("10", "-", ["pull", "ip.blocklisted critical"]), ("10+2", "-", [])],
  ]

  @Test(arguments: stories.indices)
  func story(index: Int) {
    var state = BlocklistState()
    for (turn, step) in Self.stories[index].enumerated() {
      let effects = state.apply(
        ["spamhaus": Self.verdict(Self.zen, step.zen), "spamcop": Self.verdict(Self.cop, step.cop)], zones: Self.zones,
        ip: "192.0.2.7", now: Int64(turn) * 900_000)
      #expect(effects.map(Self.spell) == step.effects, "story \(index), sweep \(turn)")
    }
  }

  @Test func eventsHaveTheContractsFields() throws {
    var state = BlocklistState()
    let effects = state.apply(
      ["spamhaus": Self.verdict(Self.zen, "2+9")], zones: Self.zones, ip: "192.0.2.7", now: 5000)
    #expect(effects.first == .pull(ip: "192.0.2.7", reason: "blocklisted: Spamhaus SBL, DROP", since: 5000))
    let event = try #require(effects.last?.event)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(event.json.utf8)) as? [String: Any])
    #expect(Set(object.keys) == ["event", "ip", "blocklists", "severity", "message", "timestamp"])
    #expect(object["event"] as? String == "ip.blocklisted")
    #expect(object["ip"] as? String == "192.0.2.7")
    #expect(object["blocklists"] as? [String] == ["Spamhaus"])
    #expect(object["severity"] as? String == "critical")
    #expect(object["timestamp"] as? Int == 5000)
    #expect((object["message"] as? String)?.contains("Spamhaus SBL, DROP") == true)
  }

  /// (ZEN, SpamCop, status)
  @Test(arguments: [
    ("-", "-", BlocklistStatus.clean), ("-", "?", .clean), ("?", "-", .unknown), ("?", "?", .unknown), ("?", "2", .degraded),
    ("-", "2", .degraded), ("2", "-", .critical), ("2", "2", .critical), ("20", "-", .degraded), ("10", "?", .critical),
  ])
  func status(zen: String, cop: String, expected: BlocklistStatus) {
    var state = BlocklistState()
    _ = state.apply(
      ["spamhaus": Self.verdict(Self.zen, zen), "spamcop": Self.verdict(Self.cop, cop)], zones: Self.zones, ip: "192.0.2.7",
      now: 9)
    #expect(state.status(zones: Self.zones) == expected)
    #expect(state.isUnmeasured == (zen == "?" && cop == "?"))
    #expect(state.checkedAt(zones: Self.zones) == (zen == "?" ? nil : 9))
  }

  @Test func aZoneTakenOutOfTheConfigurationHoldsNothing() {
    var state = BlocklistState()
    _ = state.apply(["spamhaus": Self.verdict(Self.zen, "2")], zones: Self.zones, ip: "192.0.2.7", now: 1)
    #expect(state.isPulled)
    let effects = state.apply([:], zones: [], ip: "192.0.2.7", now: 2)
    #expect(effects.map(Self.spell) == ["restore", "ip.delisted info"])
    #expect(state.isUnmeasured && !state.isPulled)
  }

  @Test func anOperatorsRestoreStandsUntilAnotherListing() {
    var state = BlocklistState()
    func sweep(_ word: String, _ now: Int64) -> [String] {
      state.apply(["spamhaus": Self.verdict(Self.zen, word)], zones: Self.zones, ip: "192.0.2.7", now: now).map(Self.spell)
    }
    _ = sweep("10", 1)
    state.overrule(now: 2)
    #expect(!state.isPulled && state.restoredAt == 2)
    #expect(state.status(zones: Self.zones) == .critical)
    #expect(sweep("10", 3) == [])
    #expect(sweep("10+2", 4) == ["pull", "ip.blocklisted critical"])
    state.overrule(now: 5)
    #expect(sweep("10+2", 6) == [])
    #expect(sweep("-", 7) == [])
    #expect(sweep("-", 8) == ["ip.delisted info"])
    #expect(sweep("2", 9) == ["pull", "ip.blocklisted critical"])
  }

  // MARK: the book

  static func sweep(_ words: [String: String]) -> BlocklistSweep {
    var sweep = BlocklistSweep()
    sweep.addresses = words.mapValues { ["spamhaus": verdict(zen, $0), "spamcop": .clean] }
    return sweep
  }

  static func kinds(_ effects: [BlocklistEffect]) -> [String] { effects.map(spell) }

  @Test func allIPsBlockedIsToldOnceADay() {
    var book = BlocklistBook()
    let sets = [["192.0.2.1", "192.0.2.2"]]
    func read(_ words: [String: String], _ now: Int64) -> [String] {
      let effects = book.apply(Self.sweep(words), zones: Self.zones, sets: sets, now: now)
      book.told(book.untold)
      return effects.map(Self.spell)
    }
    #expect(read(["192.0.2.1": "2", "192.0.2.2": "-"], 1000) == ["pull", "ip.blocklisted critical"])
    #expect(
      read(["192.0.2.1": "2", "192.0.2.2": "2"], 2000) == ["pull", "ip.blocklisted critical", "all_ips_blocked critical"])
    #expect(read(["192.0.2.1": "2", "192.0.2.2": "2"], 2000 + 86_399_999) == [])
    #expect(read(["192.0.2.1": "2", "192.0.2.2": "?"], 2000 + 86_400_000) == ["all_ips_blocked critical"])
    // Back and out again within the day: not a second one.
    _ = read(["192.0.2.1": "-", "192.0.2.2": "2"], 2000 + 86_400_001)
    #expect(read(["192.0.2.1": "-", "192.0.2.2": "2"], 2000 + 86_400_002) == ["restore", "ip.delisted info"])
    #expect(read(["192.0.2.1": "2", "192.0.2.2": "2"], 2000 + 86_400_003) == ["pull", "ip.blocklisted critical"])
  }

  @Test func aSetIsBlockedOnlyWhenAllOfItIs() throws {
    var book = BlocklistBook()
    let words = ["192.0.2.1": "2", "192.0.2.2": "-"]
    #expect(
      Self.kinds(book.apply(Self.sweep(words), zones: Self.zones, sets: [["192.0.2.1", "192.0.2.2"], []], now: 1)).count == 2)
    let effects = book.apply(Self.sweep(words), zones: Self.zones, sets: [["192.0.2.1"], ["192.0.2.2"]], now: 2)
    let event = try #require(effects.compactMap(\.event).first { $0.kind == .allBlocked })
    #expect(event.ip == nil && event.blocklists == ["Spamhaus"] && event.severity == .critical)
    #expect(event.message.hasSuffix("192.0.2.1 on Spamhaus SBL"))
  }

  @Test func aMessageOfManyIPsFitsTheReceiver() {
    var book = BlocklistBook()
    let ips = (1...60).map { "192.0.2.\($0)" }
    let effects = book.apply(
      Self.sweep(Dictionary(uniqueKeysWithValues: ips.map { ($0, "2+3+9") })), zones: Self.zones, sets: [ips], now: 1)
    let events = effects.compactMap(\.event)
    #expect(events.count == 61)
    #expect(events.allSatisfy { !$0.message.isEmpty && $0.message.utf16.count <= 512 })
    let message = events.last?.message ?? ""
    #expect(message.firstMatch(of: /; and \d+ more$/) != nil)
    #expect(
      ReputationEvent(.delisted, severity: .info, ip: nil, message: String(repeating: "🙂", count: 400), blocklists: [], timestamp: 1)
        .message.utf16.count <= 512)
  }

  @Test func nothingIsLostOrChangedByARestart() throws {
    var book = BlocklistBook()
    let sets = [["192.0.2.1"]]
    let first = book.apply(Self.sweep(["192.0.2.1": "2"]), zones: Self.zones, sets: sets, now: 1000)
    // Ended before the effects were told.
    var again = try JSONDecoder().decode(BlocklistBook.self, from: JSONEncoder().encode(book))
    #expect(again == book)
    #expect(again.pulls.map(\.since) == [1000] && again.pulls.map(\.reason) == ["blocklisted: Spamhaus SBL"])
    let events = first.filter { $0.event != nil }
    #expect(events.count == 2)
    let repeated = again.apply(Self.sweep(["192.0.2.1": "2"]), zones: Self.zones, sets: sets, now: 5000)
    #expect(repeated == events)
    again.told(again.untold)
    #expect(again.apply(Self.sweep(["192.0.2.1": "2"]), zones: Self.zones, sets: sets, now: 6000) == [])
    #expect(again.pulls.map(\.since) == [1000])
  }

  @Test func anIPv6AddressIsAskedOnlyOfZonesThatKnowThem() {
    #expect(BlocklistBook.zones(BlocklistZone.builtIn + BlocklistZone.builtInDomains, for: "2001:db8::1").map(\.id) == ["spamhaus"])
    #expect(BlocklistBook.zones(BlocklistZone.builtIn, for: "192.0.2.1").count == BlocklistZone.builtIn.count)
  }

  @Test func aListedDomainIsAWarningWithoutAnEvent() {
    var book = BlocklistBook()
    let dbl = BlocklistZone.configured("dbl.spamhaus.org", severity: .warning)
    var zone = dbl
    zone.families = [.domain]
    func read(_ verdict: BlocklistVerdict) -> [BlocklistEffect] {
      var sweep = BlocklistSweep()
      sweep.domains = ["news.example": [zone.id: verdict]]
      return book.apply(sweep, zones: [zone], sets: [], now: 1)
    }
    let listed = zone.verdict(.addresses(["127.0.1.4"]))
    #expect(read(listed) == [.domainListed(domain: "news.example", on: ["Spamhaus DBL phishing"])])
    #expect(read(listed) == [])
    #expect(read(.unknown("x")) == [])
    #expect(read(.clean) == [])
    #expect(read(.clean) == [.domainCleared(domain: "news.example")])
    #expect(book.untold.isEmpty)
  }
}
