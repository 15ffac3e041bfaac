/// Every key of one installation, in one place. All carry one hash tag, so that each Function touches one slot even on a
/// Cluster. The same suffixes stand in `mta.lua`; a test compares the two.
package struct RedisKeys: Sendable {
  /// `{mta}`: KEYS[1] of every Function.
  package let prefix: String

  package init(prefix: String) { self.prefix = "{\(prefix)}" }

  /// Suffix by name, as `mta1_names` answers it.
  package static let suffixes: [String: String] = [
    "message": ":m:", "record": ":r:", "content": ":c:", "queue": ":q:", "directory": ":dir", "wake": ":wake", "ip": ":ip:",
    "outcomes": ":out:", "done": ":done:", "due": ":due", "expiry": ":exp", "held": ":held", "identity": ":id:",
    "live": ":live", "hosts": ":hosts", "journal": ":journal", "suppression": ":sup:", "counter": ":n:",
    "lanes": ":lanes", "numbers": ":numbers", "sequence": ":seq", "policy": ":policy", "claims": ":claims", "owners": ":owners",
    "sessions": ":conn:", "feedback": ":fb:", "unsubscribed": ":uns:",
  ]

  /// Hash, where one message is. Written by accept, dispatch, effects; gone at its end.
  func message(_ number: String) -> String { prefix + ":m:" + number }
  /// Hash, what it is.
  func record(_ number: String) -> String { prefix + ":r:" + number }
  /// Hash `b` zstd octets, `n` messages that use them.
  func content(_ hash: String) -> String { prefix + ":c:" + hash }
  /// Sorted set of one part: score → message number.
  func queue(_ part: String) -> String { prefix + ":q:" + part }
  /// Hash: part → `count head-score`.
  var directory: String { prefix + ":dir" }
  /// Stream, capped: parts that other hosts should look at.
  var wake: String { prefix + ":wake" }
  /// Stream of entries to one IP's worker, with consumer group `w`.
  func ip(_ address: String) -> String { prefix + ":ip:" + address }
  /// Stream of outcomes to one host's reducer that the host itself wrote.
  func outcomes(_ host: String) -> String { prefix + ":out:" + host }
  /// Stream of what one IP's worker says to its host's reducer: claims, which ``QueueStore/effects(host:trimDoneTo:_:policy:)`` judges.
  func outcomes(_ host: String, ip: String) -> String { prefix + ":out:\(host):\(ip)" }
  /// Stream of events and final records to one host's outbox and history.
  func done(_ host: String) -> String { prefix + ":done:" + host }
  /// Sorted set: due ms → message number.
  var due: String { prefix + ":due" }
  /// Hash: message number → reason.
  var held: String { prefix + ":held" }
  /// Hash of one identity or message id: `w<org>` receipt, `m<org>` number. Lives as long as its longest receipt.
  func identity(_ text: String) -> String { prefix + ":id:" + text }
  /// String: messages accepted and not ended.
  var live: String { prefix + ":live" }
  /// Set of hosts that share this installation.
  package var hosts: String { prefix + ":hosts" }
  /// Hash: IP → host that last started a worker for it.
  var owners: String { prefix + ":owners" }
  /// Hash: host, space, IP → journal position up to which all is reduced.
  var journal: String { prefix + ":journal" }
  /// Hash: host, space, IP → run of Redis to which its journal is told: within one run nothing is lost.
  var told: String { prefix + ":told" }
  /// Hash: message number → IP, stream entry, serial, of what a worker claimed and no stream holds.
  var claims: String { prefix + ":claims" }
  /// Hash: lane → time of its next permit, ms.
  var lanes: String { prefix + ":lanes" }
  /// String: number of the newest heads that a Function answered.
  var sequence: String { prefix + ":seq" }
  /// Hash: what policies remember, each row's field naming its kind and scope.
  var policy: String { prefix + ":policy" }
  /// String that says that a kind of feedback was taken for a message; lives as long as such feedback may come.
  func feedback(_ number: String, _ kind: String) -> String { prefix + ":fb:\(number):\(kind)" }
  /// String: one shared counter of dispatch.
  func counter(_ name: String) -> String { prefix + ":n:" + name }
  /// String: ``QueueFormat`` of all that lies here.
  package var format: String { prefix + ":format" }
  /// String: last message number given out to a host, in blocks.
  var numbers: String { prefix + ":numbers" }
  /// Hash of DKIM keys: domain → sealed record.
  package var dkim: String { prefix + ":dkim" }
  /// Hash of API keys: SHA-256 → JSON row.
  package var credentials: String { prefix + ":cred" }
  /// Hash: SHA-256 of an API key → ms of its last use. Apart from the key, so that a late note cannot bring a removed key back.
  package var credentialUses: String { prefix + ":creduse" }
  /// Hash: organisation → JSON of its own limits.
  package var organisationLimits: String { prefix + ":orglimit" }
  /// Hash: organisation → JSON list of its pool rules.
  package var poolRules: String { prefix + ":poolrules" }
  /// Hash: mailbox provider → JSON of what the API set in its profile.
  package var providerProfiles: String { prefix + ":isp" }
  /// Hash: part of a URL, lower case → JSON of when it was blocked.
  package var urlBlocklist: String { prefix + ":urls" }
  /// Hash: `domain:address` → JSON of an inbound route.
  package var inboundRoutes: String { prefix + ":inbound" }
  /// String: how a message to postmaster ended; lives longer than anybody looks.
  func relayEnd(_ messageID: String) -> String { prefix + ":relay:" + messageID }
  /// Hash: recipient domain → JSON of its outbound TLS mode.
  package var outboundTLS: String { prefix + ":tls" }
  /// Hash: `org:`, `domain:`, `pool:`, `campaign:` or `tag:` and a name → JSON of an operator's pause.
  package var pauses: String { prefix + ":paused" }
  /// Hash of an organisation: address, line feed, list → when it was left and in which message.
  package func unsubscribed(_ organisation: String) -> String { prefix + ":uns:" + organisation }
  /// Hash: address → row. Scope is an organisation, or `*` for all.
  package func suppression(_ scope: String) -> String { prefix + ":sup:" + scope }
}
