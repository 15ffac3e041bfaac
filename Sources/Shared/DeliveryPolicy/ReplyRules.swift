internal import MailModel

/// The rule table, most telling first: a provider's enhanced codes, its own codes and fixed phrases, enhanced codes that
/// mean one thing everywhere, wording, and what is left of the codes. Each part is a file of its own.
package enum ReplyRules {
  package static let table: [ReplyRule] =
    providers + decisiveCodes.map { $0.from("registry") } + greylisting + sender + fullMailboxes + closedMailboxes + commandCodes + rates
    + ratesTranslated
    + sizes + loops + encryption
    + domainsByName + relaysByName + unknownRecipients + authentication + domains + contentListings + reputation + relaying
    + doubtfulRecipients
    + content + combinations + brokenConnections + policies + protocolFaults + transport + plainRefusals
    + remainingCodes.map { $0.from("registry") }

  /// Written from the provider's pages whose name stands first in the rule's.
  private static let providers: [ReplyRule] =
    (google + microsoft + yahoo + aol + apple + orange + northAmerica + asia + gateways + europe)
    .map { $0.from(String($0.name.prefix { $0 != "-" })) }

  /// Words by which a reply shows whose it is when the MX does not tell (a relay, a domain behind a filter).
  static let marks: [(provider: String, phrases: [String])] = [
    ("google", ["gsmtp", "gmail", "support google com", "google com mail"]),
    ("microsoft", ["protection outlook", "prod outlook com", "hotmail", "outlook com", "exchangelabs", "office com", "live com"]),
    ("yahoo", ["yahoo com", "yahooinc", "postmaster yahoo*", "yahoodns", "aol com", "verizonmedia"]),
    ("apple", ["icloud", "apple com", "me com"]),
    ("orange", ["ofr*", "orange fr", "wanadoo", "lpn*", "laposte"]),
    ("cox", ["cox net", "cox com", "cox too many*", "aup cx*"]),
    ("comcast", ["comcast"]),
    ("godaddy", ["secureserver", "godaddy"]),
    ("spectrum", ["charter net", "spectrum", "rr com", "e1110", "aup i1*", "aup in", "aup o1*"]),
    ("att", ["att net", "prodigy", "sbcglobal", "bellsouth"]),
    ("qq", ["qq com", "tencent"]),
    ("netease", ["163 com", "126 com", "netease", "mail 163"]),
    ("mimecast", ["mimecast"]),
    ("proofpoint", ["proofpoint", "pphosted"]),
    ("barracuda", ["barracuda com", "barracudanetworks"]),
    ("gmx", ["gmx", "web de", "1und1", "ionos", "kundenserver", "mail com"]),
    ("mailru", ["mail ru"]),
    ("yandex", ["yandex"]),
    ("docomo", ["docomo"]),
    ("kddi", ["ezweb", "kddi", "au com"]),
    ("facebook", ["facebook"]),
  ]

  /// Names under which a provider is known to callers → the one that rules use.
  static let aliases: [String: String] = [
    "gmail": "google", "outlook": "microsoft", "hotmail": "microsoft", "office365": "microsoft", "exchangeonline": "microsoft",
    "aol": "yahoo", "yahooinc": "yahoo", "yahoo.co.jp": "yahoo", "yahoo_japan": "yahoo", "icloud": "apple", "laposte": "orange",
    "wanadoo": "orange",
    "tencent": "qq", "163": "netease", "web.de": "gmx", "1und1": "gmx", "ionos": "gmx",
  ]

  /// Rules of ``ReplyClass/authFailure`` that ask for a login, and of ``ReplyClass/ipReputation`` that ask for a name in DNS.
  static let loginRules: Set<String> = ["login-demanded", "reply-login", "orange-authentication"]
  static let identityRules: Set<String> = ["pointer-record", "pointer-record-code", "google-pointer-record", "microsoft-pointer-record"]

  static let minute: Milliseconds = 60_000
  static let hour: Milliseconds = 3_600_000
}
