internal import DeliveryPolicy
internal import Foundation
internal import MIME

/// Amazon SES tells bounces and complaints as JSON by SNS, which can be mailed; lines longer than 990 octets come folded with `!`.
enum SNSNotification {
  private static let maxOctets = 512 * 1024

  static func read(_ mail: MIMEPart) -> Feedback? {
    guard
      let part = mail.outline.first(where: {
        $0.parts.isEmpty && !$0.isMultipart && ($0.type == "text/plain" || $0.type == "application/json")
      })
    else { return nil }
    let content = part.content(limit: maxOctets)
    guard let first = content.first(where: { $0 > 0x20 }), first == 0x7B, let object = object(content) else { return nil }
    return notification(object)
  }

  private static func object(_ content: [UInt8]) -> [String: Any]? {
    var joined: [UInt8] = []
    var scanner = LineScanner(content[...])
    while let line = scanner.next() {
      if line.starts(with: [0x2D, 0x2D]) { break }
      var line = line
      if line.last == 0x21 { line.removeLast() }
      if line.first == 0x20 { line.removeFirst() }
      joined += line
    }
    let outer = (try? JSONSerialization.jsonObject(with: Data(joined))) as? [String: Any]
    if let text = outer?["Message"] as? String { return (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any] }
    return outer
  }

  private static func notification(_ object: [String: Any]) -> Feedback? {
    let type = ((object["notificationType"] ?? object["eventType"]) as? String ?? "").lowercased()
    let mail = object["mail"] as? [String: Any] ?? [:]
    let common = mail["commonHeaders"] as? [String: Any] ?? [:]
    var returned = Feedback.ReturnedHeaders()
    returned.messageID = Attribution.messageID(common["messageId"] as? String)
    returned.returnPath = (mail["source"] as? String).flatMap { AddressText.first($0) }
    returned.to = (mail["destination"] as? [String])?.first.flatMap { AddressText.first($0) }
    for header in (mail["headers"] as? [[String: Any]] ?? []).prefix(200) {
      guard let name = (header["name"] as? String)?.lowercased(), let value = header["value"] as? String else { continue }
      switch name {
      case "message-id": returned.messageID = Attribution.messageID(value) ?? returned.messageID
      case "list-unsubscribe": returned.listUnsubscribe = value
      case "feedback-id": returned.feedbackID = value
      case "cfbl-feedback-id": returned.cfblFeedbackID = value
      default: break
      }
    }
    var feedback: Feedback
    switch type {
    case "bounce": feedback = bounce(object["bounce"] as? [String: Any] ?? [:])
    case "complaint": feedback = complaint(object["complaint"] as? [String: Any] ?? [:])
    case "delivery": feedback = delivery(object["delivery"] as? [String: Any] ?? [:], .delivered)
    case "deliverydelay":
      feedback = Feedback(kind: .delay)
      let rows = (object["deliveryDelay"] as? [String: Any] ?? [:])["delayedRecipients"] as? [[String: Any]] ?? []
      feedback.recipients = rows.prefix(DeliveryStatus.maxRecipients).compactMap { recipient($0, .delayed, isPermanent: false) }
    default: return nil
    }
    feedback.returned = returned
    return feedback
  }

  private static func bounce(_ bounce: [String: Any]) -> Feedback {
    let isPermanent = (bounce["bounceType"] as? String)?.lowercased() == "permanent"
    var feedback = Feedback(kind: .bounce)
    let rows = bounce["bouncedRecipients"] as? [[String: Any]] ?? []
    feedback.recipients = rows.prefix(DeliveryStatus.maxRecipients).compactMap { recipient($0, .failed, isPermanent: isPermanent) }
    return feedback
  }

  private static func recipient(_ row: [String: Any], _ action: Feedback.Action, isPermanent: Bool) -> Feedback.Recipient? {
    guard let address = (row["emailAddress"] as? String).flatMap({ AddressText.first($0) }) else { return nil }
    let diagnostic = row["diagnosticCode"] as? String ?? ""
    let status = (row["status"] as? String).flatMap { StatusText.all("\($0) ").first } ?? StatusText.enhanced(diagnostic)
    var replyClass = Cause.find([diagnostic], status: status)
    if replyClass == .unknown, isPermanent, diagnostic.isEmpty { replyClass = .invalidRecipient }
    return Feedback.Recipient(
      address: address, original: nil, action: Feedback.Action(rawValue: (row["action"] as? String ?? "").lowercased()) ?? action,
      status: status, replyClass: replyClass, hardness: Cause.hardness(replyClass), diagnostic: BounceReader.oneLine(diagnostic))
  }

  private static func complaint(_ row: [String: Any]) -> Feedback {
    var complaint = Feedback.Complaint(type: ((row["complaintFeedbackType"] as? String) ?? "abuse").lowercased())
    complaint.userAgent = row["userAgent"] as? String
    complaint.arrivalDate = row["arrivalDate"] as? String
    complaint.originalRecipients = (row["complainedRecipients"] as? [[String: Any]] ?? []).prefix(512)
      .compactMap { ($0["emailAddress"] as? String).flatMap { AddressText.first($0) } }
    var feedback = Feedback(kind: .complaint)
    feedback.complaint = complaint
    return feedback
  }

  private static func delivery(_ row: [String: Any], _ action: Feedback.Action) -> Feedback {
    var feedback = Feedback(kind: .successDSN)
    feedback.recipients = (row["recipients"] as? [String] ?? []).prefix(512).compactMap { AddressText.first($0) }.map {
      Feedback.Recipient(address: $0, original: nil, action: action, status: nil, replyClass: .unknown, hardness: .soft, diagnostic: "")
    }
    return feedback
  }
}
