import DeliveryPolicy
import MailModel

/// What is known of blocklists now, for `GET /ip-reputation`, `/health`, `/v1/gates` and metrics.
struct BlocklistSnapshot: Sendable, Equatable {
  struct Row: Sendable, Equatable {
    var address: String
    /// `dnsbl`, `dnsblListings`, `dnsblUnmeasured`, `dnsblCheckedAt` of the contract's section 1.7; the last is left out
    /// while nil. Only ids that upstream's clients know: they refuse others.
    var dnsbl: BlocklistStatus
    var dnsblListings: [String]
    var dnsblUnmeasured: Bool
    var dnsblCheckedAt: Milliseconds?
    /// All of them, as `Spamhaus SBL`.
    var lists: [String]
    var pulledSince: Milliseconds?
    var pullReason: String?
    /// Its last return from a pull, from which probation counts.
    var restoredAt: Milliseconds?
  }

  struct Zone: Sendable, Equatable {
    var id: String
    var severity: BlocklistZone.Severity
    var family: BlocklistZone.Family
    /// Nil before the first sweep.
    var health: ZoneHealth?
  }

  /// In the configuration's order.
  var rows: [Row]
  var zones: [Zone]
  /// Listed sending domains and their lists.
  var domains: [String: [String]]
  var sweptAt: Milliseconds?

  init(
    book: BlocklistBook, zones: [BlocklistZone], subjects: [String],
    health: [String: [BlocklistZone.Family: ZoneHealth]], sweptAt: Milliseconds?
  ) {
    rows = subjects.map { address in
      let state = book.addresses[address] ?? BlocklistState()
      let own = BlocklistBook.zones(zones, for: address)
      return Row(
        address: address, dnsbl: state.status(zones: own),
        dnsblListings: state.listings.map(\.zone).filter(BlocklistZone.upstreamIDs.contains),
        dnsblUnmeasured: state.isUnmeasured, dnsblCheckedAt: state.checkedAt(zones: own),
        lists: state.listings.map(\.description), pulledSince: state.pulledSince, pullReason: state.pullReason,
        restoredAt: state.restoredAt)
    }
    self.zones = zones.flatMap { zone in
      zone.families.sorted { $0.rawValue < $1.rawValue }.map {
        Zone(id: zone.id, severity: zone.severity, family: $0, health: health[zone.id]?[$0])
      }
    }
    domains = book.domains.mapValues { $0.listings.map(\.description) }.filter { !$0.value.isEmpty }
    self.sweptAt = sweptAt
  }

  /// The IPs that blocklists shut, as the dispatcher's gates. When a list lets go is unknown.
  var gates: [Gate] {
    rows.compactMap { row in
      row.pulledSince.map { Gate(scope: .ip, key: row.address, reason: .blocklisted, since: $0, until: nil) }
    }
  }
}
