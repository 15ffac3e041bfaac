import Foundation

/// A JSON member that may be absent or of another type than it should be.
enum Member<Value: Sendable>: Sendable {
  case absent
  case wrongType
  case value(Value)

  var value: Value? {
    if case .value(let value) = self { return value }
    return nil
  }

  var isWrongType: Bool {
    if case .wrongType = self { return true }
    return false
  }
}

/// The body of `/send`, `/send/system` and `/send/postbox` as it came: read once, judged by ``SendValidator``.
struct SendBody: Decodable, Sendable {
  struct Attachment: Decodable, Sendable {
    var filename: Member<String>
    var contentType: Member<String>
    var content: Member<String>
    var contentId: Member<String>
    var disposition: Member<String>

    enum CodingKeys: String, CodingKey { case filename, contentType, content, contentId, disposition }

    init(from decoder: any Decoder) throws {
      let box = try decoder.container(keyedBy: CodingKeys.self)
      filename = box.member(.filename)
      contentType = box.member(.contentType)
      content = box.member(.content)
      contentId = box.member(.contentId)
      disposition = box.member(.disposition)
    }
  }

  /// A time as RFC 3339 text or Unix milliseconds.
  enum TimeValue: Decodable, Sendable {
    case text(String)
    case number(Double)

    init(from decoder: any Decoder) throws {
      let box = try decoder.singleValueContainer()
      if let text = try? box.decode(String.self) {
        self = .text(text)
      } else {
        self = .number(try box.decode(Double.self))
      }
    }
  }

  /// `true`, `false` or `{list}`.
  enum UnsubscribeValue: Decodable, Sendable {
    case flag(Bool)
    case list(Member<String>)

    enum CodingKeys: String, CodingKey { case list }

    init(from decoder: any Decoder) throws {
      if let flag = try? decoder.singleValueContainer().decode(Bool.self) {
        self = .flag(flag)
      } else {
        self = .list(try decoder.container(keyedBy: CodingKeys.self).member(.list))
      }
    }
  }

  /// Only that it is there, and of what kind.
  struct Anything: Decodable, Sendable {
    init(from decoder: any Decoder) throws {}
  }

  var messageId: Member<String>
  var to: Member<String>
  var from: Member<String>
  var subject: Member<String>
  var html: Member<String>
  var text: Member<String>
  var amp: Member<String>
  var replyTo: Member<String>
  var headers: Member<[String: String]>
  var ipPool: Member<String>
  var organizationId: Member<String>
  var dkimDomain: Member<String>
  var engagementScore: Member<Double>
  var messageType: Member<String>
  var deliveryDomain: Member<String>
  var workAttemptId: Member<String>
  var routingLease: Member<Anything>
  var routingReentryToken: Member<Anything>
  var routingReentry: Member<Anything>
  var allowedFromAddresses: Member<[String]>
  var sealedMimeBase64: Member<String>
  var attachments: Member<[Attachment]>
  var tags: Member<[String]>
  var campaignId: Member<String>
  var sendAt: Member<TimeValue>
  var deliverBy: Member<TimeValue>
  var tracking: Member<[String: Bool]>
  var unsubscribe: Member<UnsubscribeValue>

  enum CodingKeys: String, CodingKey {
    case messageId, to, from, subject, html, text, amp, replyTo, headers, ipPool, organizationId, dkimDomain
    case engagementScore, messageType, deliveryDomain, workAttemptId, routingLease, routingReentryToken, routingReentry
    case allowedFromAddresses, sealedMimeBase64, attachments, tags, campaignId, sendAt, deliverBy, tracking, unsubscribe
  }

  init(from decoder: any Decoder) throws {
    let box = try decoder.container(keyedBy: CodingKeys.self)
    messageId = box.member(.messageId)
    to = box.member(.to)
    from = box.member(.from)
    subject = box.member(.subject)
    html = box.member(.html)
    text = box.member(.text)
    amp = box.member(.amp)
    replyTo = box.member(.replyTo)
    headers = box.member(.headers)
    ipPool = box.member(.ipPool)
    organizationId = box.member(.organizationId)
    dkimDomain = box.member(.dkimDomain)
    engagementScore = box.member(.engagementScore)
    messageType = box.member(.messageType)
    deliveryDomain = box.member(.deliveryDomain)
    workAttemptId = box.member(.workAttemptId)
    routingLease = box.member(.routingLease)
    routingReentryToken = box.member(.routingReentryToken)
    routingReentry = box.member(.routingReentry)
    allowedFromAddresses = box.member(.allowedFromAddresses)
    sealedMimeBase64 = box.member(.sealedMimeBase64)
    attachments = box.member(.attachments)
    tags = box.member(.tags)
    campaignId = box.member(.campaignId)
    sendAt = box.member(.sendAt)
    deliverBy = box.member(.deliverBy)
    tracking = box.member(.tracking)
    unsubscribe = box.member(.unsubscribe)
  }
}

extension KeyedDecodingContainer {
  /// null counts as absent.
  func member<Value: Decodable & Sendable>(_ key: Key) -> Member<Value> {
    guard contains(key), (try? decodeNil(forKey: key)) == false else { return .absent }
    guard let value = try? decode(Value.self, forKey: key) else { return .wrongType }
    return .value(value)
  }
}
