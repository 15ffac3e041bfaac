/// DMARC (RFC 7489) for one message: is a domain that SPF or DKIM vouches for in line with the author's?
package struct DMARCPolicy: Sendable, Equatable {
  package enum Request: String, Sendable { case none, quarantine, reject }

  package enum Result: String, Sendable {
    case pass, fail
    /// No policy is published.
    case none
    case temperror, permerror
  }

  package var request: Request
  /// Of subdomains, `sp=`.
  package var subdomainRequest: Request
  package var isStrictDKIM: Bool
  package var isStrictSPF: Bool

  /// Nil when it is no record of DMARC (§6.3).
  package init?(_ record: String) {
    var tags: [String: String] = [:]
    var first: String?
    for part in record.split(separator: ";") {
      let pair = part.split(separator: "=", maxSplits: 1).map { $0.filter { !$0.isWhitespace } }
      guard pair.count == 2 else { continue }
      first = first ?? "\(pair[0])=\(pair[1])"
      tags[pair[0].lowercased()] = pair[1].lowercased()
    }
    guard first == "v=DMARC1" else { return nil }
    guard let request = tags["p"].flatMap(Request.init(rawValue:)) ?? (tags["rua"] != nil ? Request.none : nil) else { return nil }
    self.request = request
    subdomainRequest = tags["sp"].flatMap(Request.init(rawValue:)) ?? request
    isStrictDKIM = tags["adkim"] == "s"
    isStrictSPF = tags["aspf"] == "s"
  }

  /// Where the policy of an author's domain may stand, in the order in which to ask (§6.6.3).
  package static func names(of author: String) -> [String] {
    let own = author.lowercased()
    let organisational = RegistrableDomain.of(own)
    return (own == organisational ? [own] : [own, organisational]).map { "_dmarc." + $0 }
  }

  /// - Parameters:
  ///   - spf: the domain that SPF passed for; nil when it passed for none.
  ///   - dkim: the domains of signatures that pass.
  package func result(author: String, spf: String?, dkim: [String]) -> Result {
    if let spf, Self.isAligned(spf, author, isStrict: isStrictSPF) { return .pass }
    return dkim.contains { Self.isAligned($0, author, isStrict: isStrictDKIM) } ? .pass : .fail
  }

  /// §3.1: the same domain, or relaxed the same organisational domain.
  package static func isAligned(_ domain: String, _ author: String, isStrict: Bool) -> Bool {
    let domain = domain.lowercased()
    let author = author.lowercased()
    return domain == author || (!isStrict && RegistrableDomain.of(domain) == RegistrableDomain.of(author))
  }
}
