import Foundation
import TestSupport
import Testing

/// Sends recorded requests and judges the answers; every difference is an exception of the table or an issue.
final class GoldenReplay {
  private let mta: MTAFixture
  private let pem: String
  private var used: Set<Int> = []

  init(mta: MTAFixture, pem: String) {
    self.mta = mta
    self.pem = pem
  }

  /// - Parameter before: called before each exchange is sent.
  func run(_ family: String, _ exchanges: [GoldenExchange], before: (GoldenExchange) async throws -> Void = { _ in }) async throws {
    for exchange in exchanges where !GoldenRecordings.isLater(exchange.request.path) {
      try await before(exchange)
      let answer = try await send(exchange)
      switch exchange.request.path {
      case "/": judgeRoot(exchange, answer)
      default: judge("\(family)/\(exchange.note)", exchange, answer.status, try? JSONValue(answer.body))
      }
    }
    for path in GoldenRecordings.notYetPaths where exchanges.contains(where: { $0.request.path.hasPrefix(path) }) {
      let method = exchanges.first { $0.request.path.hasPrefix(path) }?.request.method ?? "GET"
      #expect(try await mta.call(method, path, body: nil).status == 404, "\(path) is there: replay its recordings")
    }
  }

  private func send(_ exchange: GoldenExchange) async throws -> MTAFixture.Answer {
    let request = exchange.request
    let key: String? =
      switch request.auth {
      case "master": MTAFixture.key
      case "none": nil
      default: "nobody-has-this-key"
      }
    return try await mta.call(request.method, request.path, body: request.body.map(body), key: key)
  }

  /// What the recorder left out is put back: private keys, and long runs of one letter.
  private func body(_ value: JSONValue) -> String {
    guard case .object(var members) = value else { return value.text ?? value.json }
    // A decision is about a message of these days.
    if members["candidateProvider"] != nil { members["startedAt"] = .number((Date().timeIntervalSince1970 * 1000).rounded() - 1000) }
    if members["privateKey"] == .text("<omitted>") { members["privateKey"] = .text(pem) }
    if let html = members["html"]?.text, let match = html.firstMatch(of: #/<\.\.\. repeated "a" to (\d+) characters>$/#) {
      let start = html[..<match.range.lowerBound]
      members["html"] = .text(start + String(repeating: "a", count: max(0, (Int(match.1) ?? 0) - start.count)))
    }
    return JSONValue.object(members).json
  }

  // MARK: judging

  private func judge(_ name: String, _ exchange: GoldenExchange, _ status: Int, _ actual: JSONValue?) {
    var differences = GoldenComparison.differences(exchange.answer, actual)
    if status != exchange.response.status {
      let codes = [exchange.response.status, status].map { JSONValue.number(Double($0)) }
      differences.insert(GoldenDifference(path: "HTTP status", expected: codes[0], actual: codes[1]), at: 0)
    }
    judge(name, differences, whole: "\(status) \(actual?.json ?? "no JSON")")
  }

  private func judge(_ name: String, _ differences: [GoldenDifference], whole: String) {
    guard !differences.isEmpty else { return }
    if let index = GoldenExceptions.all.firstIndex(where: { $0.exchange == name && $0.path.isEmpty }) {
      used.insert(index)
      let ours = GoldenExceptions.all[index].ours ?? ""
      let parts = ours.split(separator: " ", maxSplits: 1).map(String.init)
      #expect(whole == "\(parts[0]) \((try? JSONValue(parts[1]))?.json ?? "")", "\(name): \(GoldenExceptions.all[index].why)")
      return
    }
    for difference in differences {
      guard let index = GoldenExceptions.all.firstIndex(where: { $0.exchange == name && $0.path == difference.path }) else {
        let (expected, actual) = (difference.expected?.json ?? "absent", difference.actual?.json ?? "absent")
        Issue.record("\(name), \(difference.path): upstream \(expected), ours \(actual)")
        continue
      }
      used.insert(index)
      let exception = GoldenExceptions.all[index]
      #expect(difference.actual?.json == exception.ours, "\(name), \(difference.path): \(exception.why)")
    }
  }

  /// Exceptions that no longer occur are no exceptions.
  func finish() {
    for (index, exception) in GoldenExceptions.all.enumerated() where !used.contains(index) {
      Issue.record("\(exception.exchange) \(exception.path): no difference any more, take the exception out (\(exception.why))")
    }
  }

  // MARK: answers of another kind

  /// Paths of upstream's list that are not offered, or not yet.
  private static let notListed: Set<String> = ["/scan"]

