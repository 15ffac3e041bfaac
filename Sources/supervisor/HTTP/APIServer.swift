import Foundation
import HTTPTypes
import Hummingbird
import Logging
import MTAConfig
import MailFormat
import NIOCore

/// One route: method, path pattern (`:name` takes a segment), who may call it, what it does. The table of all routes is
/// `APIServer+routes.swift`, the one place that a document of the API can be made from.
struct APIRoute: Sendable {
  enum Access: Sendable {
    case open
    case master
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
  var body: @Sendable () async throws -> ByteBuffer
}

/// The HTTP API (DESIGN section 8.3).
struct APIServer: Sendable {
  let config: MTAConfig
  let routes: [APIRoute]
  let log: Logger

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
      guard isAllowed(route.access, request, peer) else { return HTTPAnswer(APIError(status: 401, text: "Unauthorized")) }
      return await run(route, request, parameters)
    }
    guard !allowed.isEmpty else { return HTTPAnswer(APIError(status: 404, text: "Not Found")) }
    var answer = HTTPAnswer(APIError(status: 405, text: "Method Not Allowed"))
    answer.allow = Set(allowed).sorted().joined(separator: ", ")
    return answer
  }

  private func run(_ route: APIRoute, _ request: Request, _ parameters: [String: String]) async -> HTTPAnswer {
    let limit = config.api.maxBodyMiB << 20
    let body = request.body
    let length = request.headers[.contentLength].flatMap { Int($0) }
    let call = APIRequest(parameters: parameters, query: Self.query(request.uri.query)) {
      if let length, length > limit { throw APIError.tooLarge }
      do { return try await body.collect(upTo: limit) } catch is NIOTooManyBytesError { throw APIError.tooLarge } catch let error
        as HTTPError where error.status == .contentTooLarge
      { throw APIError.tooLarge }
    }
    do { return try await route.handler(call) } catch let error as APIError {
      return HTTPAnswer(error)
    } catch is RedisUnavailable {
      return HTTPAnswer(Intake.away)
    } catch {
      log.error("request failed", metadata: ["path": "\(route.path)", "error": "\(error)"])
      return HTTPAnswer(APIError(status: 500, text: "Internal Server Error"))
    }
  }

  private func isAllowed(_ access: APIRoute.Access, _ request: Request, _ peer: String?) -> Bool {
    switch access {
    case .open: return true
    case .loopbackOrMaster where peer.map({ $0.hasPrefix("127.") || $0 == "::1" }) ?? false: return true
    case .master, .loopbackOrMaster:
      guard let header = request.headers[.authorization] else { return false }
      let token = header.hasPrefix("Bearer ") ? String(header.dropFirst("Bearer ".count)) : header
      return Digest.isEqual(
        Digest.sha256(Array(token.utf8)), Digest.sha256(Array(config.api.masterKey.utf8)))
    }
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

/// Redis is away, in a handler that needs it.
struct RedisUnavailable: Error {}

extension APIError {
  static let tooLarge = APIError(status: 413, text: "Request body is too large")
}
