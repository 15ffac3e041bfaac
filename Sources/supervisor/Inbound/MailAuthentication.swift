import DeliveryPolicy
import MailFormat

/// What SPF, DKIM and DMARC say of a mail that came in. Recorded, never a reason to refuse: servers that bounce mail sign and
/// publish as badly as they please.
struct MailAuthentication: Sendable, Equatable, CustomStringConvertible {
  enum SPF: String, Sendable {
    case pass, fail, softfail, neutral, none, temperror
  }

  var spf: SPF
  /// Of MAIL FROM, else of HELO.
  var spfDomain: String
  /// One for each signature.
  var dkim: [DKIMVerdict]
  var dmarc: DMARCPolicy.Result
  /// The domain of the one author; empty when there is not one.
  var author: String
  /// What stands before that domain; empty when there is not one author.
  var authorLocalPart = ""

  /// In the form of an Authentication-Results field's value, without the host (RFC 8601 §2.2). Everything in it has the form of
  /// a domain name or is a word of ours.
  var description: String {
    var results = ["spf=\(spf.rawValue) smtp.mailfrom=\(spfDomain)"]
    results += dkim.map { "dkim=\($0.result.rawValue) header.d=\($0.domain) header.s=\($0.selector)" }
    results.append("dmarc=\(dmarc.rawValue) header.from=\(author)")
    return results.joined(separator: "; ")
  }
}

extension MailAuthentication {
  /// As members of the payload of an inbound route (contract section 2.3): the best of several signatures.
  var fields: [(String, String)] {
    let signed = dkim.first { $0.result == .pass } ?? dkim.first
    return [("spfResult", spf.rawValue), ("dkimResult", signed?.result.rawValue ?? "none"), ("dmarcResult", dmarc.rawValue)]
  }
}