  private func judgeRoot(_ exchange: GoldenExchange, _ answer: MTAFixture.Answer) {
    func list(_ value: JSONValue?) -> Set<String> { Set((value?["docs"]?.text ?? "").components(separatedBy: ", ")) }
    guard case .object(var members) = exchange.answer, let ours = try? JSONValue(answer.body) else {
      Issue.record("no JSON at /: \(answer.body)")
      return
    }
    let missing = list(exchange.answer).subtracting(Self.notListed).subtracting(list(ours))
    #expect(missing.isEmpty, "/ does not tell of \(missing.sorted())")
    #expect(list(ours).isDisjoint(with: Self.notListed))
    members["docs"] = nil
    judge("root-health-metrics/root", exchange.replacing(.object(members)), answer.status, ours)
  }

  /// Families of upstream that are not there yet.
  private static let noMetrics: Set<String> = [
    "mta_warming_phase gauge", "mta_sts_enforced_total counter", "mta_sts_mx_skipped_total counter",
    "mta_unattributed_bounces_total counter", "mta_fbl_complaints_total counter", "mta_fbl_complaints_by_campaign_total counter",
    "mta_cfbl_attributions_total counter", "mta_cfbl_emissions_total counter", "mta_cfbl_rejections_total counter",
    "mta_smtp_pool_connections gauge", "mta_smtp_pool_reused_total counter", "mta_tls_failures_total counter",
    "mta_tls_reports_sent_total counter",
  ]

  /// Asked when mail has been sent: a family of ours appears with its first sample.
  func metrics(_ exchanges: [GoldenExchange]) async throws {
    let exchange = try #require(exchanges.first { $0.request.path == "/metrics" })
    let answer = try await send(exchange)
    func types(_ text: String) -> Set<String> {
      Set(text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { String($0.dropFirst("# TYPE ".count)) })
    }
    #expect(answer.status == exchange.response.status)
    #expect(answer.headers["content-type"] == exchange.response.headers.first { $0[0] == "Content-Type" }?[1])
    #expect(types(exchange.response.body_text ?? "").subtracting(types(answer.body)) == Self.noMetrics)
  }

  /// The log, by message: ours also holds what upstream refused for want of a lease, so pages begin elsewhere.
  func logs(_ exchanges: [GoldenExchange]) async throws {
    func rows() async throws -> [JSONValue] { try JSONValue(try await mta.get("/delivery-logs?limit=1000").body)["entries"]?.list ?? [] }
    let wanted = Set(exchanges.flatMap { ($0.answer["entries"] ?? $0.answer["events"])?.list ?? [] }.compactMap { $0["messageId"]?.text })
    try await eventually("the log has them all") { Set(try await rows().compactMap { $0["messageId"]?.text }).isSuperset(of: wanted) }
    let all = try await rows()
    for exchange in exchanges {
      let answer = try await send(exchange)
      var actual = try? JSONValue(answer.body)
      if case .object(var members) = actual, let recorded = exchange.answer["entries"]?.list {
        if exchange.answer["nextCursor"] != nil { #expect(members["entries"]?.list?.count == recorded.count, "\(exchange.note)") }
        members["entries"] = .list(recorded.map { row in all.first { $0["messageId"] == row["messageId"] } ?? .null })
        actual = .object(members)
      }
      judge("delivery-logs/\(exchange.note)", exchange, answer.status, actual)
    }
  }

  /// The final event of each message that was replayed.
  func events(_ recording: JSONValue) async throws {
    let finals: Set<String> = ["sent", "bounced", "failed", "uncertain"]
    let ids = Set((12...49).map { "gold-00\($0)" } + ["gold-camp", "gold-mtest"])
    let posts = (recording["posts"]?.list ?? []).compactMap { $0["body"] }
      .filter { finals.contains($0["event"]?.text ?? "") && ids.contains($0["messageId"]?.text ?? "") }
    #expect(posts.count == 15)
    for post in posts {
      let id = post["messageId"]?.text ?? ""
      try await eventually("\(id) is told") { mta.receiver.all.contains { $0.messageID == id && finals.contains($0.event) } }
      let ours = try mta.receiver.all.first { $0.messageID == id && finals.contains($0.event) }.map { try JSONValue($0.body) }
      judge("webhooks/\(id)", GoldenComparison.differences(post, ours), whole: ours?.json ?? "")
    }
  }
}

extension GoldenExchange {
  fileprivate func replacing(_ answer: JSONValue) -> GoldenExchange {
    var copy = self
    copy.response.body = answer
    return copy
  }
}
