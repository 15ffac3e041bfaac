import MailModel

/// Who may send as whom: by the domains of the API key, and by the owners of DKIM keys. Judged when a message is accepted, the same for
/// every way in.
struct SenderRights: Sendable {
  let keys: KeyStore

  /// Why not, as a text to go on after a code; nil when all of them may stand there.
  /// - Parameters:
  ///   - authors: domains (A-labels) of From and of ``Mailbox/senderFields``.
  ///   - signing: the domain whose key signs.
  ///   - allowed: the API key's domains; nil = any.
  /// - Throws: while Redis is away.
  func objection(to authors: [String], signing: String, organisation: String, allowed: [String]?) async throws -> String? {
    if let allowed, let author = authors.first(where: { !allowed.contains($0) }) {
      return "not authorized to send from \(author): the API key names other domains (allowedDomains)"
    }
    guard !Organisation.isOperators(organisation) else { return nil }
    for domain in authors + [signing] {
      if let owner = try await keys.owner(of: domain), owner != organisation {
        return "not authorized to send from \(domain): the domain is another organization's"
      }
    }
    return nil
  }
}

extension Principal {
  /// Domains that mail under this key may be from; nil = any.
  var allowedDomains: [String]? {
    if case .organisation(_, let domains) = self { return domains }
    return nil
  }
}
