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
      return HTTPAnswer(.ok, JSONObject([("success", .bool(true)), ("id", .text(id)), ("workAttemptId", .text(identity))]).string)
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
    let host = try await returnPathHost(submission.dkimDomain)
    do {
      try await route(&submission)
      submission.objection = try await screen.objection(to: submission.content, dkimDomain: submission.dkimDomain)
    } catch { throw Intake.away }
    let packed = Intake.pack(submission.content)
    return Intake.Ready(
      submission: submission, hash: packed.hash, packed: packed.octets, size: packed.size, returnPathHost: host)
  }

  /// The domain's own return-path host, if it has one.
  /// - Throws: 400 when the domain has no key: mail is not sent unsigned.
  func returnPathHost(_ dkimDomain: String) async throws(APIError) -> String? {
    let row: KeyStore.Row?
    do { row = try await keys.row(dkimDomain) } catch { throw Intake.away }
    guard let row else {
      throw .bad("No DKIM key for dkimDomain \(dkimDomain): register one with POST /dkim/\(dkimDomain)/register")
    }
    return row.returnPathHost
  }

  /// Whose IPs carry it: the organisation's rule, else what the request said.
  func route(_ submission: inout Submission) async throws {
    let author = submission.content.authorAddress.split(separator: "@").last.map { $0.lowercased() }
    guard
      let rule = try await rules.rule(submission.organisation, from: author, to: submission.recipient.domain)
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
