import Foundation
import MTAConfig
import MailFormat
import MailModel

/// A refusal as it goes out: status, text, and a code where clients look for one.
struct APIError: Error, Sendable, Equatable {
  var status: Int
  var text: String
  var code: String?
  var retryAfterSeconds: Int?

  static func bad(_ text: String) -> APIError { APIError(status: 400, text: text) }
  static func forbidden(_ text: String) -> APIError { APIError(status: 403, text: text) }
}

/// Which of the three intakes.
enum SendMode: Sendable {
  case send, system, postbox
}

/// A message that is good to accept.
struct Submission: Sendable {
  var messageID: String
  var workAttemptID: String?
  var organisation: String
  var recipient: EmailAddress
  var pool: String
  /// By rule; the pool then only names where it was asked for.
  var dedicatedIP: String?
  var dkimDomain: String
  var content: MessageContent
  var messageIDField: String?
  var campaignID: String?
  var tags: [String]
  var band: PriorityBand
  var sendAt: Milliseconds?
  var deliverBy: Milliseconds?
  var deliveryDomain: String
  /// Why its content may not go; nil when it may.
  var objection: String?
  /// Mail of a campaign, to which providers' rules for bulk senders apply.
  var isPromotional = false
  /// Of a template's names.
  var values: [MessageRecord.TemplateValue] = []
  /// What its recipient may unsubscribe from; nil = it carries no link for that.
  var list: String?
}

/// Turns a body into a submission or the first thing wrong with it, in upstream's order and with its texts (contract
/// section 1.2); what is ours has texts of the same kind, naming the field.
struct SendValidator: Sendable {
  static let maxSealed = 26_214_400

  private let readPools: @Sendable () -> [String]
  private let readMaxAge: @Sendable () -> Milliseconds

  /// Both are asked anew with each message: a reload may change them.
  init(pools: @autoclosure @escaping @Sendable () -> [String], maxAge: @autoclosure @escaping @Sendable () -> Milliseconds) {
    readPools = pools
    readMaxAge = maxAge
  }

  private var pools: [String] { readPools() }
  private var maxAge: Milliseconds { readMaxAge() }

  /// - Parameter scope: the organisation whose key this is; nil = the master key.
  func validate(_ body: SendBody, mode: SendMode, scope: String? = nil, now: Milliseconds) throws(APIError) -> Submission {
    let basics = try basics(body)
    let organisation = try organisation(body, mode)
    try governed(body, mode)
    if let scope {
      guard mode == .send else { throw .forbidden("\(mode == .system ? "System" : "Postbox") intake requires the master credential") }
      guard scope == organisation else { throw .forbidden("API key is not authorized for this organization") }
    }
    if mode == .postbox { try checkAuthorBinding(body, basics.author) }
    let dkimDomain = try dkimDomain(body)
    var content = try content(body, basics)
    if mode == .postbox, case .value(let text) = body.sealedMimeBase64 {
      content.sealed = try sealed(text, author: basics.author)
    } else if mode != .postbox, case .absent = body.sealedMimeBase64 {
    } else if mode != .postbox {
      throw .bad("sealedMimeBase64 is only accepted by /send/postbox")
    } else if body.sealedMimeBase64.isWrongType {
      throw .bad("sealedMimeBase64 must be valid base64")
    }
    let pool = try pool(body)
    let (sendAt, deliverBy) = try times(body, now)
    var submission = Submission(
      messageID: basics.messageID, workAttemptID: try workAttemptID(body.workAttemptId, mode), organisation: organisation,
      recipient: basics.recipient, pool: pool, dkimDomain: dkimDomain, content: content,
      messageIDField: try messageIDField(body), campaignID: try label(body.campaignId, "campaignId", 128),
      tags: try tags(body), band: PriorityBand(engagementScore: score(body.engagementScore)), sendAt: sendAt,
      deliverBy: deliverBy, deliveryDomain: body.deliveryDomain.value ?? "production")
    submission.list = try list(body.unsubscribe, campaign: submission.campaignID)
    return submission
  }

  private struct Basics {
    var messageID: String
    var recipient: EmailAddress
    var author: (name: String?, address: EmailAddress)
    var replyTo: EmailAddress?
    var subject: String
  }

