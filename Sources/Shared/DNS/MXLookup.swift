/// The mail hosts of a domain, as RFC 5321 §5.1 finds them.
package struct MailHosts: Sendable, Equatable {
  package struct Host: Sendable, Equatable {
    package var name: String
    package var preference: Int
    package var addresses: [String]

    package init(name: String, preference: Int, addresses: [String]) {
      self.name = name
      self.preference = preference
      self.addresses = addresses
    }
  }

  package enum Status: Sendable, Equatable {
    /// In order of preference, equal ones shuffled; each has at least one address.
    case hosts([Host])
    case noSuchDomain
    /// RFC 7505: takes no mail.
    case nullMX
    /// No MX, and neither A nor AAAA; or MX names of which surely none has an address.
    case noMailHost
    /// Nobody knows: try again when the time to live is over.
    case unknown(String)
  }

  package var status: Status
  /// Names of all MX, also of those without an address: what tells the provider.
  package var mxNames: [String]
  package var ttl: Int

  package init(status: Status, mxNames: [String], ttl: Int) {
    self.status = status
    self.mxNames = mxNames
    self.ttl = ttl
  }
}

package struct MXLookup: Sendable {
  /// More MX records than that are not looked at (contract section 11.3).
  static let maxHosts = 50

  private let resolver: DNSResolver
  private let isUsable: @Sendable (String) -> Bool

  /// - Parameter isUsable: false for addresses that mail must not be sent to (our own, loopback).
  package init(resolver: DNSResolver, isUsable: @escaping @Sendable (String) -> Bool) {
    self.resolver = resolver
    self.isUsable = isUsable
  }

  package func hosts(of domain: String) async -> MailHosts {
    let answer = await resolver.resolve(domain, .mx)
    switch answer.status {
    case .noSuchName: return MailHosts(status: .noSuchDomain, mxNames: [], ttl: answer.ttl)
    case .unknown(let why): return MailHosts(status: .unknown("MX of \(domain): \(why)"), mxNames: [], ttl: min(answer.ttl, 60))
    case .noData: return await implicit(domain, ttl: answer.ttl)
    case .found: break
    }
    let records = answer.records.compactMap(DNSRecordData.mx).prefix(Self.maxHosts)
    let named = records.filter { !$0.host.isEmpty }
    if named.isEmpty { return MailHosts(status: .nullMX, mxNames: [], ttl: answer.ttl) }
    // Equal preferences share the load: shuffle first, then sort, which keeps the order among equals.
    let ordered = named.shuffled().sorted { $0.preference < $1.preference }
    return await withAddresses(
      ordered.map { MailHosts.Host(name: $0.host, preference: $0.preference, addresses: []) }, ttl: answer.ttl)
  }

  /// No MX: the domain itself (RFC 5321 §5.1).
  private func implicit(_ domain: String, ttl: Int) async -> MailHosts {
    await withAddresses([MailHosts.Host(name: domain, preference: 0, addresses: [])], ttl: ttl)
  }

  private func withAddresses(_ hosts: [MailHosts.Host], ttl: Int) async -> MailHosts {
    let names = hosts.map(\.name)
    var found: [Int: (addresses: [String], ttl: Int, unknown: String?, refused: Bool)] = [:]
    await withTaskGroup(of: (Int, [String], Int, String?, Bool).self) { group in
      for (index, host) in hosts.enumerated() {
        group.addTask {
          let (addresses, ttl, unknown, refused) = await self.addresses(of: host.name)
          return (index, addresses, ttl, unknown, refused)
        }
      }
      for await (index, addresses, ttl, unknown, refused) in group { found[index] = (addresses, ttl, unknown, refused) }
    }
    var usable: [MailHosts.Host] = []
    var shortest = ttl
    for (index, host) in hosts.enumerated() {
      guard let row = found[index] else { continue }
      shortest = min(shortest, row.ttl)
      if !row.addresses.isEmpty {
        usable.append(MailHosts.Host(name: host.name, preference: host.preference, addresses: row.addresses))
      }
    }
    if !usable.isEmpty { return MailHosts(status: .hosts(usable), mxNames: names, ttl: shortest) }
    if let why = found.values.compactMap(\.unknown).first {
      return MailHosts(status: .unknown(why), mxNames: names, ttl: min(shortest, 60))
    }
    if found.values.contains(where: \.refused) {
      return MailHosts(status: .unknown("all mail hosts are loopback or our own addresses"), mxNames: names, ttl: shortest)
    }
    return MailHosts(status: .noMailHost, mxNames: names, ttl: shortest)
  }

  private func addresses(of name: String) async -> (addresses: [String], ttl: Int, unknown: String?, refused: Bool) {
    async let four = resolver.resolve(name, .a)
    async let six = resolver.resolve(name, .aaaa)
    let answers = await [four, six]
    let all = answers.flatMap { $0.records.compactMap(DNSRecordData.address) }
    let usable = all.filter(isUsable)
    let ttl = answers.map(\.ttl).min() ?? 60
    var unknown: String?
    for answer in answers { if case .unknown(let why) = answer.status { unknown = "address of \(name): \(why)" } }
    return (usable, ttl, usable.isEmpty ? unknown : nil, usable.isEmpty && !all.isEmpty)
  }
}
