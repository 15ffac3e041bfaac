/// Zones whose codes are known, compiled from their operators' documents.
extension BlocklistZone {
  /// Asked when the configuration names no zones: only Spamhaus takes an IP out of its pools.
  /// - Parameter abusixKey: 32 characters of Abusix' subscribers; that zone is left out without one.
  package static func builtIn(abusixKey: String?) -> [BlocklistZone] {
    builtIn + (abusixKey.map { [abusix.at($0 + "." + abusix.zone)] } ?? [])
  }

  package static let builtIn: [BlocklistZone] = [spamhaus, barracuda, spamCop, psbl, mailspike, uceprotect1]

  /// For the domains that mail is sent from: they warn.
  package static let builtInDomains: [BlocklistZone] = [spamhausDBL, surbl]

  /// A zone of the configuration. One whose suffix is known has its codes, also behind an access key
  /// (`<key>.zen.dq.spamhaus.net`); another one's listing is any 127/8 but the usual refusals.
  package static func configured(_ zone: String, severity: Severity) -> BlocklistZone {
    let host = zone.lowercased()
    for known in known where host == known.zone || host.hasSuffix("." + known.zone) {
      var found = known.at(host)
      found.severity = severity
      return found
    }
    let shown = withoutKey(host)
    return BlocklistZone(
      id: shown, name: shown, zone: host, severity: severity, families: [.ipv4, .ipv6], listed: [Code("", .any)])
  }

  /// A long first label is taken for an access key, which must not be shown.
  private static func withoutKey(_ host: String) -> String {
    let labels = host.split(separator: ".")
    guard let first = labels.first, first.utf8.count >= 20, labels.count > 2 else { return host }
    return labels.dropFirst().joined(separator: ".")
  }

  /// Zones of the configuration, with distinct ids.
  package static func configured(_ zones: [(zone: String, severity: Severity)]) -> [BlocklistZone] {
    var seen: [String: Int] = [:]
    return zones.map { row in
      var zone = configured(row.zone, severity: row.severity)
      let count = (seen[zone.id] ?? 0) + 1
      seen[zone.id] = count
      if count > 1 { zone.id += "-\(count)" }
      return zone
    }
  }

  /// Ids that upstream's clients know; they refuse an answer with any other.
  package static let upstreamIDs: Set<String> = ["spamhaus", "barracuda", "spamcop", "abusix"]

  static let known: [BlocklistZone] =
    builtIn + [spamhausDQS, abusix, uceprotect2, uceprotect3, mailspikeReputation, spamRATS, senderScore, hostkarma, dnswl]
    + builtInDomains

  private func at(_ zone: String) -> BlocklistZone {
    var moved = self
    moved.zone = zone
    return moved
  }

  private static func plain(
    _ id: String, _ name: String, _ zone: String, _ severity: Severity = .warning, _ families: Set<Family> = [.ipv4]
  ) -> BlocklistZone {
    BlocklistZone(id: id, name: name, zone: zone, severity: severity, families: families, listed: [Code("", .last(2...2))])
  }

  // PBL is high, not critical: no misbehaviour, to be settled with the provider. It takes the IP out all the same, since most
  // receivers would refuse its mail for good.
  private static let spamhausCodes = [
    Code("SBL", .last(2...2)), Code("CSS", .last(3...3)), Code("XBL", .last(4...7)), Code("DROP", .last(9...9)),
    Code("PBL", .last(10...11), .high), Code("AuthBL", .last(20...20), .warning), Code("BCL", .last(30...30)),
  ]
  private static let spamhaus = BlocklistZone(
    id: "spamhaus", name: "Spamhaus", zone: "zen.spamhaus.org", severity: .critical, families: [.ipv4, .ipv6],
    listed: spamhausCodes)
  private static let spamhausDQS = spamhaus.at("zen.dq.spamhaus.net")
  private static let barracuda = plain("barracuda", "Barracuda", "b.barracudacentral.org")
  private static let spamCop = plain("spamcop", "SpamCop", "bl.spamcop.net")
  private static let psbl = plain("psbl", "PSBL", "psbl.surriel.com")
  private static let uceprotect1 = plain("uceprotect1", "UCEPROTECT-1", "dnsbl-1.uceprotect.net")
  private static let uceprotect2 = plain("uceprotect2", "UCEPROTECT-2", "dnsbl-2.uceprotect.net", .info)
  private static let uceprotect3 = plain("uceprotect3", "UCEPROTECT-3", "dnsbl-3.uceprotect.net", .info)
  private static let senderScore = plain("senderscore", "Validity RPBL", "bl.score.senderscore.com")

  private static let mailspikeCodes = [
    Code("zombie", .last(2...2)), Code("worst", .last(10...10)), Code("very bad", .last(11...11)), Code("bad", .last(12...12)),
  ]
  private static let mailspike = BlocklistZone(
    id: "mailspike", name: "Mailspike", zone: "bl.mailspike.net", severity: .warning, families: [.ipv4],
    listed: mailspikeCodes, unlisted: [.last(13...20)])
  private static let mailspikeReputation = BlocklistZone(
    id: "mailspike-rep", name: "Mailspike reputation", zone: "rep.mailspike.net", severity: .warning, families: [.ipv4],
    listed: mailspikeCodes, unlisted: [.last(13...20)])
  private static let abusix = BlocklistZone(
    id: "abusix", name: "Abusix", zone: "combined.mail.abusix.zone", severity: .warning, families: [.ipv4, .ipv6],
    listed: [
      Code("spam trap", .last(2...2)), Code("heuristics", .last(3...3)), Code("exploit", .last(4...4)),
      Code("generic PTR", .last(11...11), .info), Code("no PTR", .last(12...12), .info), Code("manual", .last(200...200)),
    ])
  private static let spamRATS = BlocklistZone(
    id: "spamrats", name: "SpamRATS", zone: "spamrats.com", severity: .warning, families: [.ipv4],
    listed: [
      Code("dynamic", .last(36...36), .info), Code("no PTR", .last(37...37), .info), Code("spam", .last(38...38)),
      Code("auth", .last(43...43)),
    ])
  private static let hostkarma = BlocklistZone(
    id: "hostkarma", name: "Hostkarma", zone: "hostkarma.junkemailfilter.com", severity: .warning, families: [.ipv4],
    listed: [Code("black", .last(2...2)), Code("brown", .last(4...4), .info)],
    unlisted: [.last(1...1), .last(3...3), .last(5...5)])
  /// A whitelist: here so that nobody's alarm comes of it.
  private static let dnswl = BlocklistZone(
    id: "dnswl", name: "DNSWL", zone: "list.dnswl.org", severity: .info, families: [.ipv4, .ipv6], listed: [],
    unlisted: [.category(0...3)])

  private static let spamhausDBL = BlocklistZone(
    id: "spamhaus-dbl", name: "Spamhaus DBL", zone: "dbl.spamhaus.org", severity: .warning, families: [.domain],
    listed: [
      Code("spam", .domain(2...2)), Code("phishing", .domain(4...4)), Code("malware", .domain(5...5)),
      Code("botnet", .domain(6...6)), Code("abused", .domain(102...106)),
    ], names: TestPoints(listed: "dbltest.com", clean: "invalid"))
  private static let surbl = BlocklistZone(
    id: "surbl", name: "SURBL", zone: "multi.surbl.org", severity: .warning, families: [.domain],
    listed: [
      Code("phishing", .bit(8)), Code("malware", .bit(16)), Code("abuse", .bit(64)), Code("cracked", .bit(128)),
    ], names: TestPoints(listed: "surbl-org-permanent-test-point.com", clean: "invalid"))
}
