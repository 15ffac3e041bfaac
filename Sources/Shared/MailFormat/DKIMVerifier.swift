internal import COpenSSL
package import MailModel

/// What one signature proves (RFC 6376 §3.9, RFC 8601 §2.7.1).
package struct DKIMVerdict: Sendable, Equatable {
  package enum Result: String, Sendable {
    case pass, fail
    /// Malformed signature or key, or one that may not be used.
    case permerror
    /// The key could not be looked up now.
    case temperror
  }

  package var result: Result
  /// `d=`, lower case; empty when it could not be read.
  package var domain: String
  package var selector: String
  /// Why it is no pass.
  package var reason: String?

  package init(result: Result, domain: String, selector: String, reason: String? = nil) {
    self.result = result
    self.domain = domain
    self.selector = selector
    self.reason = reason
  }
}

/// Verifies DKIM signatures (RFC 6376, RFC 8463): rsa-sha256 and ed25519-sha256, relaxed and simple, body length limits not
/// honoured (a signature that covers part of a body proves nothing about it). Keys are asked of whoever calls.
package struct DKIMVerifier: Sendable {
  /// A TXT record of `<selector>._domainkey.<domain>`.
  package enum KeyAnswer: Sendable, Equatable {
    case found(String)
    case nothing
    case failed(String)
  }

  /// Signatures looked at in one message; the rest is left out.
  package static let most = 5

  /// Octets of the longest header that is looked at: a million fields cost hundreds of times what they take on the wire, and no
  /// signer makes them.
  package static let longestHeader = 256 << 10

  private let fields: [[UInt8]]
  private let body: [UInt8]

  /// Nil when the message has no header, or none that ends within ``longestHeader``.
  package init?(_ octets: [UInt8]) {
    guard Self.endsInTime(octets) else { return nil }
    guard let split = try? MessageRenderer.split(octets) else { return nil }
    fields = split.fields
    body = split.body
  }

  private static func endsInTime(_ octets: [UInt8]) -> Bool {
    guard octets.count > longestHeader else { return true }
    var run: UInt32 = 0
    return octets.prefix(longestHeader).contains { octet in
      run = run << 8 | UInt32(octet)
      return run == 0x0D0A_0D0A
    }
  }

  /// One verdict for each signature, in the order of the header.
  package func verdicts(now: Milliseconds, key: @Sendable (String) async -> KeyAnswer) async -> [DKIMVerdict] {
    var verdicts: [DKIMVerdict] = []
    // By canonicalisation (relaxed = true): signatures mostly share one.
    var hashes: [Bool: [UInt8]] = [:]
    for index in fields.indices where RenderedMessage.name(of: fields[index]) == "dkim-signature" {
      guard verdicts.count < Self.most else { break }
      verdicts.append(await verdict(index, now, &hashes, key))
    }
    return verdicts
  }

  private func verdict(
    _ index: Int, _ now: Milliseconds, _ hashes: inout [Bool: [UInt8]], _ key: @Sendable (String) async -> KeyAnswer
  ) async -> DKIMVerdict {
    let field = fields[index]
    guard let tags = DKIMTags(String(decoding: field.drop { $0 != 0x3A }.dropFirst(), as: UTF8.self)) else {
      return DKIMVerdict(result: .permerror, domain: "", selector: "", reason: "the signature is malformed")
    }
    let domain = tags["d"].flatMap { DomainName.ascii($0) } ?? ""
    let selector = (tags["s"] ?? "").lowercased()
    func no(_ result: DKIMVerdict.Result, _ reason: String) -> DKIMVerdict {
      DKIMVerdict(result: result, domain: domain, selector: selector, reason: reason)
    }
    guard tags["v"] == "1", DomainName.isHostName(domain), DomainName.isHostName(selector) else {
      return no(.permerror, "the signature is malformed")
    }
    guard let algorithm = tags["a"].flatMap({ DKIMKey.Algorithm(rawValue: $0.lowercased()) }) else {
      return no(.permerror, "the algorithm is not known")
    }
    let methods = (tags["c"] ?? "simple/simple").lowercased().split(separator: "/").map(String.init)
    guard (1...2).contains(methods.count), methods.allSatisfy({ $0 == "simple" || $0 == "relaxed" }) else {
      return no(.permerror, "the canonicalisation is not known")
    }
    let names = (tags["h"] ?? "").lowercased().split(separator: ":").map { $0.trimmingSpaces }
    guard names.contains("from") else { return no(.permerror, "From is not signed") }
    if let identity = tags["i"]?.lowercased(), let at = identity.lastIndex(of: "@") {
      let host = identity[identity.index(after: at)...]
      guard host == domain || host.hasSuffix("." + domain) else { return no(.permerror, "i= is not below d=") }
    }
    if let expiry = tags["x"] {
      guard let seconds = Int64(expiry) else { return no(.permerror, "x= is no time") }
      guard seconds > now / 1000 else { return no(.fail, "the signature has run out") }
    }
    guard tags["l"] == nil else { return no(.fail, "only a part of the body is signed") }
    guard let signature = tags["b"].flatMap(Self.base64), let bodyHash = tags["bh"].flatMap(Self.base64) else {
      return no(.permerror, "the signature is malformed")
    }
    guard hash(isRelaxed: methods.count == 2 && methods[1] == "relaxed", &hashes) == bodyHash else {
      return no(.fail, "the body was changed")
    }
    let record: String
    switch await key("\(selector)._domainkey.\(domain)") {
    case .failed(let why): return no(.temperror, why)
    case .nothing: return no(.permerror, "there is no key")
    case .found(let text): record = text
    }
    guard let publicKey = DKIMPublicKey(record, for: algorithm) else { return no(.permerror, "the key cannot be used") }
    let input = header(names, index, isRelaxed: methods[0] == "relaxed")
    return publicKey.verifies(signature, of: input)
      ? DKIMVerdict(result: .pass, domain: domain, selector: selector) : no(.fail, "the signature does not fit")
  }

  private func hash(isRelaxed: Bool, _ hashes: inout [Bool: [UInt8]]) -> [UInt8] {
    if let known = hashes[isRelaxed] { return known }
    let hash = Digest.sha256(isRelaxed ? DKIMCanonicalization.body(body) : Self.simpleBody(body))
    hashes[isRelaxed] = hash
    return hash
  }

  /// RFC 6376 §3.4.3: empty lines at the end are one line end.
  private static func simpleBody(_ body: [UInt8]) -> [UInt8] {
    var end = body.count
    while end >= 2, body[end - 1] == 0x0A, body[end - 2] == 0x0D { end -= 2 }
    return Array(body[..<end]) + [0x0D, 0x0A]
  }

  /// The signed fields, each name from the bottom up (§5.4.2), then the signature's own field with an empty `b=`.
  private func header(_ names: [String], _ own: Int, isRelaxed: Bool) -> [UInt8] {
    var left: [String: [Int]] = [:]
    for index in fields.indices { left[RenderedMessage.name(of: fields[index]), default: []].append(index) }
    var output: [UInt8] = []
    for name in names {
      guard let index = left[name]?.popLast() else { continue }
      output += Self.canonical(fields[index], isRelaxed)
    }
    let last = Self.canonical(Self.withoutSignature(fields[own]), isRelaxed)
    return output + last.dropLast(2)
  }

  private static func canonical(_ field: [UInt8], _ isRelaxed: Bool) -> [UInt8] {
    isRelaxed ? DKIMCanonicalization.field(field)?.octets ?? [] : field
  }

  /// The value of `b=` out, all else as it is.
  private static func withoutSignature(_ field: [UInt8]) -> [UInt8] {
    guard let colon = field.firstIndex(of: 0x3A) else { return field }
    var start = colon + 1
    while start < field.count {
      let end = field[start...].firstIndex(of: 0x3B) ?? field.count
      let tag = field[start..<end]
      if let equals = tag.firstIndex(of: 0x3D), String(decoding: tag[..<equals], as: UTF8.self).trimmingSpaces == "b" {
        // The line end of the field is not the tag's.
        let stop = end == field.count && field.suffix(2) == [0x0D, 0x0A] ? field.count - 2 : end
        return Array(field[...equals]) + field[max(equals + 1, stop)...]
      }
      start = end + 1
    }
    return field
  }

  static func base64(_ text: String) -> [UInt8]? {
    let packed = text.filter { !$0.isWhitespace }
    return packed.isEmpty ? nil : Base64.decode(packed)
  }
}

