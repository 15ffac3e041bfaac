import Foundation
import HTTPTypes
import MailFormat
import MailModel
import NIOCore
import Redis

/// `/send` and its two siblings: body → submission → accepted, in upstream's order of checks (contract section 1.2).
struct SendHandler: Sendable {
  let intake: Intake
  let admission: Admission
  let validator: SendValidator
  let keys: KeyStore
  let rules: PoolRules
  let screen: ContentScreen
  let inspectors: Inspectors
  let bulk: BulkSenders
  let clock: WallClock

  func handle(_ mode: SendMode, _ principal: Principal, body: @Sendable () async throws -> ByteBuffer) async throws -> HTTPAnswer {
    if let refusal = admission.refusal { throw refusal }
    await intake.arrived()
    var ready: Intake.Ready
    do {
      ready = try await self.ready(try Self.decode(try await body()), mode, principal)
    } catch {
      await intake.left()
      throw error
    }
    if !inspectors.isEmpty, ready.submission.objection == nil {
      // Others need not wait for an inspector with their write.
      await intake.left()
      ready.submission.objection = try await inspectors.objection(to: ready)
      await intake.arrived()
    }
    let answer = await intake.submit(ready)
    let identity = ready.submission.workAttemptID ?? ready.submission.messageID
    switch answer {
    case .accepted(let id):
      var object = JSONObject([("success", .bool(true)), ("id", .text(id)), ("workAttemptId", .text(identity))])
      object.add(ready.warnings)
      return HTTPAnswer(.ok, object.string)
    case .duplicate(let id):
      return HTTPAnswer(
        .ok,
        JSONObject([
          ("success", .bool(true)), ("id", .text(id)), ("workAttemptId", .text(identity)), ("deduplicated", .bool(true)),
        ]).string)
    case .refused(let error): throw error
    }
  }

  /// Judged, routed and packed.
  func ready(_ body: SendBody, _ mode: SendMode, _ principal: Principal) async throws(APIError) -> Intake.Ready {
    var submission = try validator.validate(body, mode: mode, scope: principal.scope, now: clock())
    submission.readCampaign(body)
    let host = try await authorise(submission, principal)
    do {
      try await route(&submission)
      submission.objection = try await screen.objection(to: submission.content, dkimDomain: submission.dkimDomain)
    } catch { throw Intake.away }
    let packed = Intake.pack(submission.content)
    return Intake.Ready(
      submission: submission, hash: packed.hash, packed: packed.octets, size: packed.size, returnPathHost: host,
      warnings: await bulk.warnings(about: submission))
  }

  /// - Returns: the signing domain's own return-path host, if it has one.
  /// - Throws: 400 when the domain has no key: mail is not sent unsigned; 403 when organisation or key may not send as these authors.
  func authorise(_ submission: Submission, _ principal: Principal) async throws(APIError) -> String? {
    let domain = submission.dkimDomain
    let (row, objection): (KeyStore.Row?, String?)
    do {
      row = try await keys.row(domain)
      objection = try await SenderRights(keys: keys).objection(
        to: submission.authorDomains, signing: domain, organisation: submission.organisation, allowed: principal.allowedDomains)
    } catch { throw Intake.away }
    if let objection { throw .forbidden(objection.prefix(1).uppercased() + objection.dropFirst()) }
    guard let row else { throw .bad("No DKIM key for dkimDomain \(domain): register one with POST /dkim/\(domain)/register") }
    return row.returnPathHost
  }

  /// Whose IPs carry it: the organisation's rule, else what the request said.
  func route(_ submission: inout Submission) async throws {
    guard let rule = try await rules.rule(submission.organisation, from: submission.authorDomains.first, to: submission.recipient.domain)
    else { return }
    if let pool = rule.pool { submission.pool = pool }
    if let address = rule.dedicatedIp { submission.dedicatedIP = address }
  }

  private static func decode(_ buffer: ByteBuffer) throws(APIError) -> SendBody {
    let data = Data(buffer.readableBytesView)
    guard String(validating: data, as: UTF8.self) != nil, let body = try? JSONDecoder().decode(SendBody.self, from: data)
    else { throw .bad("Invalid JSON body") }
    return body
  }
}

extension Submission {
  /// Domains of From, which comes first, and of fields that name a sender too.
  var authorDomains: [String] {
    let others = content.headers.filter { Mailbox.senderFields.contains($0.name.lowercased()) }
    return ([content.authorAddress] + others.compactMap { Mailbox($0.value)?.address.description })
      .compactMap { $0.split(separator: "@").last.map(String.init) }
  }

  /// Which campaign it belongs to, by its field or by upstream's header, and whether it is one's.
  mutating func readCampaign(_ body: SendBody) {
    if campaignID == nil { campaignID = BulkSenders.campaign(content.headers) }
    isPromotional = BulkSenders.isPromotional(body, self)
  }
}

extension JSONObject {
  /// An additive member, only when there is something to tell.
  mutating func add(_ warnings: [IntakeWarning]) {
    if !warnings.isEmpty { fields.append(("warnings", JSONObject.list(warnings.map(\.object)))) }
  }
}
