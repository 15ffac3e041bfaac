import DeliveryPolicy
import MailModel
import Redis

/// What deliveries and complaints say of an organisation's lists, beside its breakers: complaints by campaign, volume at the
/// providers with rules for bulk senders. Part of ``PolicyBook``, with rows of its own: `campaign:LENGTH:ORG:CAMPAIGN` and
/// `volume:PROVIDER:ORG`.
struct ListBook: Sendable {
  struct CampaignKey: Hashable, Sendable {
    var organisation: String
    var campaign: String
  }

  /// A campaign that is complained of too much.
  struct Alarm: Sendable, Equatable {
    var key: CampaignKey
    var complaints: CampaignComplaints
  }

  /// An organisation that became a bulk sender today.
  struct Excess: Sendable, Equatable {
    var key: PolicyBook.BreakerKey
    var count: Int
  }

  static let most = 100_000

  private var campaigns: [CampaignKey: CampaignComplaints] = [:]
  private var volumes: [PolicyBook.BreakerKey: BulkVolume] = [:]
  private var changedCampaigns: Set<CampaignKey> = []
  private var changedVolumes: Set<PolicyBook.BreakerKey> = []
  private var pruneAt = most

  /// - Returns: false for a row that is worth nothing, nil for one that is not ours.
  mutating func take(_ kind: Substring, _ name: String, _ text: String, _ now: Milliseconds) -> Bool? {
    switch kind {
    case "campaign":
      guard let key = CampaignKey(name), let row = CampaignComplaints(text: text), !row.isIdle(now: now) else { return false }
      campaigns[key] = row
    case "volume":
      guard let key = PolicyBook.BreakerKey(name), let row = BulkVolume(text: text), !row.isIdle(now: now) else { return false }
      volumes[key] = row
    default: return nil
    }
    return true
  }

  mutating func learn(_ lesson: Lesson, _ now: Milliseconds) -> (alarm: Alarm?, excess: Excess?) {
    guard lesson.what == .delivered else { return (nil, nil) }
    var excess: Excess?
    if BulkVolume.providers.contains(lesson.provider) {
      let key = PolicyBook.BreakerKey(organisation: lesson.organisation, provider: lesson.provider)
      var volume = volumes[key] ?? BulkVolume()
      if volume.deliver(now: now) { excess = Excess(key: key, count: volume.today(now: now)) }
      volumes[key] = volume
      changedVolumes.insert(key)
    }
    return (campaign(lesson.organisation, lesson.campaign) { $0.deliver(now: now) }, excess)
  }

  mutating func complain(_ organisation: String, _ name: String?, _ now: Milliseconds) -> Alarm? {
    campaign(organisation, name) { $0.complain(now: now) }
  }

  /// A delivery was none.
  mutating func takeBack(_ organisation: String, _ name: String?) {
    guard let name else { return }
    let key = CampaignKey(organisation: organisation, campaign: name)
    campaigns[key]?.takeBackDelivery()
    changedCampaigns.insert(key)
  }

  private mutating func campaign(_ organisation: String, _ name: String?, _ change: (inout CampaignComplaints) -> Bool) -> Alarm? {
    guard let name else { return nil }
    let key = CampaignKey(organisation: organisation, campaign: name)
    var row = campaigns[key] ?? CampaignComplaints()
    let isToBeTold = change(&row)
    campaigns[key] = row
    changedCampaigns.insert(key)
    return isToBeTold ? Alarm(key: key, complaints: row) : nil
  }

  func isBulkSender(_ organisation: String, at provider: MailboxProvider) -> Bool {
    volumes[PolicyBook.BreakerKey(organisation: organisation, provider: provider)]?.isBulk ?? false
  }

  var bulkSenders: [(key: PolicyBook.BreakerKey, volume: BulkVolume)] {
    volumes.filter { $0.value.isBulk }.map { ($0.key, $0.value) }.sorted { $0.key.description < $1.key.description }
  }

  /// What changed since the last call, and what is forgotten because there is much.
  mutating func takeRows(_ now: Milliseconds) -> [PolicyRow] {
    var rows = changedCampaigns.map { PolicyRow(field: "campaign:\($0)", text: campaigns[$0]?.text) }
    rows += changedVolumes.map { PolicyRow(field: "volume:\($0)", text: volumes[$0]?.text) }
    changedCampaigns = []
    changedVolumes = []
    guard campaigns.count + volumes.count > pruneAt else { return rows }
    for (key, row) in campaigns where row.isIdle(now: now) { rows.append(PolicyRow(field: "campaign:\(key)", text: nil)) }
    for (key, row) in volumes where row.isIdle(now: now) { rows.append(PolicyRow(field: "volume:\(key)", text: nil)) }
    campaigns = campaigns.filter { !$0.value.isIdle(now: now) }
    volumes = volumes.filter { !$0.value.isIdle(now: now) }
    pruneAt = max(Self.most, (campaigns.count + volumes.count) * 2)
    return rows
  }
}

extension ListBook.CampaignKey: CustomStringConvertible {
  /// Octets of the organisation before it: both names may contain colons.
  var description: String { "\(organisation.utf8.count):\(organisation):\(campaign)" }

  init?(_ text: String) {
    guard let colon = text.firstIndex(of: ":"), let count = Int(text[..<colon]), count >= 0 else { return nil }
    let rest = text[text.index(after: colon)...].utf8
    guard let end = rest.index(rest.startIndex, offsetBy: count, limitedBy: rest.endIndex), end < rest.endIndex,
      rest[end] == UInt8(ascii: ":"), let organisation = String(rest[..<end]), let campaign = String(rest[rest.index(after: end)...])
    else { return nil }
    self.init(organisation: organisation, campaign: campaign)
  }
}