  private func basics(_ body: SendBody) throws(APIError) -> Basics {
    guard let messageID = body.messageId.value, !messageID.isEmpty, let to = body.to.value, !to.isEmpty,
      let from = body.from.value, !from.isEmpty, let subject = body.subject.value, !subject.isEmpty,
      !(body.html.value ?? "").isEmpty || !(body.text.value ?? "").isEmpty
    else { throw .bad("Missing required fields: messageId, to, from, subject, html") }
    let (_, recipient) = try identity(.value(messageID), .value(to))
    guard let author = Self.author(from) else { throw .bad("Invalid \"from\" email address format") }
    var replyTo: EmailAddress?
    switch body.replyTo {
    case .absent: break
    case .value(let text) where text.isEmpty: break
    case .value(let text) where EmailAddress(text) != nil: replyTo = EmailAddress(text)
    default: throw .bad("Invalid \"replyTo\" email address format")
    }
    guard subject.utf8.count <= 998 else { throw .bad("subject must be at most 998 octets") }
    guard !Self.hasControl(subject) else { throw .bad("subject must not contain line breaks or control characters") }
    return Basics(messageID: messageID, recipient: recipient, author: author, replyTo: replyTo, subject: subject)
  }

  /// Whose message this is and to whom.
  func identity(_ messageID: Member<String>, _ to: Member<String>) throws(APIError) -> (String, EmailAddress) {
    guard let messageID = messageID.value, let to = to.value else { throw .bad("Missing required fields: messageId, to") }
    guard Self.isIdentifier(messageID, max: 200) else {
      throw .bad("messageId must be 1 to 200 printable ASCII characters without spaces, < and >")
    }
    guard let recipient = EmailAddress(to) else { throw .bad("Invalid \"to\" email address format") }
    return (messageID, recipient)
  }

  /// Header values that a template was filled to.
  func checkHeaders(_ fields: [HeaderField]) throws(APIError) {
    for field in fields where field.value.utf8.count > 998 { throw .bad("\(field.name) must be at most 998 octets") }
  }

  private func organisation(_ body: SendBody, _ mode: SendMode) throws(APIError) -> String {
    guard let organisation = body.organizationId.value, !organisation.isEmpty else {
      throw .bad("Missing required field: organizationId")
    }
    guard organisation.utf8.count <= 128, !Self.hasControl(organisation) else {
      throw .bad("organizationId must be 1 to 128 characters without control characters")
    }
    switch mode {
    case .system where organisation != Organisation.system: throw .forbidden("System intake requires the master credential")
    case .postbox where organisation != Organisation.postbox: throw .forbidden("Postbox intake requires the master credential")
    case .send where organisation == Organisation.postbox: throw .bad("Postbox mail must use /send/postbox")
    case .send:
      if let objection = Organisation.objection(organisation) { throw .bad("organizationId \(objection)") }
    case .system, .postbox: break
    }
    return organisation
  }

  /// What a governed send may carry is checked for its shape; leases are accepted and never required.
  private func governed(_ body: SendBody, _ mode: SendMode) throws(APIError) {
    if mode != .send {
      let name = mode == .system ? "System" : "Postbox"
      for member in [body.routingLease, body.routingReentryToken, body.routingReentry] {
        if case .absent = member { continue }
        throw .bad("\(name) intake does not accept tenant routing leases")
      }
      return
    }
    switch body.messageType {
    case .absent: break
    case .value(let type) where ["campaign", "transactional", "automation"].contains(type): break
    default: throw .bad("Missing or invalid governed messageType")
    }
    switch body.deliveryDomain {
    case .absent: break
    case .value(let domain) where ["production", "member_test"].contains(domain): break
    default: throw .bad("Missing or invalid governed deliveryDomain")
    }
  }

  func workAttemptID(_ member: Member<String>, _ mode: SendMode) throws(APIError) -> String? {
    switch member {
    case .absent: return nil
    case .value(let id) where mode == .send && Self.isIdentifier(id, max: 128): return id
    case .value where mode != .send: throw .bad("workAttemptId is only accepted by /send")
    default: throw .bad("workAttemptId must be 1 to 128 printable ASCII characters without spaces, < and >")
    }
  }

  private func checkAuthorBinding(_ body: SendBody, _ author: (name: String?, address: EmailAddress)) throws(APIError) {
    let allowed = (body.allowedFromAddresses.value ?? []).map { $0.lowercased() }
    guard allowed.contains(author.address.normalised) else { throw .forbidden("From address not authorized for this mailbox") }
  }

