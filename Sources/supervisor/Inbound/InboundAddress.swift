import MTAConfig
import MailFormat
import MailModel

/// What an address that mail comes in for stands for. A forged token is nobody's address.
enum InboundAddress: Sendable, Equatable {
  /// A signed return-path: bounces.
  case returnPath(VERPSigner.Verdict)
  /// A signed feedback address: complaints (RFC 9477).
  case complaints(MessageNumber)
  /// The address to register with providers' feedback loops: `fbl@` the bounce domain. It proves nothing; the report must.
  case feedback
  /// Where a subject with a token unsubscribes.
  case unsubscribe
  /// postmaster and abuse of our own domains (RFC 5321 §4.5.1, RFC 2142).
  case postmaster
  case route(InboundRoutes.Route)
  /// Looks like one of our tokens and is none.
  case forged
  case unknown
}

/// Reads addresses of RCPT.
struct InboundAddresses: Sendable {
  private let signer: VERPSigner
  private let ownDomains: Set<String>
  private let bounceDomain: String
  private let routes: InboundRoutes
  private let returnPathHosts: @Sendable () async throws -> Set<String>

  /// - Parameter returnPathHosts: of the DKIM domains that have their own.
  init(
    config: MTAConfig, signer: VERPSigner, routes: InboundRoutes, returnPathHosts: @escaping @Sendable () async throws -> Set<String>
  ) {
    self.signer = signer
    self.routes = routes
    self.returnPathHosts = returnPathHosts
    bounceDomain = config.bounce.domain
    ownDomains = Set([config.bounce.domain, config.hostname] + config.sourceIPs.map(\.ehloName))
  }

  /// - Throws: when Redis does not answer.
  func read(_ text: String, now: Milliseconds) async throws -> InboundAddress {
    guard text.lowercased() != "postmaster" else { return .postmaster }
    guard let address = EmailAddress(text) else { return .unknown }
    switch signer.verify(localPart: address.localPart, now: now) {
    case .notVERP: break
    case .forged: return .forged
    case let verdict: return .returnPath(verdict)
    }
    switch signer.verify(complaintLocalPart: address.localPart) {
    case .notVERP: break
    case .message(let number): return .complaints(number)
    case .forged, .messageID: return .forged
    }
    let local = address.localPart.lowercased()
    var isOwn = ownDomains.contains(address.domain)
    if !isOwn, ["postmaster", "abuse"].contains(local) { isOwn = try await returnPathHosts().contains(address.domain) }
    if isOwn, ["postmaster", "abuse"].contains(local) { return .postmaster }
    if local == "unsubscribe", address.domain == bounceDomain { return .unsubscribe }
    if local == "fbl", address.domain == bounceDomain { return .feedback }
    if let route = try await routes.route(to: address) { return .route(route) }
    return .unknown
  }
}
