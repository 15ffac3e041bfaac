package import MailModel

/// What a server offers in its EHLO reply (RFC 5321 §4.1.1.1).
package struct SMTPCapabilities: Sendable, Equatable {
  package var pipelining = false
  package var startTLS = false
  package var eightBitMIME = false
  package var smtpUTF8 = false
  package var chunking = false
  package var enhancedStatusCodes = false
  package var dsn = false
  /// Nil = not offered; 0 = offered without a limit (RFC 1870 §4).
  package var size: Int?

  package init() {}

  /// From an EHLO reply; the first line names the host.
  package init(ehlo reply: SMTPReply) {
    for line in reply.lines.dropFirst() {
      let words = line.split(separator: " ")
      switch words.first?.uppercased() {
      case "PIPELINING": pipelining = true
      case "STARTTLS": startTLS = true
      case "8BITMIME": eightBitMIME = true
      case "SMTPUTF8": smtpUTF8 = true
      case "CHUNKING": chunking = true
      case "ENHANCEDSTATUSCODES": enhancedStatusCodes = true
      case "DSN": dsn = true
      case "SIZE": size = words.count > 1 ? Int(words[1]) ?? 0 : 0
      default: continue
      }
    }
  }
}
