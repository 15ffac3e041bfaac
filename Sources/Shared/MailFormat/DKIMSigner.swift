package import MailModel

/// rsa-sha256 and ed25519-sha256, relaxed/relaxed, with the contract's fields signed and oversigned (contract section 11.2, RFC 6376).
package enum DKIMSigner {
  static let signed: [String] = [
    "from", "sender", "reply-to", "subject", "date", "message-id", "to", "cc", "mime-version", "content-type",
    "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post", "cfbl-address", "cfbl-feedback-id",
  ]
  /// Named once more than they occur, so that adding one breaks the signature (RFC 6376 §5.4).
  static let oversigned: [String] = ["from", "subject", "to", "cfbl-address", "cfbl-feedback-id"]

  /// One `DKIM-Signature` field for each key, with CRLF, to be put before all others. Body and header are read once.
  package static func signatures(of message: RenderedMessage, with keys: [DKIMKey], now: Milliseconds) throws(RenderError) -> [[UInt8]] {
    let bodyHash = Base64.string(Digest.sha256(DKIMCanonicalization.body(message.body)))
    var byName: [String: [[UInt8]]] = [:]
    for field in message.fields {
      guard let (name, octets) = DKIMCanonicalization.field(field) else { throw .signing("a field has no colon") }
      byName[name, default: []].append(octets)
    }
    var names: [String] = []
    var input: [UInt8] = []
    for name in signed {
      // Several fields of a name are signed from the bottom up (RFC 6376 §5.4.2).
      for octets in (byName[name] ?? []).reversed() {
        names.append(name)
        input += octets
      }
    }
    names += oversigned
    var signatures: [[UInt8]] = []
    for key in keys { signatures.append(try signature(input, names, bodyHash, key, now)) }
    return signatures
  }

  private static func signature(_ header: [UInt8], _ names: [String], _ bodyHash: String, _ key: DKIMKey, _ now: Milliseconds)
    throws(RenderError) -> [UInt8]
  {
    var field = "DKIM-Signature: v=1; a=\(key.algorithm.rawValue); c=relaxed/relaxed; d=\(key.domain);\r\n\t"
    field += "q=dns/txt; s=\(key.selector); t=\(now / 1000);\r\n\t"
    field += "h=" + folded(names) + ";\r\n\t"
    field += "bh=\(bodyHash);\r\n\tb="
    guard let (_, own) = DKIMCanonicalization.field(Array(field.utf8) + [0x0D, 0x0A]) else { throw .signing("field") }
    let value = Base64.encode(try key.sign(header + own.dropLast(2)))
    var output = Array(field.utf8)
    for start in stride(from: 0, to: value.count, by: 72) {
      if start > 0 { output += Array("\r\n\t ".utf8) }
      output += value[start..<min(start + 72, value.count)]
    }
    return output + [0x0D, 0x0A]
  }

  private static func folded(_ names: [String]) -> String {
    var text = ""
    var column = 2
    for (index, name) in names.enumerated() {
      let word = index == 0 ? name : ":" + name
      if column + word.utf8.count > 74 {
        text += "\r\n\t "
        column = 2
      }
      text += word
      column += word.utf8.count
    }
    return text
  }
}
