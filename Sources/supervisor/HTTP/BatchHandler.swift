import Foundation
import HTTPTypes
import MailFormat
import MailModel
import NIOCore
import Redis

/// `POST /send/batch`, both forms: many bodies, or one template with many recipients (DESIGN section 8.3). The body is read
/// through once before anything is accepted, so a malformed batch changes nothing; then slices of at most 500 are accepted,
/// each member judged as `/send` would.
struct BatchHandler: Sendable {
  static let maxMessages = 1000
  static let maxRecipients = 50_000

  let send: SendHandler
  /// For bodies that are too large for memory.
  let spoolDirectory: String

  private struct Recipient: Decodable {
    var to: Member<String>
    var messageId: Member<String>
    var workAttemptId: Member<String>
    var values: Member<[String: TemplateText]>
    var engagementScore: Member<Double>

    enum CodingKeys: String, CodingKey { case to, messageId, workAttemptId, values, engagementScore }

    init(from decoder: any Decoder) throws {
      let box = try decoder.container(keyedBy: CodingKeys.self)
      to = box.member(.to)
      messageId = box.member(.messageId)
      workAttemptId = box.member(.workAttemptId)
      values = box.member(.values)
      engagementScore = box.member(.engagementScore)
    }
  }

  /// A value as text: a string as it is, a number or Boolean as JSON writes it.
  private struct TemplateText: Decodable, Sendable {
    var text: String

    init(from decoder: any Decoder) throws {
      let box = try decoder.singleValueContainer()
      if let value = try? box.decode(String.self) {
        text = value
      } else if let value = try? box.decode(Bool.self) {
        text = String(value)
      } else if let value = try? box.decode(Int64.self) {
        text = String(value)
      } else {
        text = "\(try box.decode(Double.self))"
      }
    }
  }

  /// What all recipients of a template share.
  private struct Shared {
    var base: Submission
    var names: Set<String>
    var headerNames: Set<String>
    var hash: String
    var packed: [UInt8]
    var size: Int
    var returnPathHost: String?
  }

  func handle(_ call: APIRequest) async throws -> HTTPAnswer {
    if let refusal = send.admission.refusal { throw refusal }
    let spool = BodySpool(directory: spoolDirectory)
    try await check(call, spool)
    var results = Results()
    var shared: Shared?
    var slice: [(id: String, ready: Result<Intake.Ready, APIError>)] = []
    var sliceOctets = 0
    var scanner = JSONStream(lists: ["messages", "recipients"])
    try await spool.read { bytes in
      var events: [JSONStream.Event] = []
      try scanner.feed(bytes) { events.append($0) }
      for event in events {
        switch event {
        case .member("template", let octets): shared = try await self.template(octets, call.principal)
        case .element("messages", let octets):
          slice.append(await message(octets, call.principal))
          sliceOctets += octets.count
        case .element("recipients", let octets):
          guard let shared else { continue }
          slice.append(recipient(octets, shared))
        default: continue
        }
        if slice.count == Intake.slice || sliceOctets > 8 << 20 {
          await accept(slice, shared, into: &results)
          slice = []
          sliceOctets = 0
        }
      }
    }
    await accept(slice, shared, into: &results)
    return results.answer
  }

  // MARK: reading

  /// Reads the body through: one of the two forms, within its limits, the template first, JSON to its end.
  private func check(_ call: APIRequest, _ spool: BodySpool) async throws {
    var scanner = JSONStream(lists: ["messages", "recipients"])
    var hasTemplate = false
    var seen: [String: Int] = [:]
    do {
      try await call.pieces { piece in
        try spool.append(piece)
        try scanner.feed(piece.readableBytesView) { event in
          switch event {
          case .listBegins(let name):
            guard seen[name] == nil else { throw APIError.bad("\(name) stands twice") }
            seen[name] = 0
            if name == "recipients", !hasTemplate { throw APIError.bad("template must precede recipients") }
          case .element(let name, _): seen[name, default: 0] += 1
          case .member("template", _):
            guard !hasTemplate else { throw APIError.bad("template stands twice") }
            hasTemplate = true
          case .member("messages", _): throw APIError.bad("messages must be a list of objects")
          case .member("recipients", _): throw APIError.bad("recipients must be a list of objects")
          default: break
          }
        }
      }
      try scanner.finish()
    } catch is JSONStream.Fault { throw APIError.bad("Invalid JSON body") }
    switch (seen["messages"], seen["recipients"]) {
    case (let count?, nil) where !hasTemplate:
      guard (1...Self.maxMessages).contains(count) else { throw APIError.bad("messages must be 1 to \(Self.maxMessages)") }
    case (nil, let count?) where hasTemplate:
      guard (1...Self.maxRecipients).contains(count) else { throw APIError.bad("recipients must be 1 to \(Self.maxRecipients)") }
    default: throw APIError.bad("Give messages, or template and recipients")
    }
  }

  private func template(_ octets: [UInt8], _ principal: Principal) async throws -> Shared {
    guard var body = try? JSONDecoder().decode(SendBody.self, from: Data(octets)) else { throw APIError.bad("template must be an object") }
    for (name, member) in [("to", body.to), ("messageId", body.messageId), ("workAttemptId", body.workAttemptId)] {
      if case .absent = member { continue }
      throw APIError.bad("template must not have \(name): it is each recipient's")
    }
    guard body.headers.value?.keys.contains(where: { $0.lowercased() == "message-id" }) != true else {
      throw APIError.bad("template.headers must not have Message-ID")
    }
    body.to = .value("recipient@template.example")
    body.messageId = .value("template")
    do throws(APIError) {
      var base = try send.validator.validate(body, mode: .send, scope: principal.scope, now: send.clock())
      base.content.isTemplate = true
      base.readCampaign(body)
      let names = Template.names(of: base.content)
      let host = try await send.authorise(base, principal)
      let packed = Intake.pack(base.content)
      return Shared(
        base: base, names: names.all, headerNames: names.inHeaders, hash: packed.hash, packed: packed.octets, size: packed.size,
        returnPathHost: host)
    } catch {
      throw APIError(status: error.status, text: "template: \(error.text)", code: error.code, retryAfterSeconds: error.retryAfterSeconds)
    }
  }

