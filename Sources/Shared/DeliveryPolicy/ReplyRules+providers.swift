extension ReplyRules {
  /// Orange and La Poste number their refusals (OFR… and LPN…).
  static let orange: [ReplyRule] = [
    ReplyRule("orange-unknown", .invalidRecipient, provider: "orange", any: ["416", "418"]),
    ReplyRule(
      "orange-listed", .ipReputation, provider: "orange", any: ["101", "102", "103", "510", "511", "999"], reaction: .otherIP,
      pause: 2 * hour),
    ReplyRule("orange-too-fast", .rateLimited, provider: "orange", any: ["104", "trop de connexions"], pause: hour),
    ReplyRule("orange-authentication", .authFailure, provider: "orange", any: ["305", "401", "402", "517"]),
    ReplyRule("orange-sender", .policy, provider: "orange", any: ["403", "405", "415", "630", "lpn* * 421", "ofr* * 421"]),
    ReplyRule("orange-full", .mailboxFull, provider: "orange", any: ["417"]),
    ReplyRule("orange-closed", .suspended, provider: "orange", any: ["420", "426", "destinataire archivee"]),
    ReplyRule("orange-spam", .spamContent, provider: "orange", any: ["506"]),
    ReplyRule("orange-size", .messageTooLarge, provider: "orange", any: ["514"]),
    ReplyRule("orange-system", .unknown, provider: "orange", any: ["505"], scope: .lane, reaction: .pauseLane, pause: hour),
    ReplyRule(
      "orange-refused", .ipReputation, provider: "orange",
      any: ["service refuse", "essayer plus tard", "105", "106", "107", "108", "109", "201"], pause: hour),
  ]

  /// Cox, GoDaddy, Comcast, Spectrum, AT&T.
  static let northAmerica: [ReplyRule] = [
    ReplyRule("cox-authentication", .authFailure, provider: "cox", any: ["cxsndr"]),
    ReplyRule("cox-protocol", .protocol, provider: "cox", any: ["cxsmtp"]),
    ReplyRule("cox-rate", .rateLimited, provider: "cox", any: ["cxcnct", "cxmxrt", "cxmsgrt"]),
    ReplyRule("cox-listed", .ipReputation, provider: "cox", any: ["cxbl", "cdrbl", "cxdns", "ipbl*"], reaction: .otherIP, pause: 2 * hour),
    ReplyRule("cox-commands", .ipReputation, provider: "cox", any: ["too many bad commands"]),
    ReplyRule("cox-dns", .ipReputation, provider: "cox", any: ["dns check failure"], scope: .ip),
    ReplyRule("cox-link", .spamContent, provider: "cox", any: ["urlbl*"]),
    ReplyRule("godaddy-rate", .rateLimited, any: ["ib007", "ib101", "ib504", "ib510", "ib605", "ib607"]),
    ReplyRule(
      "godaddy-listed", .ipReputation, any: ["ib103", "ib104", "ib105", "ib106", "ib108", "ib110", "ib111", "ib112", "ib113"],
      reaction: .otherIP,
      pause: 2 * hour),
    ReplyRule("godaddy-spf", .authFailure, any: ["ib508"]),
    ReplyRule("godaddy-sender", .policy, any: ["ib501", "ib502", "ib503", "ib505", "ib506", "ib507"]),
    ReplyRule("godaddy-unknown", .invalidRecipient, any: ["ib601*"]),
    // AUP#I-1310 and the like: what the hundreds mean is on its support pages.
    ReplyRule(
      "spectrum-policy", .policy, provider: "spectrum",
      any: ["o1*", "i101*", "i102*", "i108*", "i116*", "i117*", "i118*", "i119*", "i1500", "i1520", "i1560"]),
    ReplyRule("spectrum-size", .messageTooLarge, provider: "spectrum", any: ["i1530"]),
    ReplyRule("spectrum-later", .network, provider: "spectrum", any: ["i1090"]),
    ReplyRule(
      "spectrum-listed", .ipReputation, provider: "spectrum", any: ["i1000", "i11*", "i12*"], reaction: .otherIP, pause: 2 * hour),
    ReplyRule("spectrum-rate", .rateLimited, provider: "spectrum", any: ["i13*", "i14*", "i154*", "i155*", "i158*"], pause: hour),
    ReplyRule("facebook-unknown", .invalidRecipient, provider: "facebook", any: ["rcp p1", "int p1", "int p3", "int p4"]),
    ReplyRule("facebook-closed", .suspended, provider: "facebook", any: ["rcp t4"], reaction: .retryLong),
    ReplyRule("facebook-preferences", .policy, provider: "facebook", any: ["rcp p2", "rcp p3", "dns p1", "dns p2", "dns t1"]),
    ReplyRule("facebook-rate", .rateLimited, provider: "facebook", any: ["con t1", "con t2", "con t3", "con t4", "msg t1"]),
    ReplyRule(
      "facebook-listed", .ipReputation, provider: "facebook", any: ["pol p1", "pol p2", "pol p3", "pol p4", "pol t1", "pol t2", "pol t3"],
      pause: 4 * hour),
    ReplyRule("facebook-pointer-record", .ipReputation, provider: "facebook", any: ["dns p3", "dns t2"], scope: .ip),
    ReplyRule("facebook-content", .spamContent, provider: "facebook", any: ["pol p5", "pol p6"]),
    ReplyRule("facebook-size", .messageTooLarge, provider: "facebook", any: ["msg p1", "int p2"]),
    ReplyRule("facebook-format", .protocol, provider: "facebook", any: ["msg p2", "msg p3"]),
    ReplyRule("facebook-system", .network, provider: "facebook", any: ["rcp t1"]),
    ReplyRule(
      "comcast-domain", .rateLimited, provider: "comcast", any: ["rl000010"], scope: .organisation, reaction: .pauseOrganisation,
      pause: 5 * minute),
    ReplyRule("comcast-rate", .rateLimited, provider: "comcast", any: ["rl00*"], pause: 2 * hour),
    ReplyRule("comcast-listed", .ipReputation, provider: "comcast", any: ["bl0*", "bl1*", "es000*"], pause: 2 * hour),
  ]

  /// QQ, NetEase and the Japanese carriers. QQ says "frequency limited" with 550.
  static let asia: [ReplyRule] = [
    ReplyRule(
      "qq-frequency-of-sender", .rateLimited, any: ["domain frequency limited", "sender frequency limited"], scope: .organisation,
      reaction: .pauseOrganisation, pause: hour),
    ReplyRule("qq-frequency", .rateLimited, any: ["frequency limit*", "frequency check*"], reaction: .pauseLane, pause: hour),
    ReplyRule(
      "qq-recipient", .rateLimited, any: ["frequency of receiving"], scope: .recipient, reaction: .retry),
    ReplyRule("qq-attack", .ipReputation, provider: "qq", any: ["suspected bounce attack*", "suspected spam ip"]),
    ReplyRule("qq-content", .spamContent, any: ["content denied"]),
    ReplyRule("qq-unclear", .invalidRecipient, any: ["mailbox unavailable or access denied"], reaction: .drop),
    ReplyRule("netease-spam-later", .spamContent, codes: ["4"], any: ["dt spm"], scope: .lane, reaction: .pauseLane, pause: 15 * minute),
    ReplyRule("netease-spam", .spamContent, any: ["dt spm"]),
    ReplyRule(
      "netease-rate", .rateLimited,
      any: [
        "hl itc", "hl ita", "hl icc", "hl ifc", "mi dmc", "mi stc", "mi sfq", "rp orq", "rp qrc", "rp drc", "rp trc", "rp cel", "mi cel",
        "mi ccl", "rp ccl",
      ], reaction: .pauseLane, pause: hour),
    ReplyRule("netease-identity", .ipReputation, any: ["hl rep", "hl mep", "dt rbl", "rp rbl", "wm bli", "ip is rejected"]),
    ReplyRule("netease-spf", .authFailure, any: ["mi spf"]),
    ReplyRule("netease-sender", .policy, any: ["dt sum", "wm blu", "mi spb"]),
  ]

  /// Mimecast, Proofpoint, Barracuda and other filters before a domain's own hosts.
  static let gateways: [ReplyRule] = [
    ReplyRule(
      "mimecast-not-trusted", .ipReputation, provider: "mimecast", codes: ["4"],
      any: ["internal resource*", "recipient temporarily unavailable"], reaction: .retry),
    ReplyRule("mimecast-closed", .noMX, provider: "mimecast", any: ["inbounds disabled"]),
    ReplyRule("mimecast-submitter", .policy, provider: "mimecast", any: ["submitter failed", "outbounds disabled"]),
    ReplyRule(
      "mimecast-connections", .rateLimited, provider: "mimecast", codes: ["4"], any: ["account service is temporarily unavailable"]),
    ReplyRule("mimecast-reputation", .ipReputation, any: ["local ct ip reputation"]),
    ReplyRule("mimecast-security", .spamContent, any: ["mcspamsignature*", "email rejected due to security policies"]),
    ReplyRule("mimecast-spoofing", .policy, any: ["anti spoofing policy", "antispoofing"]),
    ReplyRule("proofpoint-listed", .ipReputation, any: ["dnsbl lookup", "ipcheck proofpoint*"], reaction: .otherIP, pause: 2 * hour),
    ReplyRule("barracuda-content", .spamContent, any: ["failure for one or more recipients"], all: ["blocked"]),
    ReplyRule("barracuda-listed", .ipReputation, any: ["barracudacentral*", "barracuda reputation"]),
    ReplyRule("cloudmark-listed", .ipReputation, any: ["cloudmark*"]),
  ]

  /// GMX, web.de and IONOS send no enhanced codes.
  static let europe: [ReplyRule] = [
    ReplyRule(
      "gmx-policy-later", .ipReputation, provider: "gmx", codes: ["4"], any: ["reject due to policy*", "policy violations"],
      reaction: .pauseLane, pause: hour),
    ReplyRule(
      "gmx-policy", .ipReputation, provider: "gmx", any: ["reject due to policy*", "ip address is block listed", "policy violations"],
      reaction: .otherIP, pause: 2 * hour),
    ReplyRule("gmx-rate", .rateLimited, provider: "gmx", any: ["rate limit reached"], pause: 2 * hour),
  ]
}
