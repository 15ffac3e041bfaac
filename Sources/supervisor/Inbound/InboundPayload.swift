import Foundation
import MIME
import MailModel

/// A received mail as a route's endpoint and `inbound.received` get it (contract section 2.3, inboundPayload). Attachments carry
/// their octets with them, so that none is lost when we are.
struct InboundPayload: Sendable {
  static let maxText = 1 << 20

  var from: String
  var recipient: String
  var subject: String
  var messageID: String?
  private var fields: JSONObject

  /// - Parameters:
  ///   - octets: the mail as it came.
  ///   - returnPath: of the envelope, empty for a notice.
  init(octets: [UInt8], returnPath: String, recipient: String, verdicts: [(String, String)] = []) {
    let mail = MIMEPart.read(octets)
    self.recipient = recipient
    from = mail.headers.first("from").flatMap(Self.address) ?? returnPath
    subject = mail.headers.first("subject") ?? ""
    messageID = mail.headers.first("message-id")
    let leaves = mail.outline.filter { !$0.isMultipart }
    let text = leaves.first { $0.type == "text/plain" && !Self.isAttachment($0) }
    let html = leaves.first { $0.type == "text/html" && !Self.isAttachment($0) }
    fields = JSONObject([("from", .text(from)), ("to", .text(recipient)), ("subject", .text(subject))])
    fields.add("textBody", text?.text(limit: Self.maxText))
    fields.add("htmlBody", html?.text(limit: Self.maxText))
    fields.fields.append(("headers", .raw(Self.headers(mail.headers))))
    fields.add("date", mail.headers.first("date").flatMap(Self.date))
    fields.add("messageId", messageID)
    fields.add("inReplyTo", mail.headers.first("in-reply-to"))
    fields.add("references", mail.headers.first("references"))
    let attached = leaves.filter { Self.isAttachment($0) || !["text/plain", "text/html"].contains($0.type) }
    fields.fields.append(("attachments", JSONObject.list(attached.map(Self.attachment))))
    for (name, value) in verdicts { fields.fields.append((name, .text(value))) }
    fields.fields.append(("envelopeFromDomain", .text(returnPath.split(separator: "@").last.map { $0.lowercased() } ?? "")))
  }

  var json: String { fields.string }

  private static func isAttachment(_ part: MIMEPart) -> Bool {
    part.fileName != nil || part.headers.first("content-disposition")?.lowercased().hasPrefix("attachment") == true
  }

  private static func attachment(_ part: MIMEPart) -> JSONObject {
    let content = part.isEmbeddedMessage ? Array(part.body) : part.content(limit: 64 << 20)
    var object = JSONObject([])
    object.add("filename", part.fileName)
    object.fields += [
      ("contentType", .text(part.type)), ("size", .number(Int64(content.count))),
      ("content", .text(Data(content).base64EncodedString())),
    ]
    object.add("contentId", part.headers.first("content-id"))
    return object
  }

  /// The last of a name stands, as in upstream's object.
  private static func headers(_ block: HeaderBlock) -> String {
    var seen: Set<String> = []
    let names = block.names.filter { seen.insert($0).inserted }
    return JSONObject(names.map { ($0, .text(block.all($0).last ?? "")) }).string
  }

  private static func address(_ field: String) -> String? {
    let inside = field.lastIndex(of: "<").map { field[field.index(after: $0)...].prefix { $0 != ">" } } ?? field[...]
    return EmailAddress(inside.trimmingCharacters(in: .whitespaces))?.description
  }

  /// Nil for what is no year of four digits (RFC 5322 §3.3): a sender may write any number.
  private static func milliseconds(_ date: Date) -> Milliseconds? {
    let seconds = date.timeIntervalSince1970
    return (-62_135_596_800..<253_402_300_800).contains(seconds) ? Milliseconds(seconds * 1000) : nil
  }

  private static func date(_ field: String) -> String? {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    let plain = field.split(separator: "(").first.map { $0.trimmingCharacters(in: .whitespaces) } ?? field
    for format in ["EEE, d MMM yyyy HH:mm:ss Z", "d MMM yyyy HH:mm:ss Z", "EEE, d MMM yyyy HH:mm Z"] {
      formatter.dateFormat = format
      if let date = formatter.date(from: plain), let time = milliseconds(date) { return Timestamp.rfc3339(time) }
    }
    return nil
  }
}