  private func message(_ octets: [UInt8], _ principal: Principal) async -> (id: String, ready: Result<Intake.Ready, APIError>) {
    guard let body = try? JSONDecoder().decode(SendBody.self, from: Data(octets)) else {
      return ("", .failure(.bad("must be an object")))
    }
    let id = body.messageId.value ?? ""
    do {
      return (id, .success(try await send.ready(body, .send, principal)))
    } catch { return (id, .failure(error)) }
  }

  private func recipient(_ octets: [UInt8], _ shared: Shared) -> (id: String, ready: Result<Intake.Ready, APIError>) {
    guard let body = try? JSONDecoder().decode(Recipient.self, from: Data(octets)) else {
      return ("", .failure(.bad("must be an object")))
    }
    let id = body.messageId.value ?? ""
    do throws(APIError) {
      var submission = shared.base
      (submission.messageID, submission.recipient) = try send.validator.identity(body.messageId, body.to)
      submission.workAttemptID = try send.validator.workAttemptID(body.workAttemptId, .send)
      submission.band = PriorityBand(engagementScore: send.validator.score(body.engagementScore))
      submission.values = try values(body.values, shared)
      return (
        id,
        .success(
          Intake.Ready(
            submission: submission, hash: shared.hash, packed: [], size: shared.size, returnPathHost: shared.returnPathHost))
      )
    } catch { return (id, .failure(error)) }
  }

  /// Only what the template names is kept.
  private func values(_ member: Member<[String: TemplateText]>, _ shared: Shared) throws(APIError) -> [MessageRecord.TemplateValue] {
    if member.isWrongType { throw .bad("values must be an object of texts") }
    let given = member.value ?? [:]
    var kept: [MessageRecord.TemplateValue] = []
    for name in shared.names.sorted() {
      guard let value = given[name]?.text else { throw .bad("values.\(name) is missing") }
      if shared.headerNames.contains(name) {
        guard !SendValidator.hasControl(value) else { throw .bad("values.\(name) must not contain line breaks or control characters") }
      }
      kept.append(MessageRecord.TemplateValue(name: name, value: value))
    }
    guard kept.reduce(0, { $0 + $1.value.utf8.count }) <= 65_536 else { throw .bad("values must be at most 64 KiB together") }
    if !shared.headerNames.isEmpty { try send.validator.checkHeaders(Template.fillHeaders(shared.base.content, kept)) }
    return kept
  }

  // MARK: accepting

  private func accept(
    _ slice: [(id: String, ready: Result<Intake.Ready, APIError>)], _ shared: Shared?, into results: inout Results
  ) async {
    var good: [Intake.Ready] = []
    var answers: [Int: IntakeAnswer] = [:]
    var places: [Int] = []
    for (index, item) in slice.enumerated() {
      switch item.ready {
      case .success(var ready):
        if shared != nil {
          do {
            try await send.route(&ready.submission)
            ready.submission.objection = try await send.screen.objection(
              to: ready.submission.content, dkimDomain: ready.submission.dkimDomain, values: ready.submission.values)
          } catch {
            answers[index] = .refused(Intake.away)
            continue
          }
          ready.warnings = await send.bulk.warnings(about: ready.submission)
        }
        good.append(ready)
        places.append(index)
      case .failure(let error): answers[index] = .refused(error)
      }
    }
    for (index, found) in await send.inspectors.examine(good).sorted(by: { $0.key > $1.key }) {
      switch found {
      case .success(let text): good[index].submission.objection = text
      case .failure(let error):
        answers[places[index]] = .refused(error)
        good.remove(at: index)
        places.remove(at: index)
      }
    }
    let accepted = await send.intake.submit(slice: good, sharedContent: shared?.packed)
    for (place, answer) in zip(places, accepted) { answers[place] = answer }
    let warnings = Dictionary(zip(places, good.map(\.warnings)), uniquingKeysWith: { first, _ in first })
    for (index, item) in slice.enumerated() {
      results.add(
        item.id, (try? item.ready.get())?.submission.workAttemptID, answers[index] ?? .refused(Intake.away), warnings[index] ?? [])
    }
  }

  /// The answer in the making: results in the order of the members.
  private struct Results {
    private var text = ""
    private var isAll = true

    mutating func add(_ id: String, _ workAttemptID: String?, _ answer: IntakeAnswer, _ warnings: [IntakeWarning]) {
      var object: JSONObject
      switch answer {
      case .accepted(let id):
        object = JSONObject([("success", .bool(true)), ("id", .text(id)), ("workAttemptId", .text(workAttemptID ?? id))])
        object.add(warnings)
      case .duplicate(let known):
        object = JSONObject([
          ("success", .bool(true)), ("id", .text(known)), ("workAttemptId", .text(workAttemptID ?? id)), ("deduplicated", .bool(true)),
        ])
      case .refused(let error):
        isAll = false
        object = JSONObject([
          ("success", .bool(false)), ("id", .text(id)), ("status", .number(Int64(error.status))), ("error", .text(error.text)),
        ])
        object.add("code", error.code)
      }
      if !text.isEmpty { text += "," }
      text += object.string
    }

    var answer: HTTPAnswer { HTTPAnswer(.ok, "{\"success\":\(isAll),\"results\":[\(text)]}") }
  }
}
