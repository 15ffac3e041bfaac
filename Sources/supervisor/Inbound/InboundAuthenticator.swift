import DNS
import DeliveryPolicy
import MIME
import MailFormat
import MailModel
import Observability
import SMTPServer

/// Asks DNS what it takes to judge a mail by SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489), within ten seconds: what is
/// not known by then counts as a temporary fault.
struct InboundAuthenticator: Sendable {
  static let limit: Milliseconds = 10_000
  private static let perQuestion: Milliseconds = 4_000

  /// Name, type, and how long the answer may take.
  typealias Resolve = @Sendable (String, DNSType, Duration) async -> DNSAnswer

  private let resolve: Resolve

  init(resolve: @escaping Resolve) { self.resolve = resolve }

  init(resolver: DNSResolver) { self.init(resolve: { await resolver.resolve($0, $1, limit: $2) }) }

  func judge(_ mail: ReceivedMail) async -> MailAuthentication? {
    guard let octets = try? mail.content.octets() else { return nil }
    let deadline = SystemClock.monotonic() + Self.limit
    let resolve = resolve
    let ask: @Sendable (String, DNSType) async -> DNSAnswer = { name, type in
      let left = min(deadline - SystemClock.monotonic(), Self.perQuestion)
      return left > 0 ? await resolve(name, type, .milliseconds(left)) : DNSAnswer(status: .unknown("no time left"))
    }
    async let sender = Self.spf(mail, ask)
    async let signatures = DKIMVerifier(octets)?.verdicts(now: mail.receivedAt) { await Self.key($0, ask) } ?? []
    let (spf, spfDomain) = await sender
    let dkim = await signatures
    let author = Self.author(octets)
    var authentication = MailAuthentication(
      spf: spf, spfDomain: spfDomain, dkim: dkim, dmarc: .none, author: author?.domain ?? "", authorLocalPart: author?.localPart ?? "")
    guard !authentication.author.isEmpty else { return authentication }
    authentication.dmarc = await Self.dmarc(authentication, ask)
    return authentication
  }

  private static func spf(
    _ mail: ReceivedMail, _ ask: @escaping @Sendable (String, DNSType) async -> DNSAnswer
  ) async -> (MailAuthentication.SPF, String) {
    // The null return-path is checked by the name in HELO (RFC 7208 §2.4).
    let name =
      mail.returnPath.lastIndex(of: "@").map { String(mail.returnPath[mail.returnPath.index(after: $0)...]) } ?? mail.session.clientName
    guard let domain = DomainName.ascii(name), DomainName.isMailDomain(domain) else { return (.none, "") }
    switch await IdentityLookup(resolve: ask).coverage(of: mail.session.peer, domain: domain) {
    case .covered: return (.pass, domain)
    case .unknown: return (.temperror, domain)
    case .notCovered(let why):
      if why == SPFEvaluator.absent(domain) { return (.none, domain) }
      if why.hasSuffix(" in -") { return (.fail, domain) }
      return (why.hasSuffix(" in ~") ? .softfail : .neutral, domain)
    }
  }

  private static func key(_ name: String, _ ask: @Sendable (String, DNSType) async -> DNSAnswer) async -> DKIMVerifier.KeyAnswer {
    switch await texts(name, ask) {
    case .failure(let fault): .failed(fault.text)
    case .success(let texts): texts.first { $0.contains("p=") }.map(DKIMVerifier.KeyAnswer.found) ?? .nothing
    }
  }

  private static func dmarc(
    _ mail: MailAuthentication, _ ask: @Sendable (String, DNSType) async -> DNSAnswer
  ) async -> DMARCPolicy.Result {
    for name in DMARCPolicy.names(of: mail.author) {
      switch await texts(name, ask) {
      case .failure: return .temperror
      case .success(let texts):
        let policies = texts.compactMap { DMARCPolicy($0) }
        // Several policies are none (RFC 7489 §6.6.3).
        guard policies.count == 1 else { continue }
        return policies[0].result(
          author: mail.author, spf: mail.spf == .pass ? mail.spfDomain : nil, dkim: mail.dkim.filter { $0.result == .pass }.map(\.domain))
      }
    }
    return .none
  }

  private struct Fault: Error { var text: String }

  private static func texts(_ name: String, _ ask: @Sendable (String, DNSType) async -> DNSAnswer) async -> Result<[String], Fault> {
    let answer = await ask(name, .txt)
    switch answer.status {
    case .found: return .success(answer.records.compactMap(DNSRecordData.text))
    case .noData, .noSuchName: return .success([])
    case .unknown(let why): return .failure(Fault(text: why))
    }
  }

  /// The one author; nil when there are several or none (RFC 7489 §6.6.1).
  private static func author(_ octets: [UInt8]) -> EmailAddress? {
    let from = HeaderBlock.read(octets[...]).block.all("from")
    return from.count == 1 ? SendValidator.author(from[0])?.address : nil
  }
}
