internal import MailModel

/// Whether an SPF record lets an IP send for its domain.
package enum SPFCoverage: Codable, Sendable, Equatable {
  case covered
  /// For certain not: the record ends in another result, is broken, or is not there.
  case notCovered(String)
  /// DNS gave no certain answer, or the record depends on what only a message has.
  case unknown(String)

  package var isCovered: Bool { self == .covered }
}

package enum SPFQuestion: Sendable, Hashable {
  case txt(String)
  case a(String)
  case aaaa(String)
  case mx(String)
}

package enum SPFAnswer: Sendable, Equatable {
  /// Whole TXT strings, addresses, or host names.
  case found([String])
  case nothing
  case failed(String)
}

/// RFC 7208 for one question: does the record of a domain cover this IP? Macros need a message and stay undecided; so do
/// `ptr` and an `exists` with macros, unless what follows decides all the same.
package struct SPFEvaluator: Sendable {
  package typealias Lookup = @Sendable (SPFQuestion) async -> SPFAnswer

  /// Terms that ask DNS, and those of them that found nothing (RFC 7208 §4.6.4).
  static let maxLookups = 10
  static let maxVoid = 2
  static let maxHosts = 10

  private let octets: [UInt8]
  private let lookup: Lookup
  private var lookups = 0
  private var voids = 0

  /// Asks for the domain's record and evaluates it.
  package static func coverage(of ip: String, domain: String, lookup: @escaping Lookup) async -> SPFCoverage {
    guard var octets = IPAddress.octets(ip) else { return .notCovered("\(ip) is no address") }
    if octets.count == 16, octets[..<10].allSatisfy({ $0 == 0 }), octets[10] == 255, octets[11] == 255 {
      octets = Array(octets[12...])
    }
    var run = SPFEvaluator(octets: octets, lookup: lookup)
    switch await run.check(domain) {
    case .pass: return .covered
    case .notPass(let why), .none(let why): return .notCovered(why)
    case .broken(let why): return .notCovered(why)
    case .temporary(let why), .undecided(let why): return .unknown(why)
    }
  }

  /// Reasons by which callers tell the two apart from a record that does not name the IP.
  package static func absent(_ domain: String) -> String { "\(domain) has no SPF record" }
  package static func ambiguous(_ domain: String) -> String { "\(domain) has several SPF records" }

  private init(octets: [UInt8], lookup: @escaping Lookup) {
    self.octets = octets
    self.lookup = lookup
  }

  private enum Result {
    case pass
    case notPass(String)
    case none(String)
    case temporary(String)
    case broken(String)
    case undecided(String)
  }

  private enum Match {
    case yes, no
    case undecided(String)
    case temporary(String)
    case broken(String)
  }

  private mutating func check(_ domain: String) async -> Result {
    let texts: [String]
    switch await lookup(.txt(domain)) {
    case .failed(let why): return .temporary("TXT of \(domain): \(why)")
    case .nothing: texts = []
    case .found(let all): texts = all.filter(SPFRecord.isRecord)
    }
    guard let text = texts.first else { return .none(Self.absent(domain)) }
    guard texts.count == 1 else { return .broken(Self.ambiguous(domain)) }
    do {
      return await evaluate(try SPFRecord(text), domain)
    } catch { return .broken("the record of \(domain) is broken at \(error.text)") }
  }

  private mutating func evaluate(_ record: SPFRecord, _ domain: String) async -> Result {
    // Mechanisms that may have matched before: with + they may make a later failure wrong, with another qualifier a later pass.
    var mayPass: String?
    var mayFail: String?
    for directive in record.directives {
      switch await match(directive.mechanism, domain) {
      case .no: continue
      case .temporary(let why): return .temporary(why)
      case .broken(let why): return .broken(why)
      case .undecided(let why):
        if directive.qualifier == .pass { mayPass = mayPass ?? why } else { mayFail = mayFail ?? why }
      case .yes:
        if directive.qualifier == .pass { return mayFail.map(Result.undecided) ?? .pass }
        return mayPass.map(Result.undecided) ?? .notPass("\(domain) ends in \(directive.qualifier.rawValue)")
      }
    }
    guard let target = record.redirect else {
      return mayPass.map(Result.undecided) ?? .notPass("nothing in the record of \(domain) names the IP")
    }
    if target.contains("%") { return .undecided("redirect=\(target)") }
    if let fault = count() { return .broken(fault) }
    switch await check(target) {
    case .none: return .broken("redirect=\(target) has no SPF record")
    case .pass: return mayFail.map(Result.undecided) ?? .pass
    case .notPass(let why): return mayPass.map(Result.undecided) ?? .notPass(why)
    case let other: return other
    }
  }

  private mutating func match(_ mechanism: SPFRecord.Mechanism, _ domain: String) async -> Match {
    switch mechanism {
    case .all: return .yes
    case .ip(let network, let prefix): return isIn(network, prefix) ? .yes : .no
    case .ptr:
      if let fault = count() { return .broken(fault) }
      return .undecided("the record of \(domain) uses ptr")
    case .a(let name, let four, let six):
      return await asking(name ?? domain) { run, name in await run.matchAddresses(name, four, six, isTerm: true) }
    case .mx(let name, let four, let six):
      return await asking(name ?? domain) { run, name in await run.matchHosts(name, four, six) }
    case .exists(let name): return await asking(name) { run, name in await run.matchExists(name) }
    case .include(let name): return await asking(name) { run, name in await run.matchInclude(name) }
    }
  }

  /// Counts the term, and leaves macros undecided.
  private mutating func asking(
    _ name: String, _ body: (inout SPFEvaluator, String) async -> Match
  ) async -> Match {
    if let fault = count() { return .broken(fault) }
    if name.contains("%") { return .undecided("\(name) depends on the message") }
    return await body(&self, name)
  }

  private mutating func matchAddresses(_ name: String, _ four: Int, _ six: Int, isTerm: Bool) async -> Match {
    let isIPv6 = octets.count == 16
    switch await lookup(isIPv6 ? .aaaa(name) : .a(name)) {
    case .failed(let why): return .temporary("address of \(name): \(why)")
    case .nothing: return isTerm ? void() : .no
    case .found(let addresses):
      let isHere = addresses.compactMap(IPAddress.octets).contains { isIn($0, isIPv6 ? six : four) }
      return isHere ? .yes : .no
    }
  }

  private mutating func matchHosts(_ name: String, _ four: Int, _ six: Int) async -> Match {
    switch await lookup(.mx(name)) {
    case .failed(let why): return .temporary("MX of \(name): \(why)")
    case .nothing: return void()
    case .found(let hosts):
      guard hosts.count <= Self.maxHosts else { return .broken("\(name) has more than \(Self.maxHosts) MX records") }
      for host in hosts where !host.isEmpty {
        let match = await matchAddresses(host, four, six, isTerm: false)
        if case .no = match { continue }
        return match
      }
      return .no
    }
  }

  private mutating func matchExists(_ name: String) async -> Match {
    switch await lookup(.a(name)) {
    case .failed(let why): .temporary("address of \(name): \(why)")
    case .nothing: void()
    case .found: .yes
    }
  }

  /// RFC 7208 §5.2: only a pass of the other record matches; its absence breaks this one.
  private mutating func matchInclude(_ name: String) async -> Match {
    switch await check(name) {
    case .pass: .yes
    case .notPass: .no
    case .none: .broken("include:\(name) has no SPF record")
    case .temporary(let why): .temporary(why)
    case .broken(let why): .broken(why)
    case .undecided(let why): .undecided(why)
    }
  }

  private mutating func count() -> String? {
    lookups += 1
    return lookups > Self.maxLookups ? "more than \(Self.maxLookups) lookups" : nil
  }

  private mutating func void() -> Match {
    voids += 1
    return voids > Self.maxVoid ? .broken("more than \(Self.maxVoid) lookups found nothing") : .no
  }

  private func isIn(_ network: [UInt8], _ prefix: Int) -> Bool {
    guard network.count == octets.count else { return false }
    let whole = prefix / 8
    guard octets[..<whole] == network[..<whole] else { return false }
    let rest = prefix % 8
    return rest == 0 || (octets[whole] ^ network[whole]) >> UInt8(8 - rest) == 0
  }
}
