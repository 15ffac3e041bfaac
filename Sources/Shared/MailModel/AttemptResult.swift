/// What one attempt came to, as the worker saw it; policy is the reducer's. Travels as the outcome in Redis and as the
/// body of the journal's `reply` line.
package struct AttemptResult: Sendable, Equatable {
  package enum Kind: UInt8, Sendable {
    /// The server answered; see `stage` and `reply`. A 2xx at `.dot` is a delivery.
    case replied = 1
    /// No host could be spoken to, or all broke off before the final dot; `text` says how the last one failed.
    case connectionFailed = 2
    /// Cut between the final dot and its reply.
    case uncertain = 3
    /// Given back untouched: no attempt counted.
    case unbegun = 4
    /// Content absent or failing its hash.
    case contentMissing = 5
    /// The message cannot be built or signed; `text` says why.
    case unrenderable = 6
    /// Ended by the supervisor without an attempt; `text` is the reason (``ConcludeReason``).
    case concluded = 7
    /// The peer cannot carry it: internationalised address without SMTPUTF8, or larger than its SIZE.
    case unsupported = 8
  }

  package var kind: Kind
  package var stage: SMTPStage?
  package var reply: SMTPReply?
  /// MX host name and address of the last contact.
  package var host: String?
  package var address: String?
  package var sourceIP: String
  package var text: String?
  package var at: Milliseconds
  /// TLS protocol version of the session, nil when plain.
  package var tls: String?
  /// From taking the message up to this result, ms.
  package var duration: Milliseconds = 0
  /// A crash of its worker interrupted this message, which may be to blame: said by the supervisor when it gives it back.
  package var crashed: Bool = false

  package init(kind: Kind, sourceIP: String, at: Milliseconds) {
    self.kind = kind
    self.sourceIP = sourceIP
    self.at = at
  }

  package var isDelivered: Bool { kind == .replied && stage == .dot && (reply.map { $0.code / 100 == 2 } ?? false) }

  private enum Tag {
    static let kind: UInt8 = 1
    static let stage: UInt8 = 2
    static let code: UInt8 = 3
    static let line: UInt8 = 4
    static let host: UInt8 = 5
    static let address: UInt8 = 6
    static let sourceIP: UInt8 = 7
    static let text: UInt8 = 8
    static let at: UInt8 = 9
    static let tls: UInt8 = 10
    static let crashed: UInt8 = 11
    static let duration: UInt8 = 12
  }

  package func encoded() -> [UInt8] {
    var writer = RecordWriter(capacity: 192)
    writer.put(Tag.kind, Int(kind.rawValue))
    writer.put(Tag.stage, stage?.rawValue)
    if let reply {
      writer.put(Tag.code, reply.code)
      for line in reply.lines { writer.put(Tag.line, line) }
    }
    writer.put(Tag.host, host)
    writer.put(Tag.address, address)
    writer.put(Tag.sourceIP, sourceIP)
    writer.put(Tag.text, text)
    writer.put(Tag.at, at)
    writer.put(Tag.tls, tls)
    if crashed { writer.put(Tag.crashed, true) }
    if duration > 0 { writer.put(Tag.duration, duration) }
    return writer.bytes
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(RecordError) {
    self.init(kind: .unbegun, sourceIP: "", at: 0)
    var reader = RecordReader(bytes)
    var known = false
    var code: Int?
    var lines: [String] = []
    while let field = try reader.next() {
      switch field.tag {
      case Tag.kind:
        if let kind = Kind(rawValue: UInt8(clamping: field.int)) {
          self.kind = kind
          known = true
        }
      case Tag.stage: stage = SMTPStage(rawValue: field.string)
      case Tag.code: code = field.int
      case Tag.line: lines.append(field.string)
      case Tag.host: host = field.string
      case Tag.address: address = field.string
      case Tag.sourceIP: sourceIP = field.string
      case Tag.text: text = field.string
      case Tag.at: at = field.int64
      case Tag.tls: tls = field.string
      case Tag.crashed: crashed = field.bool
      case Tag.duration: duration = max(0, field.int64)
      default: continue
      }
    }
    guard known else { throw .missing(tag: Tag.kind) }
    if let code { reply = SMTPReply(code: code, lines: lines) }
  }
}

/// Why a message ended without an attempt.
package enum ConcludeReason: String, Sendable, CaseIterable {
  case expired, cancelled, suppressed, screened
  case noSuchDomain = "nxdomain"
  case nullMX = "null_mx"
  case noMailHost = "no_mail_host"
}