  private func dkimDomain(_ body: SendBody) throws(APIError) -> String {
    guard let text = body.dkimDomain.value, !text.isEmpty else { throw .bad("Missing required field: dkimDomain") }
    guard let domain = DomainName.ascii(text), DomainName.isMailDomain(domain) else {
      throw .bad("dkimDomain must be a domain name")
    }
    return domain
  }

  private func pool(_ body: SendBody) throws(APIError) -> String {
    guard let pool = body.ipPool.value, pools.contains(pool) else {
      let names = Set(pools) == ["transactional", "campaign"] ? ["transactional", "campaign"] : pools
      throw .bad("ipPool must be " + names.map { "\"\($0)\"" }.joined(separator: " or "))
    }
    return pool
  }

  private func content(_ body: SendBody, _ basics: Basics) throws(APIError) -> MessageContent {
    var content = MessageContent(
      authorName: basics.author.name, authorAddress: basics.author.address.description, subject: basics.subject)
    for (member, name) in [(body.html, "html"), (body.text, "text"), (body.amp, "amp")] where member.isWrongType {
      throw .bad("\(name) must be a string")
    }
    content.html = body.html.value.flatMap { $0.isEmpty ? nil : $0 }
    content.text = body.text.value.flatMap { $0.isEmpty ? nil : $0 }
    content.amp = body.amp.value.flatMap { $0.isEmpty ? nil : $0 }
    content.replyTo = basics.replyTo?.description
    content.headers = try headers(body)
    content.attachments = try attachments(body)
    if body.tracking.isWrongType { throw .bad("tracking must be an object of opens and clicks") }
    return content
  }

