import Foundation
import HTTPTypes
import Hummingbird
import Logging
import MTAConfig
import MailFormat
import NIOCore
import Redis

/// One route: method, path pattern (`:name` takes a segment), who may call it, what it does. The table of all routes is
/// `APIServer+routes.swift`, the one place that a document of the API can be made from.
struct APIRoute: Sendable {
  enum Access: Sendable {
    case open
    case master
    /// The master key or an organisation's own.
    case tenant
    /// Open from loopback only, else the master key.
    case loopbackOrMaster
  }

  var method: HTTPRequest.Method
  var path: String
  var access: Access
  /// True when the handler reads the body itself.
  var streamsBody = false
  var handler: @Sendable (APIRequest) async throws -> HTTPAnswer
}

/// A request on its way to a handler.
struct APIRequest: Sendable {
  var parameters: [String: String]
  var query: [String: String]
  var principal: Principal
  var body: @Sendable () async throws -> ByteBuffer
  /// The body in pieces as they come, for who must not hold it whole.
  var pieces: @Sendable ((ByteBuffer) throws -> Void) async throws -> Void

  func json() async throws -> JSONBody { try JSONBody(Data(try await body().readableBytesView)) }

  /// A whole number of the query.
  func number(_ name: String, _ range: ClosedRange<Int>, _ standard: Int) throws(APIError) -> Int {
    guard let text = query[name] else { return standard }
    guard let value = Int(text), range.contains(value) else {
      throw .bad("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// The organisation that a bare message id is looked for in: the key's own, else the query's.
  var organisation: String? { principal.scope ?? query["organizationId"] }
}

/// The HTTP API (DESIGN section 8.3).
struct APIServer: Sendable {
  let config: ConfigInForce
  let routes: [APIRoute]
  let credentials: Credentials
  let log: Logger
  private let audit: AuditLog?
  private let budget = BodyBudget(total: 96 << 20)
  private let keyRate: RequestRate
  private let peerRate: RequestRate

  init(config: ConfigInForce, routes: [APIRoute], credentials: Credentials, audit: AuditLog? = nil, log: Logger) {
    self.audit = audit
    self.config = config
    self.routes = routes
    self.credentials = credentials
    self.log = log
    keyRate = RequestRate(perSecond: config.limits.apiRatePerKey)
    peerRate = RequestRate(perSecond: config.limits.apiRatePerIP)
  }

  func respond(_ request: Request, peer: String?) async -> HTTPAnswer {
    let path = request.uri.path
    let segments = path.split(separator: "/", omittingEmptySubsequences: true).map {
      String($0).removingPercentEncoding ?? String($0)
    }
    var allowed: [String] = []
    for route in routes {
      guard let parameters = Self.match(route.path, segments) else { continue }
      guard route.method == request.method else {
        allowed.append(route.method.rawValue)
        continue
      }
      do {
        let principal = try await admit(route.access, request, peer)
        guard let audit, AuditedCall.isAction(route) else { return await run(route, request, parameters, principal) }
        let call = AuditedCall(route: route, token: Self.token(request), parameters: parameters, query: Self.query(request.uri.query))
        let answer = await run(route, request, parameters, principal) { call.sees($0) }
        await call.note(in: audit, principal, peer, answer)
        return answer
      } catch { return HTTPAnswer(error) }
    }
    guard !allowed.isEmpty else { return HTTPAnswer(APIError(status: 404, text: "Not Found")) }
    var answer = HTTPAnswer(APIError(status: 405, text: "Method Not Allowed"))
    answer.allow = Set(allowed).sorted().joined(separator: ", ")
    return answer
  }

  /// - Parameter seen: told the body, when the handler reads it whole.
  private func run(
    _ route: APIRoute, _ request: Request, _ parameters: [String: String], _ principal: Principal,
    seen: @escaping @Sendable (ByteBuffer) -> Void = { _ in }
  ) async -> HTTPAnswer {
    let limit = config.api.maxBodyMiB << 20
    let body = request.body
    let length = request.headers[.contentLength].flatMap { Int($0) }
    let call = APIRequest(
      parameters: parameters, query: Self.query(request.uri.query), principal: principal,
      body: {
        if let length, length > limit { throw APIError.tooLarge }
        do {
          let whole = try await body.collect(upTo: limit)
          seen(whole)
          return whole
        } catch is NIOTooManyBytesError { throw APIError.tooLarge } catch let error
          as HTTPError where error.status == .contentTooLarge
        { throw APIError.tooLarge } catch { throw APIError.unreadable }
      },
      pieces: { take in
        if let length, length > limit { throw APIError.tooLarge }
        var count = 0
        var pieces = body.makeAsyncIterator()
        while true {
          let next: ByteBuffer?
          do { next = try await pieces.next() } catch { throw APIError.unreadable }
          guard let piece = next else { return }
          count += piece.readableBytes
          guard count <= limit else { throw APIError.tooLarge }
          try take(piece)
        }
      })
    let isLarge = !route.streamsBody && request.method != .get && (length ?? 0) > BodyBudget.small && (length ?? 0) <= limit
    guard isLarge, let length else { return await answer(route, call) }
    await budget.acquire(length)
    let answer = await answer(route, call)
    await budget.release(length)
    return answer
  }

  private func answer(_ route: APIRoute, _ call: APIRequest) async -> HTTPAnswer {
    do { return try await route.handler(call) } catch let error as APIError {
      return HTTPAnswer(error)
    } catch is RedisError {
      return HTTPAnswer(Intake.away)
    } catch {
      log.error("request failed", metadata: ["path": "\(route.path)", "error": "\(error)"])
      return HTTPAnswer(APIError(status: 500, text: "Internal Server Error"))
    }
  }

  /// Who this is, if they may call the route: first the address's rate, so that guessing keys is slow too, then the key, then
  /// the key's rate.
  private func admit(_ access: APIRoute.Access, _ request: Request, _ peer: String?) async throws(APIError) -> Principal {
    switch access {
    case .open: return .anonymous
    case .loopbackOrMaster where peer.map({ $0.hasPrefix("127.") || $0 == "::1" }) ?? false: return .anonymous
    default: break
    }
    if let peer, let wait = peerRate.refusal(peer) { throw .tooMany(wait) }
    guard let token = Self.token(request) else { throw .unauthorized }
    let principal: Principal
    if Digest.isEqual(Digest.sha256(Array(token.utf8)), Digest.sha256(Array(config.api.masterKey.utf8))) {
      principal = .master
    } else {
      guard case .tenant = access else { throw .unauthorized }
      do {
        guard let holder = try await credentials.principal(token) else { throw APIError.unauthorized }
        principal = holder
      } catch let error as APIError { throw error } catch { throw Intake.away }
    }
    if let wait = keyRate.refusal(Credentials.id(token)) { throw .tooMany(wait) }
    return principal
  }

  private static func token(_ request: Request) -> String? {
    request.headers[.authorization].map { $0.hasPrefix("Bearer ") ? String($0.dropFirst("Bearer ".count)) : $0 }
  }

  private static func match(_ pattern: String, _ segments: [String]) -> [String: String]? {
    let parts = pattern.split(separator: "/")
    guard parts.count == segments.count else { return nil }
    var parameters: [String: String] = [:]
    for (part, segment) in zip(parts, segments) {
      if part.hasPrefix(":") {
        parameters[String(part.dropFirst())] = segment
      } else if part != segment {
        return nil
      }
    }
    return parameters
  }

  private static func query(_ text: String?) -> [String: String] {
    var values: [String: String] = [:]
    for pair in (text ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1).map {
        $0.replacing("+", with: " ").removingPercentEncoding ?? String($0)
      }
      if let name = parts.first { values[name] = parts.count > 1 ? parts[1] : "" }
    }
    return values
  }
}

extension APIError {
  static let unauthorized = APIError(status: 401, text: "Unauthorized")
  static func tooMany(_ seconds: Int) -> APIError { APIError(status: 429, text: "Too many requests", retryAfterSeconds: seconds) }
  /// Its framing is broken, or its client left in the middle of it.
  static let unreadable = APIError(status: 400, text: "The request body could not be read")
  static let tooLarge = APIError(status: 413, text: "Request body is too large")
}
