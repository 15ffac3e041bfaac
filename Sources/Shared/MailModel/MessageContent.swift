/// A message's content as its author gave it, without anything of the recipient: what a batch shares, stored once by hash.
package struct MessageContent: Sendable, Equatable {
  package struct Attachment: Sendable, Equatable {
    package var filename: String
    package var contentType: String
    package var content: [UInt8]
    package var contentID: String?
    package var isInline: Bool

    package init(filename: String, contentType: String, content: [UInt8], contentID: String?, isInline: Bool) {
      self.filename = filename
      self.contentType = contentType
      self.content = content
      self.contentID = contentID
      self.isInline = isInline
    }
  }

  /// The author's display name, decoded; nil when the address stands alone.
  package var authorName: String?
  package var authorAddress: String
  package var replyTo: String?
  package var subject: String
  package var html: String?
  package var text: String?
  package var amp: String?
  package var headers: [HeaderField] = []
  package var attachments: [Attachment] = []
  /// The finished message of `/send/postbox`, byte for byte; all else is then only for the record.
  package var sealed: [UInt8]?
  /// True when `{{…}}` in it stand for each recipient's values (``MessageRecord/values``).
  package var isTemplate = false

  package init(authorName: String?, authorAddress: String, subject: String) {
    self.authorName = authorName
    self.authorAddress = authorAddress
    self.subject = subject
  }

  private enum Tag {
    static let authorName: UInt8 = 1
    static let authorAddress: UInt8 = 2
    static let replyTo: UInt8 = 3
    static let subject: UInt8 = 4
    static let html: UInt8 = 5
    static let text: UInt8 = 6
    static let amp: UInt8 = 7
    static let headerName: UInt8 = 8
    static let headerValue: UInt8 = 9
    static let attachment: UInt8 = 10
    static let sealed: UInt8 = 11
    static let isTemplate: UInt8 = 12
    static let filename: UInt8 = 1
    static let contentType: UInt8 = 2
    static let content: UInt8 = 3
    static let contentID: UInt8 = 4
    static let isInline: UInt8 = 5
  }

  package func encoded() -> [UInt8] {
    let size = (html?.utf8.count ?? 0) + (text?.utf8.count ?? 0) + (amp?.utf8.count ?? 0)
    var writer = RecordWriter(
      capacity: size + 512 + attachments.reduce(0) { $0 + $1.content.count + 256 } + (sealed?.count ?? 0))
    writer.put(Tag.authorName, authorName)
    writer.put(Tag.authorAddress, authorAddress)
    writer.put(Tag.replyTo, replyTo)
    writer.put(Tag.subject, subject)
    writer.put(Tag.html, html)
    writer.put(Tag.text, text)
    writer.put(Tag.amp, amp)
    for field in headers {
      writer.put(Tag.headerName, field.name)
      writer.put(Tag.headerValue, field.value)
    }
    for attachment in attachments {
      var part = RecordWriter(capacity: attachment.content.count + 256)
      part.put(Tag.filename, attachment.filename)
      part.put(Tag.contentType, attachment.contentType)
      part.put(Tag.content, attachment.content)
      part.put(Tag.contentID, attachment.contentID)
      part.put(Tag.isInline, attachment.isInline)
      writer.put(Tag.attachment, part.bytes)
    }
    if let sealed { writer.put(Tag.sealed, sealed) }
    if isTemplate { writer.put(Tag.isTemplate, true) }
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(RecordError) {
    self.init(authorName: nil, authorAddress: "", subject: "")
    var reader = RecordReader(bytes)
    var headerName = ""
    while let field = try reader.next() {
      switch field.tag {
      case Tag.authorName: authorName = field.string
      case Tag.authorAddress: authorAddress = field.string
      case Tag.replyTo: replyTo = field.string
      case Tag.subject: subject = field.string
      case Tag.html: html = field.string
      case Tag.text: text = field.string
      case Tag.amp: amp = field.string
      case Tag.headerName: headerName = field.string
      case Tag.headerValue: headers.append(HeaderField(name: headerName, value: field.string))
      case Tag.attachment: attachments.append(try Self.attachment(field.bytes))
      case Tag.sealed: sealed = Array(field.bytes)
      case Tag.isTemplate: isTemplate = field.bool
      default: continue
      }
    }
    guard !authorAddress.isEmpty else { throw .missing(tag: Tag.authorAddress) }
  }

  private static func attachment(_ bytes: ArraySlice<UInt8>) throws(RecordError) -> Attachment {
    var part = Attachment(filename: "", contentType: "", content: [], contentID: nil, isInline: false)
    var reader = RecordReader(bytes)
    while let field = try reader.next() {
      switch field.tag {
      case Tag.filename: part.filename = field.string
      case Tag.contentType: part.contentType = field.string
      case Tag.content: part.content = Array(field.bytes)
      case Tag.contentID: part.contentID = field.string
      case Tag.isInline: part.isInline = field.bool
      default: continue
      }
    }
    return part
  }
}

/// One field of a header, unfolded, as text.
package struct HeaderField: Sendable, Equatable {
  package var name: String
  package var value: String

  package init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}
