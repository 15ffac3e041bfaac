import AsyncHTTPClient
import DNS
import Foundation
import MailModel
import NIOCore
import NIOHTTP1

/// Calls a URL that others wrote (by the API, in DNS, in mail): resolved by us, each address judged, the connection made to the
/// very address that was judged, redirects not followed, answers bounded. URLs of the configuration file need none of this.
struct GuardedFetch: Sendable {
  enum Refusal: Error, Equatable, CustomStringConvertible {
    case notAURL
    case scheme(String)
    case credentials
    case port(Int)
    case unresolved(String)
    case forbidden(host: String, address: String, kind: String)
    /// Told, not followed: where it leads was not judged.
    case redirected(Int)
    case tooLarge

    var description: String {
      switch self {
      case .notAURL: "not a URL with a host"
      case .scheme(let scheme): "the scheme \(scheme) is not allowed"
      case .credentials: "a URL with a user or password is not allowed"
      case .port(let port): "port \(port) is not allowed"
      case .unresolved(let host): "\(host) has no address"
      case .forbidden(let host, let address, let kind): "\(host) leads to \(address): \(kind)"
      case .redirected(let status): "answered with a redirect (\(status)), which is not followed"
      case .tooLarge: "the answer is too large"
      }
    }
  }

  struct Request: Sendable {
    var url: String
    var method = HTTPMethod.GET
    var headers: [(String, String)] = []
    var body: [UInt8]?
    var timeLimit: TimeAmount = .seconds(10)
    var maxAnswer = 1 << 20

    init(url: String) { self.url = url }
  }

  struct Answer: Sendable {
    var status: Int
    var headers: [(String, String)]
    var body: [UInt8]
  }

  /// Where a URL leads, judged.
  struct Target: Sendable, Equatable {
    var url: String
    var host: String
    /// The one to connect to.
    var address: String
  }

  let addresses: AddressGuard
  var schemes: Set<String> = ["https"]
  /// Others are the ports of services that a request could be smuggled to. Nil = all.
  var ports: Set<Int>? = [80, 443, 8080, 8443]
  let group: any EventLoopGroup
  let resolve: @Sendable (String) async -> [String]

  /// Names by the product's own resolver.
  static func resolving(with resolver: DNSResolver) -> @Sendable (String) async -> [String] {
    { name in
      async let four = resolver.resolve(name, .a)
      async let six = resolver.resolve(name, .aaaa)
      return await (four.records + six.records).compactMap { DNSRecordData.address($0) }
    }
  }

  /// For the moment in which a URL is given to us: what can be said without calling it.
  func judge(_ text: String) async throws(Refusal) -> Target {
    guard var parts = URLComponents(string: text), var host = parts.host?.lowercased(), !host.isEmpty else { throw .notAURL }
    let scheme = parts.scheme?.lowercased() ?? ""
    guard schemes.contains(scheme) else { throw .scheme(scheme) }
    guard parts.user == nil, parts.password == nil else { throw .credentials }
    let port = parts.port ?? (scheme == "https" ? 443 : 80)
    if let ports, !ports.contains(port) { throw .port(port) }
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    let found: [String]
    if let literal = IPAddress.canonical(host) {
      found = [literal]
    } else {
      // `2130706433` and `0x7f.1` are addresses to some resolvers and names to none: ours is asked, and no other.
      guard host.utf8.last != UInt8(ascii: "."), host.contains("."), host.utf8.contains(where: { (0x61...0x7A).contains($0) }) else {
        throw .unresolved(host)
      }
      found = await resolve(host)
    }
    guard let first = found.first else { throw .unresolved(host) }
    // One bad address spoils the name: whoever mixes them means the bad one.
    for address in found {
      if let kind = addresses.refusal(address) { throw .forbidden(host: host, address: address, kind: kind) }
    }
    // The client looks the host up as the URL spells it: so it is spelt as it was judged.
    parts.host = parts.host?.lowercased()
    guard let url = parts.string, URL(string: url)?.host == host else { throw .notAURL }
    return Target(url: url, host: host, address: first)
  }

  /// - Throws: ``Refusal``, or the client's error when the far end cannot be reached.
  func call(_ request: Request) async throws -> Answer {
    let target = try await judge(request.url)
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    // The host's name still goes into the certificate's check and the Host field; only the lookup is taken away.
    configuration.dnsOverride = [target.host: target.address]
    configuration.timeout.connect = min(request.timeLimit, .seconds(5))
    let client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    let result: Result<Answer, any Error>
    do { result = .success(try await Self.answer(request, target.url, client)) } catch { result = .failure(error) }
    try? await client.shutdown()
    return try result.get()
  }

  private static func answer(_ request: Request, _ url: String, _ client: HTTPClient) async throws -> Answer {
    var call = HTTPClientRequest(url: url)
    call.method = request.method
    for (name, value) in request.headers { call.headers.add(name: name, value: value) }
    if let body = request.body { call.body = .bytes(ByteBuffer(bytes: body)) }
    let response = try await client.execute(call, timeout: request.timeLimit)
    guard !(300..<400).contains(response.status.code) else { throw Refusal.redirected(Int(response.status.code)) }
    do {
      let body = try await response.body.collect(upTo: request.maxAnswer)
      return Answer(
        status: Int(response.status.code), headers: response.headers.map { ($0.name, $0.value) }, body: Array(body.readableBytesView))
    } catch is NIOTooManyBytesError { throw Refusal.tooLarge }
  }
}
