import MIME
import MailFormat
import MailModel
import SMTPProtocol

/// A message as a client submitted it, looked at for what sending needs and otherwise left alone: what leaves is what came,
/// but for the fields that ``complete(id:host:now:)`` names.
struct SubmittedMessage: Sendable {
  static let mostFields = 1000
  static let mostHeader = 256 << 10
  /// Of one message; more is a loop (RFC 5321 §6.3).
  static let mostHops = 50
  /// Orders to us and addresses that nobody else may see; they do not leave.
  private static let dropped: Set<String> = ["bcc", "resent-bcc", "x-owlat-idempotency-key", "x-owlat-deduplication"]

  private struct Field {
    /// Lower case.
    var name: String
    /// With its line ends.
    var octets: ArraySlice<UInt8>

    /// Unfolded, without outer spaces.
    var value: [UInt8] {
      var value = octets.drop { $0 != 0x3A }.dropFirst().filter { $0 != 0x0D && $0 != 0x0A }[...]
      while let first = value.first, first == 0x20 || first == 0x09 { value.removeFirst() }
      while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
      return Array(value)
    }

    var text: String { String(decoding: value, as: UTF8.self) }
  }

  private let octets: [UInt8]
  private let fields: [Field]
  private let body: ArraySlice<UInt8>
  let author: (name: String?, address: EmailAddress)
  /// Domains of From, which comes first, and of fields that name a sender too.
  let authorDomains: [String]
  let subject: String
  /// The Message-ID, when it has the form of one (RFC 5322 §3.6.4).
  let messageIDField: String?

  /// - Throws: what the client is told: no header, a line that is no field, not exactly one author, a loop.
  init(_ octets: [UInt8]) throws(SMTPRefusal) {
    self.octets = octets
    var fields: [Field]
    (fields, body) = try Self.split(octets)
    guard fields.count(where: { $0.name == "received" }) <= Self.mostHops else {
      throw SMTPRefusal(554, "5.4.6 too many hops: a mail loop")
    }
    let from = fields.filter { $0.name == "from" }
    guard from.count == 1, let author = Mailbox(from[0].text) else {
      throw SMTPRefusal(554, "5.6.0 exactly one From field with exactly one address is needed, special characters of its name in quotes")
    }
    self.author = (author.name.map { EncodedWords.decode(Array($0.utf8)) }, author.address)
    var domains = [author.address.domain]
    // One that is no address (root@localhost) does not leave.
    fields.removeAll { field in
      guard Mailbox.senderFields.contains(field.name) else { return false }
      guard let sender = Mailbox(field.text) else { return true }
      domains.append(sender.address.domain)
      return false
    }
    authorDomains = domains
    self.fields = fields
    subject = fields.first { $0.name == "subject" }.map { String(EncodedWords.decode(Array($0.value.prefix(998))).prefix(998)) } ?? ""
    let id = fields.first { $0.name == "message-id" }?.text ?? ""
    messageIDField = id.utf8.count <= 250 && id.hasPrefix("<") && id.hasSuffix(">") && id.contains("@") && !id.contains(" ") ? id : nil
  }

  /// Of all octets as they came.
  var digest: [UInt8] { Digest.sha256(octets) }

  /// Octets over 0x7F in the header: only servers with SMTPUTF8 take it (RFC 6532).
  var isInternationalised: Bool { fields.contains { $0.octets.contains { $0 >= 0x80 } } }

  /// The value of the last field of a name in lower case.
  func last(_ name: String) -> String? { fields.last { $0.name == name }?.text }

  /// What leaves: a Received field (RFC 5321 §4.4; whose machine submitted is nobody's business), Date and Message-ID where
  /// the client gave none (RFC 6409 §8), then all that came less ``dropped``.
  func complete(id: String, host: String, now: Milliseconds) -> [UInt8] {
    var head = "Received: by \(host) (Owlat MTA) with ESMTPSA id \(id);\r\n\t\(RFC5322Date.string(now))\r\n"
    if !fields.contains(where: { $0.name == "date" }) { head += "Date: \(RFC5322Date.string(now))\r\n" }
    if !fields.contains(where: { $0.name == "message-id" }) { head += "Message-ID: <\(id)@\(author.address.domain)>\r\n" }
    var output = Array(head.utf8)
    output.reserveCapacity(output.count + octets.count)
    for field in fields where !Self.dropped.contains(field.name) { output += field.octets }
    output += [0x0D, 0x0A]
    output += body
    return output
  }

  private static func split(_ octets: [UInt8]) throws(SMTPRefusal) -> ([Field], ArraySlice<UInt8>) {
    var fields: [Field] = []
    var start = 0
    while start < octets.count {
      guard start <= mostHeader, fields.count <= mostFields else { throw SMTPRefusal(554, "5.6.0 the header is too large") }
      // CRLF is the only line end there is: the listener takes no other.
      let end = octets[start...].firstIndex(of: 0x0A).map { $0 + 1 } ?? octets.count
      let line = octets[start..<end]
      if line.count == 2, line.first == 0x0D {
        guard !fields.isEmpty else { throw SMTPRefusal(554, "5.6.0 the message has no header") }
        return (fields, octets[end...])
      }
      if line.first == 0x20 || line.first == 0x09 {
        guard let last = fields.popLast() else { throw SMTPRefusal(554, "5.6.0 the header begins with a continuation") }
        fields.append(Field(name: last.name, octets: octets[last.octets.startIndex..<end]))
      } else {
        let name = line.prefix { (0x21...0x7E).contains($0) && $0 != 0x3A }
        guard !name.isEmpty, name.endIndex < end, octets[name.endIndex] == 0x3A else {
          throw SMTPRefusal(554, "5.6.0 line \(fields.count + 1) of the header is no field")
        }
        fields.append(Field(name: String(decoding: name, as: UTF8.self).lowercased(), octets: line))
      }
      start = end
    }
    guard !fields.isEmpty else { throw SMTPRefusal(554, "5.6.0 the message has no header") }
    return (fields, [])
  }
}
