package import MailModel

/// Forward-confirmed reverse DNS of one IP (contract section 1.7, `fcrdns`): a PTR exists, its name leads back to the IP, and
/// the IP greets with it.
package struct IPIdentity: Codable, Sendable, Equatable {
  package enum Verdict: String, Codable, Sendable {
    case pass, warn, fail, error
  }

  package enum Reason: String, Codable, Sendable {
    case noPTR = "no-ptr"
    case ptrNotFQDN = "ptr-not-fqdn"
    case forwardMismatch = "forward-mismatch"
    case ehloMismatch = "ehlo-mismatch"
    case lookupError = "lookup-error"
  }

  package struct Checklist: Codable, Sendable, Equatable {
    package var ptrExists = false
    package var ptrIsFqdn = false
    package var forwardConfirmed = false
    package var ehloMatches = false

    package init(ptrExists: Bool = false, ptrIsFqdn: Bool = false, forwardConfirmed: Bool = false, ehloMatches: Bool = false) {
      self.ptrExists = ptrExists
      self.ptrIsFqdn = ptrIsFqdn
      self.forwardConfirmed = forwardConfirmed
      self.ehloMatches = ehloMatches
    }
  }

  /// What DNS said to one question of identity.
  package enum Answer: Sendable, Equatable {
    /// Names (PTR) or addresses (A, AAAA), as text.
    case found([String])
    case nothing
    case failed(String)
  }

  /// More PTR records than that are not followed.
  package static let maxNames = 10

  package var ip: String
  package var ehlo: String
  package var ptrNames: [String]
  package var checklist: Checklist
  package var verdict: Verdict
  package var reason: Reason?
  /// The name spells the address, as providers' default names do: it passes with a warning.
  package var genericPTR: Bool
  package var checkedAt: Milliseconds
  /// `identity.require: false` lets the IP send in spite of ``reason``.
  package var overridden: Bool

  /// - Parameters:
  ///   - ip: as the world sees it.
  ///   - forward: addresses of each PTR name, of the IP's family.
  ///   - isRequired: `identity.require`; false turns a failure into a warning.
  package init(
    ip: String, ehlo: String, pointer: Answer, forward: [String: Answer], isRequired: Bool, now: Milliseconds
  ) {
    self.ip = ip
    self.ehlo = ehlo
    checkedAt = now
    ptrNames = []
    checklist = Checklist()
    genericPTR = false
    overridden = false
    (verdict, reason) = (.error, .lookupError)
    switch pointer {
    case .failed: return
    case .nothing: (verdict, reason) = (.fail, .noPTR)
    case .found(let names):
      ptrNames = names.prefix(Self.maxNames).map(Self.plain)
      guard read(forward) else { return }
    }
    if verdict == .fail, !isRequired {
      verdict = .warn
      overridden = true
    }
  }

  /// False when an answer that would decide is missing: nothing is certain then.
  private mutating func read(_ forward: [String: Answer]) -> Bool {
    guard !ptrNames.isEmpty else {
      (verdict, reason) = (.fail, .noPTR)
      return true
    }
    checklist.ptrExists = true
    let hosts = ptrNames.filter { DomainName.isMailDomain($0) }
    guard !hosts.isEmpty else {
      (verdict, reason) = (.fail, .ptrNotFQDN)
      return true
    }
    checklist.ptrIsFqdn = true
    let own = IPAddress.canonical(ip) ?? ip
    let confirmed = hosts.filter { host in
      guard case .found(let addresses)? = forward[host] else { return false }
      return addresses.contains { IPAddress.canonical($0) == own }
    }
    checklist.forwardConfirmed = !confirmed.isEmpty
    let wanted = Self.plain(ehlo)
    checklist.ehloMatches = confirmed.contains(wanted)
    if checklist.ehloMatches {
      genericPTR = Self.spellsAddress(wanted, own)
      (verdict, reason) = (genericPTR ? .warn : .pass, nil)
      return true
    }
    // A name that could still have confirmed, or could be the greeting's, was not answered.
    let isOpen = hosts.contains { host in
      switch forward[host] {
      case .failed, nil: confirmed.isEmpty || host == wanted
      case .found, .nothing: false
      }
    }
    if isOpen { return false }
    (verdict, reason) = (.fail, confirmed.isEmpty ? .forwardMismatch : .ehloMismatch)
    return true
  }

  /// The PTR names to ask addresses of.
  package static func hosts(_ pointer: Answer) -> [String] {
    guard case .found(let names) = pointer else { return [] }
    return names.prefix(maxNames).map(plain).filter { DomainName.isMailDomain($0) }
  }

  private static func plain(_ name: String) -> String {
    (name.hasSuffix(".") ? String(name.dropLast()) : name).lowercased()
  }

  /// `static.7-113-0-203.isp.example`: all four octets, in either order, beside each other.
  private static func spellsAddress(_ name: String, _ address: String) -> Bool {
    guard let octets = IPAddress.octets(address), octets.count == 4 else { return false }
    let numbers = name.split { !("0"..."9").contains($0) }.compactMap { UInt8($0) }
    return numbers.count >= 4
      && numbers.indices.dropLast(3).contains { start in
        let run = Array(numbers[start..<(start + 4)])
        return run == octets || run == octets.reversed()
      }
  }
}
