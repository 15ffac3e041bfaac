import DeliveryPolicy
import MailFormat
import MailModel

/// Whether a report comes from those who run the mailbox that a message went to.
///
/// The writer is who the From field says when DKIM or SPF passed for a domain in line with it (RFC 7489 §3.1, relaxed), and nobody
/// otherwise. Such a writer is vouched for when it is one of
/// - a feedback loop that is known by name (``loops``): those report for many domains;
/// - the recipient's own domain, or the one of the host that took the message, unless a provider of many mailboxes has that host:
///   there, everyone with a mailbox can write from such a domain, so only its known loop speaks for it.
///
/// So a stranger with a domain and a signature of his own can only report what was delivered to himself.
struct Reporter: Sendable, Equatable {
  /// Domains that feedback loops write from, and whose reports they are where that is one of the contract's providers. An entry with
  /// `@` is one address in a domain of mailboxes.
  static let loops: [String: MailboxProvider] = [
    "arf.mail.yahoo.com": .yahoo, "aol.net": .yahoo, "staff@hotmail.com": .microsoft, "feedback.comcast.net": .comcast, "fbl.cox.net": .cox,
    "feedback.postmaster.rr.com": .spectrum, "senderscore.net": .other, "returnpath.net": .other, "validity.com": .other,
    "fbl.fastmail.com": .other, "fbl.hostedemail.com": .other, "fbl.apps.rackspace.com": .other, "fbl.synacor.com": .other,
    "fbl.zoho.com": .other, "fbl.usa.net": .other, "feedback.bluetie.com": .other, "corp.mail.ru": .other,
  ]

  /// Lower case; empty when nothing proves it.
  private var domain: String
  private var address: String

  init(_ authentication: MailAuthentication?) {
    domain = ""
    address = ""
    guard let mail = authentication, !mail.author.isEmpty else { return }
    let signed = mail.dkim.contains { $0.result == .pass && DMARCPolicy.isAligned($0.domain, mail.author, isStrict: false) }
    let sent = mail.spf == .pass && DMARCPolicy.isAligned(mail.spfDomain, mail.author, isStrict: false)
    guard signed || sent else { return }
    domain = mail.author.lowercased()
    address = mail.authorLocalPart.lowercased() + "@" + domain
  }

  /// The feedback loop that it is; nil when it is none that we know.
  var loop: MailboxProvider? {
    if let found = Self.loops[address] { return found }
    var rest = domain[...]
    while !rest.isEmpty {
      if let found = Self.loops[String(rest)] { return found }
      guard let dot = rest.firstIndex(of: ".") else { return nil }
      rest = rest[rest.index(after: dot)...]
    }
    return nil
  }

  /// - Parameters:
  ///   - recipient: whom the message went to.
  ///   - host: that took it.
  ///   - provider: whose host that is.
  func isVouched(recipient: String, host: String?, provider: MailboxProvider) -> Bool {
    guard !domain.isEmpty else { return false }
    if loop != nil { return true }
    guard provider == .other else { return false }
    let places = [recipient.split(separator: "@").last.map(String.init), host].compactMap { $0 }
    return places.contains { DMARCPolicy.isAligned(domain, $0, isStrict: false) }
  }
}
