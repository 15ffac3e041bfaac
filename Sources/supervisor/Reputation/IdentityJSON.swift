import DeliveryPolicy
import MailModel

extension IPIdentity {
  /// `fcrdns` of one IP, keys in upstream's order (contract section 1.7).
  var json: String {
    func flag(_ value: Bool) -> JSONObject.Value { .bool(value) }
    let checks = JSONObject([
      ("ptrExists", flag(checklist.ptrExists)), ("ptrIsFqdn", flag(checklist.ptrIsFqdn)),
      ("forwardConfirmed", flag(checklist.forwardConfirmed)), ("ehloMatches", flag(checklist.ehloMatches)),
    ])
    var object = JSONObject([
      ("ip", .text(ip)), ("addressFamily", .text(IPAddress.isIPv6(ip) ? "ipv6" : "ipv4")), ("ehlo", .text(ehlo)),
      ("ptrNames", .raw("[" + ptrNames.map(JSONText.quoted).joined(separator: ",") + "]")), ("checklist", .raw(checks.string)),
      ("verdict", .text(verdict.rawValue)), ("genericPtr", .bool(genericPTR)),
    ])
    if let reason { object.fields.append(("reason", .text(reason.rawValue))) }
    object.fields += [("checkedAt", .number(checkedAt)), ("overridden", .bool(overridden))]
    return object.string
  }
}

extension SPFCoverage {
  /// `ipv6Spf` of one IPv6 address.
  func json(domain: String, checkedAt: Milliseconds) -> String {
    var object = JSONObject([("domain", .text(domain))])
    switch self {
    case .covered: object.fields.append(("verdict", .text("pass")))
    case .notCovered(let why):
      // Upstream has no word for the other ways in which a record fails to name the IP.
      let reason =
        why == SPFEvaluator.absent(domain)
        ? "no-spf-record" : why == SPFEvaluator.ambiguous(domain) ? "multiple-spf-records" : "missing-ip6-mechanism"
      object.fields += [("verdict", .text("fail")), ("reason", .text(reason))]
    case .unknown: object.fields += [("verdict", .text("error")), ("reason", .text("lookup-error"))]
    }
    object.fields.append(("checkedAt", .number(checkedAt)))
    return object.string
  }
}
