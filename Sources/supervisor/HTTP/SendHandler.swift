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
  let clock: WallClock

  func handle(_ mode: SendMode, _ principal: Principal, body: @Sendable () async throws -> ByteBuffer) async throws -> HTTPAnswer {
    if let refusal = admission.refusal { throw refusal }
    await intake.arrived()
    let ready: (submission: Submission, returnPathHost: String?)
    let hash: String
    let packed: [UInt8]
    let size: Int
    do {
      var submission = try validator.validate(Self.decode(try await body()), mode: mode, scope: principal.scope, now: clock())
      guard let key = try await keys.row(submission.dkimDomain) else {
        throw APIError.bad(
          "No DKIM key for dkimDomain \(submission.dkimDomain): register one with POST /dkim/\(submission.dkimDomain)/register")
      }
      try await route(&submission)
      ready = (submission, key.returnPathHost)
      let octets = submission.content.encoded()
      size = octets.count
      hash = Digest.hex(Digest.sha256(octets))
      packed = Compression.compress(octets)
    } catch {
      await intake.left()
      throw error is RedisError ? Intake.away : error
    }
    let answer = await intake.submit(
      ready.submission, hash: hash, packed: packed, size: size, returnPathHost: ready.returnPathHost)
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
