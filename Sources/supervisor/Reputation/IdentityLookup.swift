import DNS
import DeliveryPolicy
import MailModel

/// What identity asks of DNS: PTR and addresses of an IP, and what an SPF record needs.
struct IdentityLookup: Sendable {
  typealias Resolve = @Sendable (String, DNSType) async -> DNSAnswer

  private let resolve: Resolve

  init(resolve: @escaping Resolve) { self.resolve = resolve }

  init(resolver: DNSResolver) { self.init(resolve: { await resolver.resolve($0, $1) }) }

  /// - Parameter address: as the world sees it.
  func identity(
    address: String, ehlo: String, isRequired: Bool, now: Milliseconds
  ) async -> IPIdentity {
    guard let name = IPAddress.pointerName(address) else {
      return IPIdentity(ip: address, ehlo: ehlo, pointer: .nothing, forward: [:], isRequired: isRequired, now: now)
    }
    let pointer = Self.answer(await resolve(name, .ptr)) { DNSRecordData.name($0) }
    let type = IPAddress.isIPv6(address) ? DNSType.aaaa : .a
    let hosts = IPIdentity.hosts(pointer)
    let resolve = resolve
    let answers = await concurrently(hosts, width: max(1, hosts.count)) { host in
      Self.answer(await resolve(host, type)) { DNSRecordData.address($0) }
    }
    return IPIdentity(
      ip: address, ehlo: ehlo, pointer: pointer,
      forward: Dictionary(zip(hosts, answers), uniquingKeysWith: { first, _ in first }), isRequired: isRequired, now: now)
  }

  func coverage(of address: String, domain: String) async -> SPFCoverage {
    let resolve = resolve
    return await SPFEvaluator.coverage(of: address, domain: domain) { question in
      let answer =
        switch question {
        case .txt(let name): Self.answer(await resolve(name, .txt), DNSRecordData.text)
        case .a(let name): Self.answer(await resolve(name, .a)) { DNSRecordData.address($0) }
        case .aaaa(let name): Self.answer(await resolve(name, .aaaa)) { DNSRecordData.address($0) }
        case .mx(let name): Self.answer(await resolve(name, .mx)) { DNSRecordData.mx($0)?.host }
        }
      return switch answer {
      case .found(let rows): .found(rows)
      case .nothing: .nothing
      case .failed(let why): .failed(why)
      }
    }
  }

  private static func answer(_ answer: DNSAnswer, _ read: ([UInt8]) -> String?) -> IPIdentity.Answer {
    switch answer.status {
    case .found:
      let rows = answer.records.compactMap(read)
      return rows.isEmpty ? .failed("records that cannot be read") : .found(rows)
    case .noData, .noSuchName: return .nothing
    case .unknown(let why): return .failed(why)
    }
  }
}