/// `tag=value; …` of RFC 6376 §3.2; a tag given twice spoils the list.
struct DKIMTags {
  private var values: [String: String] = [:]

  init?(_ text: String) {
    for part in text.split(separator: ";") {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = pair[0].trimmingSpaces
      if pair.count == 1 {
        guard name.isEmpty else { return nil }
        continue
      }
      guard !name.isEmpty, values[name] == nil else { return nil }
      values[name] = pair[1].trimmingSpaces
    }
  }

  subscript(name: String) -> String? { values[name] }
}

/// A key from its DNS record (RFC 6376 §3.6.1).
struct DKIMPublicKey {
  private let pointer: KeyReference
  private let algorithm: DKIMKey.Algorithm

  private final class KeyReference {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { EVP_PKEY_free(pointer) }
  }

  /// Nil when it is revoked, malformed, too short (RFC 8301 §3.2) or of another kind than the signature.
  init?(_ record: String, for algorithm: DKIMKey.Algorithm) {
    guard let tags = DKIMTags(record), tags["v"] ?? "DKIM1" == "DKIM1", let octets = tags["p"].flatMap(DKIMVerifier.base64) else {
      return nil
    }
    let kind = (tags["k"] ?? "rsa").lowercased()
    if let hashes = tags["h"], !hashes.lowercased().split(separator: ":").contains(where: { $0.trimmingSpaces == "sha256" }) { return nil }
    if let services = tags["s"], !services.split(separator: ":").contains(where: { ["*", "email"].contains($0.trimmingSpaces) }) {
      return nil
    }
    self.algorithm = algorithm
    switch algorithm {
    case .rsa:
      guard kind == "rsa" else { return nil }
      let key = octets.withUnsafeBufferPointer { buffer in
        var start = buffer.baseAddress
        return d2i_PUBKEY(nil, &start, buffer.count)
      }
      ERR_clear_error()
      guard let key else { return nil }
      pointer = KeyReference(key)
      guard EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA, EVP_PKEY_get_bits(key) >= 1024 else { return nil }
    case .ed25519:
      guard kind == "ed25519", octets.count == 32, let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, octets, octets.count) else {
        ERR_clear_error()
        return nil
      }
      pointer = KeyReference(key)
    }
  }

  func verifies(_ signature: [UInt8], of input: [UInt8]) -> Bool {
    guard let context = EVP_MD_CTX_new() else { return false }
    defer {
      EVP_MD_CTX_free(context)
      ERR_clear_error()
    }
    let isRSA = algorithm == .rsa
    let input = isRSA ? input : Digest.sha256(input)
    return EVP_DigestVerifyInit(context, nil, isRSA ? EVP_sha256() : nil, nil, pointer.pointer) == 1
      && EVP_DigestVerify(context, signature, signature.count, input, input.count) == 1
  }
}

extension StringProtocol {
  /// Without white space at both ends.
  var trimmingSpaces: String {
    var text = Substring(self)
    while let first = text.first, first.isWhitespace { text.removeFirst() }
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return String(text)
  }
}
