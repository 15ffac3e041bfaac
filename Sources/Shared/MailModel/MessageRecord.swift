/// What one message carries beside its content: all that is particular to its recipient. Written once at accept, copied by
/// Redis into the worker's stream entry, read again by the reducer.
package struct MessageRecord: Sendable, Equatable {
  package var messageID: String
  package var workAttemptID: String?
  package var organisation: String
  package var recipient: String
  package var pool: String
  package var dkimDomain: String
  /// Local part of the signed return-path (``VERPSigner``); the Message-ID that we make is derived from it.
  package var returnPathLocal: String
  /// Host of the return-path.
  package var returnPathHost: String
  /// The author's Message-ID field, when the caller gave one.
  package var messageIDField: String?
  package var campaignID: String?
  package var tags: [String] = []
  package var acceptedAt: Milliseconds
  package var expiresAt: Milliseconds
  /// `production` or `member_test` (contract section 2.3).
  package var deliveryDomain: String
  /// Octets of the content before compression.
  package var contentSize: Int
  /// True when the content is the finished message, sent byte for byte with only DKIM before it.
  package var isSealed: Bool = false

  /// What a template's names stand for in this recipient's message.
  package struct TemplateValue: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  package var values: [TemplateValue] = []
  /// The author as the From field has it, for logs.
  package var author = ""
  /// What it is unsubscribed from, and by which URL (RFC 8058); both nil when it carries no such link.
  package var list: String?
  package var unsubscribeURL: String?
  /// Where a subject with the URL's token unsubscribes too; nil when we take no mail.
  package var unsubscribeAddress: String?
  /// Of the feedback address (RFC 9477); nil when the message has none.
  package var complaintToken: String?

  package init(
    messageID: String, workAttemptID: String?, organisation: String, recipient: String, pool: String,
    dkimDomain: String, returnPathLocal: String, returnPathHost: String, acceptedAt: Milliseconds,
    expiresAt: Milliseconds, deliveryDomain: String, contentSize: Int
  ) {
    self.messageID = messageID
    self.workAttemptID = workAttemptID
    self.organisation = organisation
    self.recipient = recipient
    self.pool = pool
    self.dkimDomain = dkimDomain
    self.returnPathLocal = returnPathLocal
    self.returnPathHost = returnPathHost
    self.acceptedAt = acceptedAt
    self.expiresAt = expiresAt
    self.deliveryDomain = deliveryDomain
    self.contentSize = contentSize
  }

  private enum Tag {
    static let messageID: UInt8 = 1
    static let workAttemptID: UInt8 = 2
    static let organisation: UInt8 = 3
    static let recipient: UInt8 = 4
    static let pool: UInt8 = 5
    static let dkimDomain: UInt8 = 6
    static let returnPathLocal: UInt8 = 7
    static let returnPathHost: UInt8 = 8
    static let messageIDField: UInt8 = 9
    static let campaignID: UInt8 = 10
    static let tag: UInt8 = 11
    static let acceptedAt: UInt8 = 12
    static let expiresAt: UInt8 = 13
    static let deliveryDomain: UInt8 = 14
    static let contentSize: UInt8 = 15
    static let isSealed: UInt8 = 16
    static let valueName: UInt8 = 17
    static let value: UInt8 = 18
    static let author: UInt8 = 19
    static let list: UInt8 = 20
    static let unsubscribeURL: UInt8 = 21
    static let unsubscribeAddress: UInt8 = 22
    static let complaintToken: UInt8 = 23
  }

  package func encoded() -> [UInt8] {
    var writer = RecordWriter(capacity: 320)
    writer.put(Tag.messageID, messageID)
    writer.put(Tag.workAttemptID, workAttemptID)
    writer.put(Tag.organisation, organisation)
    writer.put(Tag.recipient, recipient)
    writer.put(Tag.pool, pool)
    writer.put(Tag.dkimDomain, dkimDomain)
    writer.put(Tag.returnPathLocal, returnPathLocal)
    writer.put(Tag.returnPathHost, returnPathHost)
    writer.put(Tag.messageIDField, messageIDField)
    writer.put(Tag.campaignID, campaignID)
    for tag in tags { writer.put(Tag.tag, tag) }
    writer.put(Tag.acceptedAt, acceptedAt)
    writer.put(Tag.expiresAt, expiresAt)
    writer.put(Tag.deliveryDomain, deliveryDomain)
    writer.put(Tag.contentSize, contentSize)
    if isSealed { writer.put(Tag.isSealed, true) }
    if !author.isEmpty { writer.put(Tag.author, author) }
    writer.put(Tag.list, list)
    writer.put(Tag.unsubscribeURL, unsubscribeURL)
    writer.put(Tag.unsubscribeAddress, unsubscribeAddress)
    writer.put(Tag.complaintToken, complaintToken)
    for value in values {
      writer.put(Tag.valueName, value.name)
      writer.put(Tag.value, value.value)
    }
    return writer.bytes
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(RecordError) {
    self.init(
      messageID: "", workAttemptID: nil, organisation: "", recipient: "", pool: "", dkimDomain: "",
      returnPathLocal: "", returnPathHost: "", acceptedAt: 0, expiresAt: 0, deliveryDomain: "production", contentSize: 0)
    var reader = RecordReader(bytes)
    while let field = try reader.next() {
      switch field.tag {
      case Tag.messageID: messageID = field.string
      case Tag.workAttemptID: workAttemptID = field.string
      case Tag.organisation: organisation = field.string
      case Tag.recipient: recipient = field.string
      case Tag.pool: pool = field.string
      case Tag.dkimDomain: dkimDomain = field.string
      case Tag.returnPathLocal: returnPathLocal = field.string
      case Tag.returnPathHost: returnPathHost = field.string
      case Tag.messageIDField: messageIDField = field.string
      case Tag.campaignID: campaignID = field.string
      case Tag.tag: tags.append(field.string)
      case Tag.acceptedAt: acceptedAt = field.int64
      case Tag.expiresAt: expiresAt = field.int64
      case Tag.deliveryDomain: deliveryDomain = field.string
      case Tag.contentSize: contentSize = field.int
      case Tag.isSealed: isSealed = field.bool
      case Tag.author: author = field.string
      case Tag.list: list = field.string
      case Tag.unsubscribeURL: unsubscribeURL = field.string
      case Tag.unsubscribeAddress: unsubscribeAddress = field.string
      case Tag.complaintToken: complaintToken = field.string
      case Tag.valueName: values.append(TemplateValue(name: field.string, value: ""))
      case Tag.value: if !values.isEmpty { values[values.count - 1].value = field.string }
      default: continue
      }
    }
    guard !messageID.isEmpty else { throw .missing(tag: Tag.messageID) }
    guard !recipient.isEmpty else { throw .missing(tag: Tag.recipient) }
  }

  package init(decoding bytes: [UInt8]) throws(RecordError) { try self.init(decoding: bytes[...]) }
}
