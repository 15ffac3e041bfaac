package import MailModel

/// What an hourly look at an IP's identity leads to.
package enum IdentityEffect: Sendable, Equatable {
  case pull(ip: String, reason: String, since: Milliseconds)
  case restoreThroughProbation(ip: String, since: Milliseconds)
  /// The gate stays open; told once when it begins.
  case warning(ip: String, text: String)
}

/// An IP's identity over checks and restarts. A temporary DNS error preserves the last certain verdict; an IP never measured
/// is eligible.
package struct IdentityState: Codable, Sendable, Equatable {
  /// The last certain verdict, or the first error while there is none.
  package private(set) var identity: IPIdentity?
  /// The last certain one; nil while there is none.
  package private(set) var spf: SPFCoverage?
  package private(set) var spfCheckedAt: Milliseconds?
  /// Last check without a certain answer, nil after one with.
  package private(set) var errorAt: Milliseconds?
  package private(set) var pulledSince: Milliseconds?
  package private(set) var restoredAt: Milliseconds?
  /// It is to come back through probation and is not known to have: out until then.
  package private(set) var returningSince: Milliseconds?
  private var warned: String?

  package init() {}

  package var isPulled: Bool { pulledSince != nil }
  package var pullReason: String? { isPulled ? "identity: " + (fault ?? "unknown") : nil }

  /// - Parameters:
  ///   - spf: nil when it was not asked.
  ///   - isRequired: `identity.require`. False: nothing of this pulls the IP.
  package mutating func apply(
    _ fresh: IPIdentity, spf freshSPF: SPFCoverage?, isRequired: Bool, now: Milliseconds
  ) -> [IdentityEffect] {
    errorAt = fresh.verdict == .error ? now : nil
    if fresh.verdict != .error || identity == nil || identity?.verdict == .error { identity = fresh }
    // Kept from a check under another setting.
    if isRequired, identity?.overridden == true {
      identity?.overridden = false
      identity?.verdict = .fail
    } else if !isRequired, identity?.verdict == .fail {
      identity?.overridden = true
      identity?.verdict = .warn
    }
    switch freshSPF {
    case .covered, .notCovered:
      spf = freshSPF
      spfCheckedAt = now
    case .unknown, nil: break
    }
    return act(ip: fresh.ip, isRequired: isRequired, now: now)
  }

  /// An operator restores the IP in spite of it: the next failing check pulls it again, unless `identity.require` is false.
  package mutating func overrule(now: Milliseconds) {
    returningSince = nil
    guard pulledSince != nil else { return }
    pulledSince = nil
    restoredAt = now
  }

  private mutating func act(ip: String, isRequired: Bool, now: Milliseconds) -> [IdentityEffect] {
    // Receivers refuse IPv6 without authentication; IPv4 mail they only judge harder (contract section 8).
    let lacksSPF = IPAddress.isIPv6(ip) && spf.map { !$0.isCovered } ?? false
    let fails = isRequired && (identity?.verdict == .fail || lacksSPF)
    if fails {
      warned = nil
      returningSince = nil
      guard pulledSince == nil else { return [] }
      pulledSince = now
      return [.pull(ip: ip, reason: pullReason ?? "identity", since: now)]
    }
    var effects: [IdentityEffect] = []
    if pulledSince != nil {
      pulledSince = nil
      restoredAt = now
      returningSince = now
    }
    if let returningSince { effects.append(.restoreThroughProbation(ip: ip, since: returningSince)) }
    if let fault, fault != warned { effects.append(.warning(ip: ip, text: fault)) }
    warned = fault
    return effects
  }

  /// It is in probation: its return need not be repeated.
  package mutating func returned() { returningSince = nil }

  /// What is wrong, for people; nil when nothing certain is.
  private var fault: String? {
    var faults: [String] = []
    if let identity {
      switch identity.reason {
      case .noPTR: faults.append("no PTR record")
      case .ptrNotFQDN: faults.append("the PTR record is no full host name")
      case .forwardMismatch: faults.append("\(identity.ptrNames.joined(separator: ", ")) does not lead back to the IP")
      case .ehloMismatch:
        faults.append("the PTR record says \(identity.ptrNames.joined(separator: ", ")), the greeting \(identity.ehlo)")
      case .lookupError: break
      case nil: if identity.genericPTR { faults.append("the PTR record \(identity.ehlo) is a provider's default name") }
      }
    }
    if case .notCovered(let why) = spf { faults.append("SPF does not cover the IP: \(why)") }
    return faults.isEmpty ? nil : faults.joined(separator: "; ")
  }
}
