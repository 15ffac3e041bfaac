import DeliveryPolicy
import Foundation
import Logging
import MailFormat
import MailModel
import Observability

/// Events of what came back (contract section 2.3). Ids are derived: told twice, each is stored once.
enum ReturnedEvent {
  private static let mark = "-returned-"

  /// Told of what came back, not of an attempt.
  static func isOne(_ event: DoneRecord.Event) -> Bool { event.id.contains(mark) }

  static func complained(_ message: HistoryStore.Departed, _ complaint: ReturnedMail.Complaint, now: Milliseconds) -> DoneRecord.Event {
    var event = DeliveryEvent(.complained)
    event.set("messageId", message.record.messageID)
    event.set("organizationId", message.record.organisation, limit: 128)
    if !message.isMemberTest { event.set("recipient", message.record.recipient, limit: 320) }
    event.set("message", complaint.text.isEmpty ? "The recipient complained" : complaint.text)
    event.set("reportedDomain", complaint.reportedDomain, limit: 253)
    event.set("sourceIsp", complaint.sourceISP?.eventName)
    return end(event, message, now)
  }

  static func bounced(_ message: HistoryStore.Departed, isHard: Bool, _ text: String, now: Milliseconds) -> DoneRecord.Event {
    var event = DeliveryEvent(.bounced)
    event.set("messageId", message.record.messageID)
    event.set("organizationId", message.record.organisation, limit: 128)
    event.set("bounceType", isHard ? "hard" : "soft")
    event.set("message", text)
    return end(event, message, now)
  }

  private static func end(_ event: DeliveryEvent, _ message: HistoryStore.Departed, _ now: Milliseconds) -> DoneRecord.Event {
    var event = event
    event.set("timestamp", now)
    event.set("deliveryDomain", message.record.deliveryDomain)
    return DoneRecord.Event(
      id: "\(message.number)\(mark)\(event.kind.rawValue)", kind: event.kind.rawValue, json: event.json, fallbackJSON: nil)
  }
}

/// `campaign.complaint_rate`, once in 30 days a campaign.
enum CampaignEvent {
  /// Nil for a campaign whose name the event's schema does not know (16 to 64 of a–z and 0–9): only the log tells of it.
  static func told(_ alarm: ListBook.Alarm, now: Milliseconds, log: Logger) -> DoneRecord.Event? {
    let (key, rate) = (alarm.key, alarm.complaints.rate)
    let share = "\(Double(Int((rate * 10_000).rounded())) / 100) %"
    let text = "\(alarm.complaints.complained) complaints for \(alarm.complaints.delivered) deliveries of this campaign (\(share))"
    log.warning("campaign complained of: \(text)", metadata: [LogKey.organisation: "\(key.organisation)", "campaign": "\(key.campaign)"])
    guard isKnownForm(key.campaign) else { return nil }
    let id =
      "campaign-complaints-"
      + Digest.hex(Digest.sha256(Array("\(key) \(alarm.complaints.toldAt)".utf8))).prefix(40)
    var event = DeliveryEvent(.complaintRate)
    event.set("eventId", String(id))
    event.set("campaignId", key.campaign)
    event.set("organizationId", key.organisation, limit: 128)
    event.set("complaintRate", ratio: rate)
    event.set("severity", "critical")
    event.set("message", text)
    event.set("timestamp", now)
    return DoneRecord.Event(id: String(id), kind: event.kind.rawValue, json: event.json, fallbackJSON: nil)
  }

  static func isKnownForm(_ campaign: String) -> Bool {
    (16...64).contains(campaign.utf8.count)
      && campaign.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
  }
}
