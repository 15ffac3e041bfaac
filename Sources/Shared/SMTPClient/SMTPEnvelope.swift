internal import SMTPProtocol

/// What SMTP carries outside the message: one return-path, one recipient.
package struct SMTPEnvelope: Sendable {
  package var returnPath: String
  package var recipient: String
  package var isInternationalised: Bool
  package var isEightBit: Bool
  /// What a delivery status notification will name (RFC 3461 §4.4); plain letters and digits.
  package var envelopeID: String?

  package init(returnPath: String, recipient: String, isInternationalised: Bool, isEightBit: Bool) {
    self.returnPath = returnPath
    self.recipient = recipient
    self.isInternationalised = isInternationalised
    self.isEightBit = isEightBit
  }

  /// MAIL with the parameters that the server offers. Of a message that fails later only the header is wanted back: the
  /// return-path says which it was.
  func mailCommand(_ capabilities: SMTPCapabilities, size: Int) -> String {
    var command = "MAIL FROM:<\(returnPath)>"
    if capabilities.size != nil { command += " SIZE=\(size)" }
    if isEightBit { command += " BODY=8BITMIME" }
    if isInternationalised { command += " SMTPUTF8" }
    if capabilities.dsn {
      command += " RET=HDRS"
      if let envelopeID { command += " ENVID=\(Self.xtext(envelopeID))" }
    }
    return command + "\r\n"
  }

  func rcptCommand(_ capabilities: SMTPCapabilities) -> String {
    var command = "RCPT TO:<\(recipient)>"
    if capabilities.dsn, !isInternationalised { command += " ORCPT=rfc822;\(Self.xtext(recipient))" }
    return command + "\r\n"
  }

  /// RFC 3461 §4: printable ASCII but `+` and `=`, the rest as `+XX`.
  static func xtext(_ text: String) -> String {
    var output = ""
    for byte in text.utf8 {
      if (0x21...0x7E).contains(byte), byte != 0x2B, byte != 0x3D {
        output.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        output += "+" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      }
    }
    return output
  }
}
