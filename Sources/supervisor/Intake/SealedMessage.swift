import Foundation
import MailFormat
import MailModel

/// The finished message of `/send/postbox`, checked for what makes it safe to send byte for byte (contract section 1.2).
extension SendValidator {
  func sealed(_ text: String, author: (name: String?, address: EmailAddress)) throws(APIError) -> [UInt8] {
    guard let octets = Base64.decode(text), !octets.isEmpty else { throw .bad("sealedMimeBase64 must be valid base64") }
    guard octets.count <= Self.maxSealed else { throw .bad("sealedMimeBase64 must be at most 25 MiB") }
    // A bare CR or LF could end the message early at a lenient server (SMTP smuggling).
    guard Self.hasCleanLineEnds(octets) else { throw .bad("sealedMimeBase64 must use CRLF line ends only") }
    guard let fields = Self.headerFields(octets) else { throw .bad("sealedMimeBase64 has a header line that is no field") }
    func values(_ name: String) -> [String] {
      fields.filter { $0.name.lowercased().trimmingCharacters(in: .whitespaces) == name }.map(\.value)
    }
    guard values("from").count == 1, let from = Mailbox(values("from")[0]),
      from.address.normalised == author.address.normalised
    else { throw .bad("sealedMimeBase64 From must equal \"from\"") }
    for name in Mailbox.senderFields {
      guard values(name).allSatisfy({ Mailbox($0)?.address.normalised == author.address.normalised }) else {
        throw .bad("sealedMimeBase64 \(name) must equal \"from\"")
      }
    }
    guard values("subject") == ["..."] else { throw .bad("sealedMimeBase64 Subject must be \"...\"") }
    let type = values("content-type").joined(separator: ",").lowercased()
    guard type.hasPrefix("multipart/encrypted"), type.contains("application/pgp-encrypted") else {
      throw .bad("sealedMimeBase64 must be multipart/encrypted with protocol application/pgp-encrypted")
    }
    return octets
  }

  private static func hasCleanLineEnds(_ octets: [UInt8]) -> Bool {
    var previous: UInt8 = 0
    for octet in octets {
      if octet == 0x0A && previous != 0x0D { return false }
      if previous == 0x0D && octet != 0x0A { return false }
      previous = octet
    }
    return previous != 0x0D
  }

  /// By octets, as the rest of the world reads them: a mark that joins a colon or a space hides no field. Nil when a line is none.
  private static func headerFields(_ octets: [UInt8]) -> [HeaderField]? {
    var fields: [HeaderField] = []
    var lines = octets[...]
    while let end = lines.firstIndex(of: 0x0D) {
      let line = lines[..<end]
      if line.isEmpty { break }
      lines = lines[min(end + 2, lines.endIndex)...]
      if line.first == 0x20 || line.first == 0x09 {
        guard !fields.isEmpty else { return nil }
        fields[fields.count - 1].value += String(decoding: line, as: UTF8.self)
      } else {
        guard let colon = line.firstIndex(of: 0x3A) else { return nil }
        let value = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
        fields.append(
          HeaderField(name: String(decoding: line[..<colon], as: UTF8.self), value: String(decoding: value, as: UTF8.self)))
      }
    }
    return fields
  }
}
