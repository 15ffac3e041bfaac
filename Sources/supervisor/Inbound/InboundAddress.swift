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
  /// postmaster and abuse of our own domains, postmaster of domains that routes take mail for (RFC 5321 §4.5.1, RFC 2142).
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
  private let returnPathHosts: Remembered<Set<String>>
  private let routedDomains: Remembered<Set<String>>

  /// - Parameter returnPathHosts: of the DKIM domains that have their own.
  init(
    config: MTAConfig, signer: VERPSigner, routes: InboundRoutes, returnPathHosts: @escaping @Sendable () async throws -> Set<String>
  ) {
    self.signer = signer
    self.routes = routes
    self.returnPathHosts = Remembered(returnPathHosts)
    routedDomains = Remembered { Set(try await routes.all().map(\.domain)) }
    bounceDomain = config.bounce.domain
    ownDomains = Set([config.bounce.domain, config.hostname] + config.sourceIPs.map(\.ehloName))
  }

  /// - Throws: when Redis does not answer.
  func read(_ text: String, now: Milliseconds) async throws -> InboundAddress {
    guard text.lowercased() != "postmaster" else { return .postmaster }
    guard let address = EmailAddress(text) else { return .unknown }
    let local = address.localPart.lowercased()
    let isRole = ["postmaster", "abuse"].contains(local)
    let token = token(address.localPart, now)
    var isOwn = ownDomains.contains(address.domain)
    if !isOwn, isRole || token != nil { isOwn = try await returnPathHosts.value().contains(address.domain) }
    if isOwn {
      if let token { return token }
      if isRole { return .postmaster }
      if local == "unsubscribe", address.domain == bounceDomain { return .unsubscribe }
      if local == "fbl", address.domain == bounceDomain { return .feedback }
    }
    let route = try await routes.route(to: address)
    if local == "postmaster", try await isRefused(route, postmasterOf: address.domain) { return .postmaster }
    if let route { return .route(route) }
    // One that was made for a host that has been ours is ours still; elsewhere what looks like one may be anybody's.
    return token ?? .unknown
  }

  /// What a local part of the form of our tokens stands for; nil when it has not that form.
  private func token(_ localPart: String, _ now: Milliseconds) -> InboundAddress? {
    switch signer.verify(localPart: localPart, now: now) {
    case .notVERP: break
    case .forged: return .forged
    case let verdict: return .returnPath(verdict)
    }
    switch signer.verify(complaintLocalPart: localPart) {
    case .notVERP: return nil
    case .message(let number): return .complaints(number)
    case .forged, .messageID: return .forged
    }
  }

  /// Whether the domain is one that mail is taken in for, and nobody there is its postmaster. A route of that very address is its
  /// owner's word, whatever it says.
  private func isRefused(_ route: InboundRoutes.Route?, postmasterOf domain: String) async throws -> Bool {
    if let route { return route.address == "*" && !route.mode.takesMail }
    return try await routedDomains.value().contains(domain)
  }
}
