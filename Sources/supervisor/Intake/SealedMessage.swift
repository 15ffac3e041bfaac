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
    let fields = Self.headerFields(octets)
    func values(_ name: String) -> [String] {
      fields.filter { $0.name.lowercased().trimmingCharacters(in: .whitespaces) == name }.map(\.value)
    }
    guard values("from").count == 1, let from = Mailbox(values("from")[0]),
      from.address.normalised == author.address.normalised
    else { throw .bad("sealedMimeBase64 From must equal \"from\"") }
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

  private static func headerFields(_ octets: [UInt8]) -> [HeaderField] {
    var fields: [HeaderField] = []
    var start = 0
    var index = 0
    while index + 1 < octets.count {
      guard octets[index] == 0x0D, octets[index + 1] == 0x0A else {
        index += 1
        continue
      }
      if index == start { break }
      let line = String(decoding: octets[start..<index], as: UTF8.self)
      if line.hasPrefix(" ") || line.hasPrefix("\t") {
        if !fields.isEmpty { fields[fields.count - 1].value += line }
      } else if let colon = line.firstIndex(of: ":") {
        fields.append(
          HeaderField(name: String(line[..<colon]), value: String(line[line.index(after: colon)...].drop { $0 == " " })))
      }
      index += 2
      start = index
    }
    return fields
  }
}