  private func headers(_ body: SendBody) throws(APIError) -> [HeaderField] {
    if body.headers.isWrongType { throw .bad("headers must be an object of strings") }
    let given = body.headers.value ?? [:]
    guard given.count <= 64 else { throw .bad("headers must be at most 64") }
    var fields: [HeaderField] = []
    for (name, value) in given.sorted(by: { $0.key < $1.key }) {
      // ftext of RFC 5322 §3.6.8.
      guard (1...76).contains(name.utf8.count), name.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A }) else {
        throw .bad("headers has an invalid name")
      }
      guard value.utf8.count <= 998 else { throw .bad("headers.\(name) must be at most 998 octets") }
      guard !Self.hasControl(value) else { throw .bad("headers.\(name) must not contain line breaks or control characters") }
      if Mailbox.senderFields.contains(name.lowercased()), Mailbox.hasPair(value, "{", "{") || Mailbox(value) == nil {
        throw .bad("headers.\(name) must be one address, without placeholders")
      }
      if !MessageRenderer.isStructural(name) { fields.append(HeaderField(name: name, value: value)) }
    }
    return fields
  }

  /// The caller's own Message-ID is kept when it has the form of one (RFC 5322 §3.6.4).
  private func messageIDField(_ body: SendBody) throws(APIError) -> String? {
    guard let value = body.headers.value?.first(where: { $0.key.lowercased() == "message-id" })?.value else { return nil }
    let inside = value.dropFirst().dropLast()
    guard value.hasPrefix("<"), value.hasSuffix(">"), inside.contains("@"), value.utf8.count <= 250,
      inside.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3C && $0 != 0x3E })
    else { throw .bad("headers.Message-ID must be <left@right>") }
    return value
  }

  private func attachments(_ body: SendBody) throws(APIError) -> [MessageContent.Attachment] {
    if body.attachments.isWrongType { throw .bad("attachments must be a list of objects") }
    var list: [MessageContent.Attachment] = []
    for (index, item) in (body.attachments.value ?? []).enumerated() {
      let path = "attachments[\(index)]"
      guard let filename = item.filename.value, (1...255).contains(filename.utf8.count), !Self.hasControl(filename) else {
        throw .bad("\(path).filename must be 1 to 255 octets without control characters")
      }
      guard let type = item.contentType.value, Self.isMediaType(type) else {
        throw .bad("\(path).contentType must be a media type like application/pdf")
      }
      guard let content = item.content.value.flatMap({ Base64.decode($0) }) else {
        throw .bad("\(path).content must be valid base64")
      }
      var contentID: String?
      switch item.contentId {
      case .absent: break
      case .value(let id) where Self.isIdentifier(id, max: 200): contentID = id
      default: throw .bad("\(path).contentId must be printable ASCII without spaces, < and >")
      }
      switch item.disposition {
      case .absent, .value("attachment"), .value("inline"): break
      default: throw .bad("\(path).disposition must be attachment or inline")
      }
      list.append(
        MessageContent.Attachment(
          filename: filename, contentType: type, content: content, contentID: contentID,
          isInline: item.disposition.value == "inline"))
    }
    return list
  }

  private func tags(_ body: SendBody) throws(APIError) -> [String] {
    if body.tags.isWrongType { throw .bad("tags must be a list of strings") }
    let tags = body.tags.value ?? []
    guard tags.count <= 20, tags.allSatisfy({ (1...64).contains($0.utf8.count) && !Self.hasControl($0) }) else {
      throw .bad("tags must be at most 20 of at most 64 octets")
    }
    return tags
  }

  private func label(_ member: Member<String>, _ name: String, _ limit: Int) throws(APIError) -> String? {
    switch member {
    case .absent: return nil
    case .value(let text) where (1...limit).contains(text.utf8.count) && !Self.hasControl(text): return text
    default: throw .bad("\(name) must be 1 to \(limit) octets without control characters")
    }
  }

  private func times(_ body: SendBody, _ now: Milliseconds) throws(APIError) -> (Milliseconds?, Milliseconds?) {
    let sendAt = try time(body.sendAt, "sendAt")
    if let sendAt, sendAt > now + 30 * 86_400_000 { throw .bad("sendAt must be at most 30 days ahead") }
    let deliverBy = try time(body.deliverBy, "deliverBy")
    if let deliverBy, deliverBy <= max(now, sendAt ?? now) { throw .bad("deliverBy must lie after now and after sendAt") }
    return (sendAt.flatMap { $0 <= now ? nil : $0 }, deliverBy)
  }

  private func time(_ member: Member<SendBody.TimeValue>, _ name: String) throws(APIError) -> Milliseconds? {
    switch member {
    case .absent: return nil
    case .value(.number(let value)) where value >= 0 && value < 1e14: return Milliseconds(value)
    case .value(.text(let text)):
      if let value = Timestamp.milliseconds(text) { return value }
    default: break
    }
    throw .bad("\(name) must be RFC 3339 or Unix milliseconds")
  }

  /// Anything but a finite number from 0 to 100 counts as absent (contract section 9).
  func score(_ member: Member<Double>) -> Double? {
    member.value.flatMap { $0.isFinite && (0...100).contains($0) ? $0 : nil }
  }

  // MARK: shapes

  static func isIdentifier(_ text: String, max: Int) -> Bool {
    (1...max).contains(text.utf8.count)
      && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3C && $0 != 0x3E }
  }

  static func hasControl(_ text: String) -> Bool {
    text.unicodeScalars.contains {
      $0.value < 0x20 && $0 != "\t" || $0.value == 0x7F || (0x80...0x9F).contains($0.value) || $0.value == 0x2028 || $0.value == 0x2029
    }
  }

  private static func isMediaType(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2 && text.utf8.count <= 127
      && parts.allSatisfy { part in
        !part.isEmpty
          && part.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || "!#$&-^_.+".utf8.contains($0)
          }
      }
  }

  /// `addr` or `Name <addr>`; never with a line break (contract section 1.2). The field is written anew from it: what leaves as it came
  /// is a ``Mailbox``.
  static func author(_ text: String) -> (name: String?, address: EmailAddress)? {
    guard !hasControl(text), text.utf8.count <= 998 else { return nil }
    let trimmed = text.trimmingCharacters(in: .whitespaces)
    guard trimmed.hasSuffix(">"), let open = trimmed.lastIndex(of: "<") else {
      return Mailbox.address(trimmed).map { (nil, $0) }
    }
    let inside = trimmed[trimmed.index(after: open)...].dropLast()
    guard let address = Mailbox.address(inside) else { return nil }
    var name = trimmed[..<open].trimmingCharacters(in: .whitespaces)
    if name.hasPrefix("\""), name.hasSuffix("\""), name.count >= 2 {
      name = String(name.dropFirst().dropLast()).replacing("\\\"", with: "\"").replacing("\\\\", with: "\\")
    }
    guard !name.contains("<"), !name.contains(">") else { return nil }
    return (name.isEmpty ? nil : name, address)
  }
}

extension Submission {
  var ipSet: IPSet { dedicatedIP.map { .dedicated($0) } ?? .pool(pool) }
}
